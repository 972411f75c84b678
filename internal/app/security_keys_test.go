package app

import (
	"context"
	"crypto/elliptic"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// source is a provider that publishes keys of elliptic curves, k1 at first.
type source struct {
	*forger
	keys   *publisher
	issuer string
	k1, k2 signer
	set1   string // k1 alone
	set2   string // k2 alone
	both   string
}

func newSource(t *testing.T, options ...option) *source {
	t.Helper()
	f := newForger(t, options...)
	k1, k2 := newECKey(t, elliptic.P256()), newECKey(t, elliptic.P256())
	j1, j2 := jwk(k1.Public(), "k1", nil), jwk(k2.Public(), "k2", nil)
	s := &source{
		forger: f, issuer: "https://keys.ci.example", k1: es256(k1), k2: es256(k2),
		set1: keySet(j1), set2: keySet(j2), both: keySet(j1, j2),
	}
	s.keys = f.publisher(s.set1)
	f.provider("keys", s.issuer, s.keys.URL, "ES256")
	return s
}

// by returns a good token of the source.
func (s *source) by(kid string, sign signer) string {
	s.t.Helper()
	return compact(header("ES256", kid), s.payload(claims{"iss": s.issuer}), sign)
}

func (s *source) down() {
	s.keys.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
}

// granted1 sends a good token of k1, whatever is fetched meanwhile.
func (s *source) granted1() {
	s.t.Helper()
	s.want(s.submit(s.by("k1", s.k1)), http.StatusOK)
}

// Ten thousand tokens in a minute, each with a key id of its own; honest exchanges go on,
// through every door, and the issuer rotates its keys a moment after the flood had them
// fetched, which is the worst one.
func TestSecurityA173A174AFloodOfUnknownKeyIDs(t *testing.T) {
	t.Parallel()
	s := newSource(t, watched)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	payload, was := s.payload(claims{"iss": s.issuer}), s.ledger()
	const flood, every = 10_000, 6 * time.Millisecond
	granted, refused := 0, int64(flood)
	for i := range flood {
		s.clock.advance(every)
		token := compact(header("ES256", agentidp.NewID(s.clock.Now())), payload, raw(random(64)))
		if status, err := s.hand(nil, asJSON(exchangeBody(token, s.agentID))); status != http.StatusUnauthorized || err != nil {
			t.Fatalf("A-173 token %d: %d, %v", i, status, err)
		}
		switch {
		case i == flood/2: // 30 s are over with the token before
			s.keys.publish(s.both)
		case i%100 == 0:
			s.becomes(s.by("k1", s.k1), "granted")
			granted++
		case i > flood/2 && i%100 == 50:
			s.becomes(s.by("k2", s.k2), "unknown_key")
			refused++
		}
	}
	s.attacks([]attack{{"A-174 the new key is known when the interval is over", s.by("k2", s.k2), "granted"}})
	is := s.ledger()
	is.expect(t, was, rows{decisions: granted + 1, events: granted + 1, tokens: granted + 1, used: granted + 1}, 2)
	unknown := agentidp.RefusalCount{Reason: "unknown_key", Provider: "keys"}
	if n := is.refusals[unknown] - was.refusals[unknown]; n != refused {
		t.Errorf("A-173 %d refusals were counted, want %d", n, refused)
	}
	s.counts(map[string]string{
		`agentidp_issuer_key_fetches_total{result="ok"}`:    "4", // GitHub's, the first of the source, and two in the minute
		`agentidp_issuer_key_fetches_total{result="error"}`: "0",
	})
}

func TestSecurityA174ANewKeyRightAfterAFetch(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	s.clock.advance(30 * time.Second)
	s.becomesAfter(1, compact(header("ES256", "unknown"), s.payload(claims{"iss": s.issuer}), raw(random(64))), "unknown_key")
	s.keys.publish(s.both)
	token := s.by("k2", s.k2)
	s.attacks([]attack{{"A-174 a new key within the interval", token, "unknown_key"}})
	s.clock.advance(29999 * time.Millisecond)
	s.attacks([]attack{{"A-174 at its end", token, "unknown_key"}})
	s.clock.advance(time.Millisecond)
	t.Run("A-174 after 30 s", func(t *testing.T) { s.in(t).becomesAfter(1, token, "granted") })
	s.attacks([]attack{{"A-174 and from then on", s.by("k2", s.k2), "granted"}})
}

// A key set that hangs costs nobody a place but those few that wait for it: here four of
// sixteen, and a flood of unknown key ids wants all.
func TestSecurityA173A177AFloodWhileTheIssuerHangs(t *testing.T) {
	t.Parallel()
	s := newSource(t, func(c *config.Config) { c.Concurrency = 16 })
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	hung := make(chan struct{})
	s.keys.answer(func(_ http.ResponseWriter, r *http.Request) {
		close(hung)
		<-r.Context().Done()
	})
	s.clock.advance(30 * time.Second)
	payload, was := s.payload(claims{"iss": s.issuer}), s.fetches.Load()
	const flood, wait = 64, 4
	codes := make(chan string, flood)
	for range flood {
		token := compact(header("ES256", agentidp.NewID(s.clock.Now())), payload, raw(random(64)))
		go func() {
			a, err := s.send(http.MethodPost, exchangePath, "", exchangeBody(token, s.agentID))
			if err != nil {
				codes <- err.Error()
				return
			}
			codes <- strconv.Itoa(a.Status) + " " + a.str("code") + " " + a.Header.Get("Retry-After")
		}()
	}
	<-hung
	for range flood - wait {
		if code := <-codes; code != "503 temporarily_unavailable 1" {
			t.Errorf("A-173 at once: %s", code)
		}
	}
	for range 3 * len(allDoors) { // meanwhile, through every door
		s.in(t).becomes(s.by("k1", s.k1), "granted")
	}
	for range wait {
		if code := <-codes; code != "503 issuer_unreachable 5" {
			t.Errorf("A-177 in the end: %s", code)
		}
	}
	if n := s.fetches.Load() - was; n != 1 {
		t.Errorf("A-173 %d fetches", n)
	}
}

func TestSecurityA175AKeyIsReplacedUnderItsID(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	s.keys.publish(strings.Replace(s.set2, `"k2"`, `"k1"`, 1))
	token := s.by("k1", s.k2)
	s.attacks([]attack{{"A-175 the new key within the interval", token, "signature"}})
	s.clock.advance(30 * time.Second)
	t.Run("A-175 the new key after 30 s", func(t *testing.T) { s.in(t).becomesAfter(1, token, "granted") })
	s.attacks([]attack{{"A-175 the old key then", s.by("k1", s.k1), "signature"}})
	s.clock.advance(30 * time.Second)
	t.Run("A-175 a bad signature costs a fetch in 30 s", func(t *testing.T) {
		s.in(t).becomesAfter(1, s.by("k1", s.k1), "signature")
		s.in(t).becomes(s.by("k1", s.k1), "signature")
	})
}

func TestSecurityA176TheIssuerIsDown(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.down()
	token := s.by("k1", s.k1)
	const unreachable = agentidp.CodeIssuerUnreachable
	t.Run("A-176 from the start", func(t *testing.T) { s.in(t).becomesAfter(1, token, unreachable) })
	s.attacks([]attack{{"A-176 and it is not asked again at once", token, unreachable}})
	s.clock.advance(5 * time.Second)
	t.Run("A-176 still, after 5 s", func(t *testing.T) { s.in(t).becomesAfter(1, token, unreachable) })
	s.keys.publish(s.set1)
	s.clock.advance(5 * time.Second)
	t.Run("A-176 up again: the same token is good", func(t *testing.T) { s.in(t).becomesAfter(1, token, "granted") })

	s.down()
	for range 23 {
		s.clock.advance(time.Hour)
		s.granted1() // a refresh is tried in the background, and fails
	}
	s.clock.advance(time.Hour)
	s.granted1()
	s.clock.advance(time.Second)
	s.want(s.submit(s.by("k1", s.k1)), http.StatusServiceUnavailable, unreachable)
	s.keys.publish(s.set1)
	s.clock.advance(5 * time.Second)
	t.Run("A-176 up again after a day", func(t *testing.T) { s.in(t).becomesAfter(1, s.by("k1", s.k1), "granted") })
}

func TestSecurityA176ARestartWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	pace.Eventually(t, "the key set is saved", func() bool { // after the answer
		set, err := s.app.db.KeySet(t.Context(), s.keys.URL)
		return err == nil && set.JWKS != nil
	})
	s.down()
	s.restart()
	s.attacks([]attack{{"A-176 the keys that were saved serve", s.by("k1", s.k1), "granted"}})
}

