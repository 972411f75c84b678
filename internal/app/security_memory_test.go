package app

import (
	"crypto"
	"runtime"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
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
