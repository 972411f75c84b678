package condition_test

import (
	"fmt"
	"testing"

	"github.com/sentryagent/agentidp/internal/condition"
)

func BenchmarkHolds(b *testing.B) {
	for _, bench := range []struct{ name, kind, expression, claims string }{
		{"text", "github", `claims.event_name == "push" && claims.ref.startsWith("refs/heads/release/")`, push},
		{"values", "oidc", `claims["kubernetes.io"].serviceaccount.uid == "7f2c"`, pod},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c, err := condition.Compile(bench.expression, kind(b, bench.kind))
			if err != nil {
				b.Fatal(err)
			}
			claims := read(b, bench.claims)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := c.Holds(claims); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// The first time takes longer than all the rest of a decision; from then on it is a look
// into a map.
func BenchmarkCompile(b *testing.B) {
	github, n := kind(b, "github"), 0
	for name, step := range map[string]int{"first": 1, "again": 0} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n += step
				if _, err := condition.Compile(fmt.Sprintf(`claims.event_name == "push" && claims.ref.startsWith("refs/heads/release/%d")`, n), github); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
