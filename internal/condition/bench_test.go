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

// What is compiled the first time; see TestAnExpressionIsCompiledOnce.
func BenchmarkCompile(b *testing.B) {
	github, n := kind(b, "github"), 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if _, err := condition.Compile(fmt.Sprintf(`claims.event_name == "push" && claims.ref.startsWith("refs/heads/release/%d")`, n), github); err != nil {
			b.Fatal(err)
		}
	}
}