func TestSecurityA177AnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	ended := make(chan struct{})
	s.keys.answer(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		_, err := io.WriteString(w, `{"keys":[`)
		for err == nil {
			_, err = io.WriteString(w, strings.Repeat(" ", 4096))
		}
	})
	t.Run("A-177 one that is too long is cut off", func(t *testing.T) {
		s.in(t).becomesAfter(1, s.by("k1", s.k1), agentidp.CodeIssuerUnreachable)
		<-ended
	})

	// The limit of five seconds is internal/verify's to test, with its own clock.
	began, left := make(chan struct{}), make(chan struct{})
	s.keys.answer(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[`)
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(left)
	})
	s.clock.advance(5 * time.Second)
	token, was := s.by("k1", s.k1), s.fetches.Load()
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/oidc/token", strings.NewReader(asJSON(exchangeBody(token, s.agentID))))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				t.Errorf("A-177 answered with %s", resp.Status)
				resp.Body.Close()
			}
		})
	}
	<-began
	cancel() // callers that leave wait for nothing
	callers.Wait()
	if got := s.fetches.Load() - was; got != 1 {
		t.Errorf("A-177 twenty callers caused %d fetches", got)
	}
	s.stop() // and at the server's end nothing is left
	<-left
}

func TestSecurityA182ARemovedKey(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	s.keys.publish(s.set2)
	s.clock.advance(10 * time.Minute)
	s.attacks([]attack{{"A-182 keys of ten minutes serve", s.by("k1", s.k1), "granted"}})
	s.clock.advance(time.Second)
	was := s.fetches.Load()
	s.granted1() // older ones serve one request more, which has them fetched
	pace.Eventually(t, "the keys are fetched", func() bool { return s.fetches.Load() == was+1 })
	s.want(s.submit(s.by("k3", s.k1)), http.StatusUnauthorized, agentidp.CodeInvalidToken) // an unknown id waits for the fetch
	s.attacks([]attack{
		{"A-182 the removed key is none then", s.by("k1", s.k1), "unknown_key"},
		{"A-182 the new one is", s.by("k2", s.k2), "granted"},
	})
}
