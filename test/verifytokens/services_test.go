package verifytokens_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// services are the page's three: how each is started, with other addresses and times in
// it (pairs of old and new), which returns its URL; and how it says for how long keys are
// kept.
var services = []struct {
	language     string
	start        func(t *testing.T, changed ...string) string
	kept, hardly string
}{
	{"go", func(t *testing.T, changed ...string) string {
		dir := folder(t, map[string]string{"page.go": code(t, "go", "func authorize", changed...), "serve.go": testdata(t, "serve.go")})
		program := filepath.Join(dir, "service")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, filepath.Join(dir, "page.go"), filepath.Join(dir, "serve.go"))
		if out, err := build.CombinedOutput(); err != nil { // here, where its modules are
			t.Fatalf("build the page's Go: %v\n%s", err, out)
		}
		return start(t, dir, program)
	}, "5*time.Minute", "20*time.Millisecond"},
	{"node", func(t *testing.T, changed ...string) string {
		dir := folder(t, map[string]string{"page.mjs": code(t, "js", "function authorize", changed...), "serve.mjs": testdata(t, "serve.mjs")})
		return start(t, dir, node(t), "serve.mjs")
	}, "5 * 60 * 1000", "20"},
	{"python", func(t *testing.T, changed ...string) string {
		dir := folder(t, map[string]string{"page.py": code(t, "python", "def authorize", changed...), "serve.py": testdata(t, "serve.py")})
		return start(t, dir, python(t), "serve.py")
	}, "lifespan=300", "lifespan=0.02"},
}

// presented is what a service is shown, and what it answers.
type presented struct {
	what, authorization string
	status              int
	challenge           string
}

const (
	invalid      = `Bearer error="invalid_token"`
	insufficient = `Bearer error="insufficient_scope", scope="deploy:staging"`
)

// presentations are one good token, and everything that is none.
func presentations(t *testing.T) (issuer, agent string, all []presented, s *server) {
	t.Helper()
	s = newServer(t, time.Hour)
	o, other := s.newTenant("acme", audience, elsewhere), s.newTenant("umbrella", audience)
	expired := o.exchange("deploy:staging", audience)
	s.behind.Store(0)
	good := o.exchange("deploy:staging", audience)
	f := newForger(o, good)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shared := []byte(strings.Repeat("secret", 8))
	bound := map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
	const no, forbidden = http.StatusUnauthorized, http.StatusForbidden
	return o.org.Issuer, o.agent, []presented{
		{"a good token", "Bearer " + good, http.StatusOK, ""},
		{"the scheme in another case", "bearer " + good, http.StatusOK, ""},
		{"no token", "", no, "Bearer"},
		{"a good token as a password", "Basic " + good, no, "Bearer"},
		{"a good token with the scheme of bound ones", "DPoP " + good, no, "Bearer"},
		{"a scheme alone", "Bearer", no, invalid},
		{"what is no JWT", "Bearer garbage", no, invalid},
		{"a token that has expired", "Bearer " + expired, no, invalid},
		{"a token for another service", "Bearer " + o.exchange("deploy:staging", elsewhere), no, invalid},
		{"a token of another organization", "Bearer " + other.exchange("deploy:staging", audience), no, invalid},
		{"the job's ID token", "Bearer " + o.idToken(o.org.Issuer), no, invalid},
		{"an ID token for this service", "Bearer " + o.idToken(audience), no, invalid},
		{"alg none", "Bearer " + unsigned(good), no, invalid},
		{"a signature with a shared secret", "Bearer " + f.stranger(shared, jose.HS256, kidOf(t, good)), no, invalid},
		{"an algorithm that is not on the list, with a published key", "Bearer " + f.stranger(s.rsa, jose.RS256, rsaKey), no, invalid},
		{"a stranger's signature in the name of the issuer's key", "Bearer " + f.stranger(own, jose.ES256, kidOf(t, good)), no, invalid},
		{"a stranger's signature and key", "Bearer " + f.stranger(own, jose.ES256, "unheard-of"), no, invalid},
		{"the signature of another token", "Bearer " + good[:strings.LastIndex(good, ".")] + expired[strings.LastIndex(expired, "."):], no, invalid},
		{"signed again, the same is good", "Bearer " + f.sign("at+jwt", nil), http.StatusOK, ""},
		{"typ JWT", "Bearer " + f.sign("JWT", nil), no, invalid},
		{"another issuer, signed with the right key", "Bearer " + f.sign("at+jwt", map[string]any{"iss": other.org.Issuer}), no, invalid},
		{"no issuer", "Bearer " + f.sign("at+jwt", map[string]any{"iss": nil}), no, invalid},
		{"no audience", "Bearer " + f.sign("at+jwt", map[string]any{"aud": nil}), no, invalid},
		{"an audience that begins like this one", "Bearer " + f.sign("at+jwt", map[string]any{"aud": audience + ".evil.example"}), no, invalid},
		{"no end", "Bearer " + f.sign("at+jwt", map[string]any{"exp": nil}), no, invalid},
		{"bound to a key, without a proof", "Bearer " + f.sign("at+jwt", bound), no, invalid},
		{"bound to a key, in the right scheme", "DPoP " + f.sign("at+jwt", bound), no, "Bearer"},
		{"a scope that begins like the one needed", "Bearer " + o.exchange("deploy:staging-eu", audience), forbidden, insufficient},
		{"no scope", "Bearer " + f.sign("at+jwt", map[string]any{"scope": nil}), forbidden, insufficient},
	}, s
}

func TestTheServicesOfThePage(t *testing.T) {
	issuer, agent, all, s := presentations(t)
	for _, service := range services {
		t.Run(service.language, func(t *testing.T) {
			url := service.start(t, pageIssuer, issuer)
			for _, p := range all {
				status, challenge, body := get(t, url, p.authorization)
				if status != p.status || challenge != p.challenge {
					t.Errorf("%s is answered %d %q, want %d %q", p.what, status, challenge, p.status, p.challenge)
				}
				if status != http.StatusOK {
					continue
				}
				var told struct{ Sub, Repository string }
				if err := json.Unmarshal([]byte(body), &told); err != nil || told.Sub != agent || told.Repository != repository {
					t.Errorf("%s: the service knows %q (%v), want agent %s of %s", p.what, body, err, agent, repository)
				}
			}
			before := s.jwks.Load()
			for range 20 {
				if status, _, _ := get(t, url, all[0].authorization); status != http.StatusOK {
					t.Fatalf("%s is answered %d", all[0].what, status)
				}
			}
			if n := s.jwks.Load() - before; n != 0 {
				t.Errorf("the keys were fetched %d times for 20 tokens of a known key", n)
			}
		})
	}
}

// get calls a service; without a token where authorization is empty.
func get(t *testing.T, url, authorization string) (status int, challenge, body string) {
	t.Helper()
	return send(t, http.MethodGet, url, authorization, "")
}

// send sends JSON, or nothing, and returns what is answered.
func send(t *testing.T, method, url, authorization, message string) (status int, challenge, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream") // as MCP wants it
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate"), string(answer)
}
