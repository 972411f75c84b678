package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/verify"
)

func (w *world) wantFetches(t testing.TB, want uint64) {
	t.Helper()
	if got := w.verifier.Stats().Fetches; got != want {
		t.Fatalf("%d fetches, want %d", got, want)
	}
}

func (w *world) wantUnreachable(t testing.TB, raw string) {
	t.Helper()
	c, err := w.verify(t, raw)
	e := wantReason(t, c, err, agentidp.CodeIssuerUnreachable)
	if e.Kind != agentidp.Unavailable || e.RetryAfter <= 0 {
		t.Fatalf("got %+v", e)
	}
}

func (w *world) wantRefused(t testing.TB, raw, reason string) {
	t.Helper()
	c, err := w.verify(t, raw)
	uniform(t, wantReason(t, c, err, reason))
}

func TestKnownKeysCauseOneFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	for range 100 {
		w.mustVerify(t, w.good(t))
	}
	w.wantFetches(t, 1)
}

func TestManyTokensAtTheStartShareOneFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.config.Waiters = 50
	w.restart(t)
	release := make(chan struct{})
	body := jwks(t, w.key)
	w.issuer.handle(func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = rw.Write(body)
	})
	u, err := verify.Peek(w.good(t))
	if err != nil {
		t.Fatal(err)
	}
	// The first caller starts the fetch and leaves; it goes on for the others.
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := w.verifier.Verify(ctx, w.org, w.provider, u)
		first <- err
	}()
	pace.Eventually(t, "a request", func() bool { return w.issuer.requests.Load() == 1 })
	leave()
	err = <-first
	if e := wantReason(t, nil, err, agentidp.CodeIssuerUnreachable); !errors.Is(e, context.Canceled) {
		t.Errorf("the first caller got %v", e)
	}
	var others sync.WaitGroup
	for range 50 {
		others.Go(func() {
			if _, err := w.verifier.Verify(t.Context(), w.org, w.provider, u); err != nil {
				t.Errorf("another caller got %v", err)
			}
		})
	}
	close(release)
	others.Wait()
	w.wantFetches(t, 1)
}

// a minute of them causes two fetches.
func TestA173AFloodOfUnknownKids(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	good := w.good(t)
	payload := marshal(t, claims(t, nil))
	// One token every 6 ms for a minute.
	for i := range 10_000 {
		header := fmt.Sprintf(`{"alg":"ES256","kid":"unknown-%d"}`, i)
		w.wantRefused(t, fakeSigned(header, payload), "unknown_key")
		if i%1000 == 0 {
			w.mustVerify(t, good)
		}
		w.Advance(6 * time.Millisecond)
	}
	w.wantFetches(t, 2) // the first use, and one after 30 s

	// a rotation right after the flood is seen within 30 s.
	rotated := newKey(t, "k2", jose.ES256)
	w.issuer.publish(t, w.key, rotated)
	w.wantRefused(t, fakeSigned(`{"alg":"ES256","kid":"unknown"}`, payload), "unknown_key")
	w.wantFetches(t, 3)
	newer := newKey(t, "k3", jose.ES256)
	w.issuer.publish(t, newer)
	token := func() string {
		now := w.Now().Unix()
		return newer.token(t, claims(t, map[string]any{"iat": now, "exp": now + 300, "nbf": now}))
	}
	w.wantRefused(t, token(), "unknown_key")
	w.wantFetches(t, 3)
	w.Advance(30 * time.Second)
	w.mustVerify(t, token())
	w.wantFetches(t, 4)
}

// fakeSigned is a token whose signature nobody looks at, because its kid is
// unknown.
func fakeSigned(header, payload string) string {
	return b64(header) + "." + b64(payload) + "." + b64(strings.Repeat("x", 64))
}

func TestA175AKeyIsReplacedUnderItsID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.mustVerify(t, w.good(t))
	w.key = newKey(t, "k1", jose.ES256)
	w.issuer.publish(t, w.key)
	w.wantRefused(t, w.good(t), "signature") // within the limit
	w.wantFetches(t, 1)
	w.Advance(30 * time.Second)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 2)

	// Bad signatures provoke no more than unknown ids do.
	w.Advance(time.Minute)
	for range 100 {
		w.wantRefused(t, fakeSigned(w.key.header(), marshal(t, claims(t, nil))), "signature")
	}
	w.wantFetches(t, 3)
}

func TestABadSignatureStaysOneWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.mustVerify(t, w.good(t))
	w.Advance(time.Minute)
	w.issuer.answers(http.StatusInternalServerError, "")
	w.wantRefused(t, fakeSigned(w.key.header(), marshal(t, claims(t, nil))), "signature")
	w.wantFetches(t, 2)
	w.mustVerify(t, w.good(t))
}

