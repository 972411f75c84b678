package app

import (
	"crypto"
	"crypto/elliptic"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/verify"
)

// TestSecurityMemory is not parallel: what others allocate would be counted too.
func TestSecurityMemory(t *testing.T) {
	peek := func(token string) func() error {
		return func() error { _, err := verify.Peek(token); return err }
	}
	parse := func(token string) func() error {
		return func() error { _, err := jose.Parse(token); return err }
	}
	deep := func(n int) string {
		return compact(header("RS256", "k", `"x":`+strings.Repeat("[", n)+strings.Repeat("]", n)), `{}`, raw(random(256)))
	}
	huge := claims{"kty": "RSA", "kid": "huge", "alg": "RS256", "e": "Aw", "n": b64(append([]byte{0x80}, append(random(4095), 1)...))}
	hugeSet := keySet(huge, huge, huge, huge, huge, huge, huge, huge)
	dots := strings.Repeat(".", 1_000_000)
	for _, tt := range []struct {
		name  string
		limit uint64 // bytes
		run   func() error
	}{
		{"A-013 a key set of huge moduli", 1 << 20, func() error { _, err := jose.ParseJWKS([]byte(hugeSet), jose.Algorithms); return err }},
		{"A-040 a header nested 3000 deep", 64 << 10, peek(deep(3000))},
		{"A-040 a header nested 100000 deep", 1 << 10, peek(deep(100_000))},
		{"A-045 a JWE of 2^31 rounds", 1 << 10, peek(countless(5))},
		{"A-045 its first three segments", 16 << 10, peek(countless(3))},
		{"A-046 a zip bomb", 1 << 10, peek(bomb(t))},
		{"A-050 a million dots", 1 << 10, peek(dots)},
		{"A-050 a million dots, parsed", 1 << 10, parse(dots)},
		{"A-050 as many dots as a token may have bytes", 1 << 10, peek(strings.Repeat(".", 16<<10))},
		{"A-047 JSON of braces", 1 << 10, peek(strings.Repeat("{", 16<<10))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.run() == nil {
				t.Error("accepted")
			}
			if got := allocated(tt.run); got > tt.limit {
				t.Errorf("%d bytes were allocated, want %d at most", got, tt.limit)
			}
		})
	}
	t.Run("a good token", func(t *testing.T) {
		token := compact(header("RS256", "k"), `{"iss":"https://ci.example"}`, pkcs1(ciKey(), crypto.SHA256))
		if err := peek(token)(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheCorpusLeavesNothingInMemory sends a token of each fate again and again, each with
// names of its own: what is remembered of them must not add up, nor may anybody be left
// running for them. Not parallel, as above.
func TestTheCorpusLeavesNothingInMemory(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	f := newForger(t)
	other := newECKey(t, elliptic.P256())
	f.provider("es256", "https://es256.ci.example", keySet(jwk(other.Public(), "ec", nil)), "ES256") // quick to sign
	authentic := func(changes claims) string {
		changes["iss"] = "https://es256.ci.example"
		return compact(header("ES256", "ec"), f.payload(changes), es256(other))
	}
	replayed, now := authentic(claims{}), f.clock.Now().Unix()
	f.becomes(replayed, "granted")
	payload := f.payload()
	fates := []struct {
		status int
		token  func(n string) string
	}{
		{401, func(n string) string { return n }},
		{401, func(n string) string { return b64(`{"alg":"none","kid":`+quoted(n)+`}`) + "." + b64(payload) + "." }},
		{401, func(n string) string { return compact(header("RS256", n), payload, raw(random(256))) }},
		{401, func(n string) string { return compact(header(n, f.kid), payload, raw(random(256))) }},
		{401, func(string) string { return compact(header("RS256", f.kid), payload, raw(random(256))) }},
		{401, func(n string) string {
			return compact(header("RS256", f.kid), `{"iss":"https://`+n+`.example"}`, raw(random(256)))
		}},
		{401, func(n string) string {
			return compact(header("RS256", f.kid, quoted(n)+":"+strings.Repeat("[", 3000)), payload, raw(random(256)))
		}},
		{413, func(n string) string { return n + strings.Repeat(".", 17<<10) }},
		{401, func(n string) string { return authentic(claims{"aud": "https://" + n + ".example"}) }},
		{401, func(n string) string { return authentic(claims{"exp": now - 200, "iat": now - 300, "jti": n}) }},
		{401, func(n string) string { return authentic(claims{"iat": now + 200, "jti": n}) }},
		{401, func(string) string { return replayed }},
		{403, func(n string) string { return authentic(claims{"ref": "refs/heads/" + n}) }},
	}
	send := func(round, times int) {
		t.Helper()
		for i := range times {
			for fate, r := range fates {
				body := asJSON(exchangeBody(r.token(fmt.Sprintf("n%d-%d-%d", round, fate, i)), f.agentID))
				if a := f.handed(body); a.Code != r.status {
					t.Fatalf("fate %d: %d, want %d", fate, a.Code, r.status)
				}
			}
			f.logs.take()
		}
	}
	send(0, 100) // whatever is filled once is filled
	heap, running := live(), runtime.NumGoroutine()
	const times = 300
	send(1, times)
	if grown := live() - heap; grown > int64(times*len(fates)*64) {
		t.Errorf("after %d tokens the heap has grown by %d KiB", times*len(fates), grown>>10)
	}
	if n := runtime.NumGoroutine(); n > running {
		t.Errorf("%d goroutines, and there were %d", n, running)
	}
	f.abides()
	f.stop()
	f.rows.Close()
	f.trap.Close()
	http.DefaultClient.CloseIdleConnections()
	pace.Eventually(t, "nobody is left of the server", func() bool { return runtime.NumGoroutine() <= goroutines+2 }) // the issuer, and a finished test's
}

// allocated returns how many bytes a function allocates: the least of some runs,
// because the runtime allocates now and then for itself.
func allocated(run func() error) uint64 {
	least := ^uint64(0)
	for range 5 {
		var was, is runtime.MemStats
		runtime.ReadMemStats(&was)
		_ = run()
		runtime.ReadMemStats(&is)
		least = min(least, is.TotalAlloc-was.TotalAlloc)
	}
	return least
}
