package agentidp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string][]string{
		"":                    nil,
		"b:2 a:1":             {"b:2", "a:1"}, // in the order in which it was asked for
		"a:1 b:2 a:1":         nil,
		"a:1 a:1":             nil,
		"a:1  b:2":            nil,
		" a:1":                nil,
		"a:1 \"":              nil,
		"a:1 A:1":             {"a:1", "A:1"},
		longScope(500) + " 0": nil, // the first again
	} {
		got, ok := ParseScope(scope)
		if ok != (want != nil || scope == "") || !slices.Equal(got, want) {
			t.Errorf("%.40q: %q, %v", scope, got, ok)
		}
	}
}

func longScope(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return strings.Join(all, " ")
}

// A scope as long as the body of a request, which anybody can send, beside one as it
// usually is.
func BenchmarkParseScope(b *testing.B) {
	for name, scope := range map[string]string{"usual": "deploy:production", "longest": longScope(12_000)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ParseScope(scope)
			}
		})
	}
}