func TestA176TheIssuerIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.wantSource(t, "")
	w.issuer.answers(http.StatusServiceUnavailable, "")
	for range 10 {
		w.wantUnreachable(t, w.good(t))
	}
	w.wantFetches(t, 1)
	w.wantSource(t, "failing, without keys")
	w.Advance(5 * time.Second)
	w.wantUnreachable(t, w.good(t))
	w.wantFetches(t, 2)
	w.issuer.publish(t, w.key)
	w.Advance(5*time.Second - time.Nanosecond)
	w.wantUnreachable(t, w.good(t))
	w.Advance(time.Nanosecond)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 3)
	w.Advance(time.Minute)
	w.wantSource(t, "good, 1m0s old")
}

// wantSource asserts the state of the one source that is held.
func (w *world) wantSource(t testing.TB, want string) {
	t.Helper()
	got := ""
	for _, s := range w.verifier.Sources() {
		got += map[bool]string{true: "failing", false: "good"}[s.Failing]
		if s.FetchedAt.IsZero() {
			got += ", without keys"
		} else {
			got += ", " + w.Now().Sub(s.FetchedAt).String() + " old"
		}
		if !strings.HasPrefix(s.Address, "http") {
			t.Errorf("its address is %q", s.Address)
		}
	}
	if got != want {
		t.Errorf("the sources are %q, want %q", got, want)
	}
}

func TestA176TheIssuerIsDownForADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.mustVerify(t, w.good(t))
	w.issuer.answers(http.StatusBadGateway, "<html>")
	for hour := 1; hour <= 24; hour++ {
		w.Advance(time.Hour)
		w.mustVerify(t, w.good(t)) // and tries again, in the background
		pace.Eventually(t, "a failed refresh", func() bool { return w.verifier.Stats().Failures == uint64(hour) })
	}
	// An unknown id may be a new one: that cannot be known now.
	w.wantUnreachable(t, newKey(t, "k2", jose.ES256).token(t, claims(t, nil)))
	w.Advance(time.Second)
	w.wantUnreachable(t, w.good(t))
	w.wantSource(t, "failing, 24h0m1s old")
	w.issuer.publish(t, w.key)
	w.Advance(5 * time.Second)
	w.mustVerify(t, w.good(t))
}

func TestA182ARemovedKeyIsRefusedAfterARefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.mustVerify(t, w.good(t))
	w.issuer.publish(t, newKey(t, "k2", jose.ES256))
	w.Advance(10 * time.Minute)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 1)
	w.Advance(time.Second)
	w.mustVerify(t, w.good(t)) // the last one: it starts the refresh
	pace.Eventually(t, "the refresh", func() bool { _, err := w.verify(t, w.good(t)); return err != nil })
	w.wantRefused(t, w.good(t), "unknown_key")
	w.wantFetches(t, 2)
}

// keys that were fetched by a clock that was far ahead are as old as when it was set
// right, and not good for as long as it was ahead.
func TestR19KeysThatWereFetchedInTheFuture(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{time.Hour, 365 * 24 * time.Hour} {
		w := newWorld(t, jose.ES256)
		w.Advance(back)
		w.mustVerify(t, w.good(t))
		w.issuer.publish(t, newKey(t, "k2", jose.ES256))
		w.Advance(-back)
		w.mustVerify(t, w.good(t)) // it starts the refresh
		pace.Eventually(t, "the refresh", func() bool { _, err := w.verify(t, w.good(t)); return err != nil })
		w.wantRefused(t, w.good(t), "unknown_key")
		w.wantFetches(t, 2)
	}
	w := newWorld(t, jose.ES256)
	w.Advance(365 * 24 * time.Hour)
	w.mustVerify(t, w.good(t))
	w.issuer.Close()
	w.Advance(-365 * 24 * time.Hour)
	w.mustVerify(t, w.good(t))
	w.Advance(24*time.Hour + time.Second)
	w.wantUnreachable(t, w.good(t))
}

func TestA179BadAnswersNeverReplaceGoodKeys(t *testing.T) {
	t.Parallel()
	other := newKey(t, "k1", jose.ES256)
	twice := string(jwks(t, other, newKey(t, "k1", jose.ES256)))
	for _, tt := range []struct {
		name   string
		status int
		body   string
	}{
		{"HTML", 200, "<html>sign in</html>"},
		{"nothing", 200, ""},
		{"no content", 204, ""},
		{"not modified", 304, ""},
		{"partial content", 206, string(jwks(t, other))},
		{"an error", 500, string(jwks(t, other))},
		{"keys null", 200, `{"keys":null}`},
		{"keys empty", 200, `{"keys":[]}`},
		{"A-180 one id for two keys", 200, twice},
		{"A-024 a symmetric key", 200, `{"keys":[{"kty":"oct","kid":"k1","k":"AAAA"}]}`},
		{"A-181 a key for encryption", 200, strings.Replace(string(jwks(t, other)), `"use":"sig"`, `"use":"enc"`, 1)},
		{"a key without an id", 200, strings.Replace(string(jwks(t, other)), `"kid":"k1",`, ``, 1)},
		{"256 KiB and a byte", 200, string(jwks(t, other)) + strings.Repeat(" ", 256<<10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, jose.ES256)
			w.mustVerify(t, w.good(t))
			w.issuer.handle(func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(tt.status)
				_, _ = rw.Write([]byte(tt.body))
			})
			w.Advance(11 * time.Minute)
			w.mustVerify(t, w.good(t))
			pace.Eventually(t, "a failed refresh", func() bool { return w.verifier.Stats().Failures == 1 })
			w.mustVerify(t, w.good(t))

			w.restart(t)
			w.wantUnreachable(t, w.good(t))
		})
	}
}

func TestKeysBelongToTheirSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	other := newIssuer(t, newKey(t, "k1", jose.ES256))
	w.config.RootCAs.AddCert(other.Certificate())
	w.config.Hosts = append(w.config.Hosts, hostPort(other.Server))
	w.restart(t)
	w.mustVerify(t, w.good(t))
	elsewhere := *w.provider
	elsewhere.JWKSURI = other.URL
	w.provider = &elsewhere
	w.wantRefused(t, w.good(t), "signature")
	w.wantFetches(t, 2)
}

func TestProvidersOfOneSourceShareItsFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.RS256)
	withoutAlg := strings.Replace(string(jwks(t, w.key)), `"alg":"RS256",`, ``, 1)
	w.issuer.answers(http.StatusOK, withoutAlg)
	token := w.good(t)
	w.provider.Algorithms = []string{jose.ES256, jose.RS256, jose.RS512}
	w.mustVerify(t, token)
	// The same key is bound to another algorithm for a provider that lists that first.
	w.provider.Algorithms = []string{jose.RS512, jose.RS256}
	w.wantRefused(t, token, "algorithm")
	w.wantFetches(t, 1)
}

func TestStaticKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.provider.JWKS = jwks(t, w.key)
	w.provider.JWKSURI = ""
	w.mustVerify(t, w.good(t))
	w.wantRefused(t, fakeSigned(`{"alg":"ES256","kid":"unknown"}`, marshal(t, claims(t, nil))), "unknown_key")
	w.wantRefused(t, fakeSigned(w.key.header(), marshal(t, claims(t, nil))), "signature")

	// The same name in another organization is another provider.
	mine, ours := w.key, *w.provider
	theirs := ours
	w.key = newKey(t, "k1", jose.ES256)
	theirs.JWKS = jwks(t, w.key)
	w.provider, w.org = &theirs, &agentidp.Organization{ID: "other", Issuer: w.org.Issuer}
	w.mustVerify(t, w.good(t))
	w.wantRefused(t, mine.token(t, claims(t, nil)), "signature")

	// Changed keys and algorithms take effect at once.
	theirs.JWKS = jwks(t, mine)
	w.mustVerify(t, mine.token(t, claims(t, nil)))
	w.wantRefused(t, w.good(t), "signature")
	theirs.Algorithms = []string{jose.EdDSA}
	w.wantRefused(t, mine.token(t, claims(t, nil)), "algorithm")
	second := newKey(t, "k2", jose.EdDSA)
	theirs.Algorithms, theirs.JWKS = []string{jose.ES256}, jwks(t, mine, second)
	w.mustVerify(t, mine.token(t, claims(t, nil)))
	theirs.Algorithms = []string{jose.ES256, jose.EdDSA}
	w.mustVerify(t, second.token(t, claims(t, nil)))
	theirs.Algorithms, theirs.JWKS = []string{jose.ES256}, []byte(`{"keys":[]}`)
	w.wantRefused(t, mine.token(t, claims(t, nil)), "unknown_key")
	w.wantFetches(t, 0)
	if n := w.verifier.Stats().Sources; n != 0 {
		t.Errorf("%d fetched sources", n)
	}
}

func TestTheNumberOfSourcesIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	token := w.good(t)
	first := w.provider.JWKSURI
	for i := range 1100 {
		p := *w.provider
		p.JWKSURI, p.JWKS = fmt.Sprintf("%s?n=%d", first, i), nil
		if i >= 20 {
			p.JWKSURI = fmt.Sprintf("http://insecure.example/%d", i) // refused before a request
		}
		w.provider = &p
		_, _ = w.verify(t, token)
		p.JWKS, p.Name = jwks(t, w.key), fmt.Sprint(i)
		w.mustVerify(t, token)
		w.Advance(time.Millisecond)
	}
	if n := w.verifier.Stats().Sources; n != 1024 {
		t.Errorf("%d sources", n)
	}
}

func TestAfterCloseNothingIsFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.verifier.Close()
	w.wantUnreachable(t, w.good(t))
	w.wantFetches(t, 0)
}

func b64(s string) string {
	data, _ := json.Marshal([]byte(s))
	return strings.NewReplacer("+", "-", "/", "_", "=", "", `"`, "").Replace(string(data))
}
