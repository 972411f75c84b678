package policy_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp/internal/policy"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "x", false},
		{"v1", "v1", true},
		{"v1", "V1", false},
		{"v1", "v1x", false},
		{"v1", "xv1", false},
		{"*", "", true},
		{"*", "anything.at-all", true},
		{"*", "a/b", false},
		{"**", "a/b", false},
		{"v*", "v", true},
		{"v*", "v1/x", false},
		{"*/x", "v/x", true},
		{"*/x", "/x", true},
		{"*/x", "a/b/x", false},
		{"*/*", "a/b", true},
		{"*/*", "a/b/c", false},
		{"a*b*c", "abbbc", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXcYb", false},
		{"a*a", "a", false},
		{"*ab", "aab", true},
		{"*a/b*c", "xaa/bbc", true},
		{"v?", "v1", false},
		{"v?", "v?", true},
		{"[ab]", "a", false},
		{`\*`, "*", false},
		{`\*`, `\x`, true},
		{"a|b", "a", false},
		{".*", "xx", false},
		{"*@ci.acme.example", "deployer@ci.acme.example", true},
		{"*@ci.acme.example", "deployer@ci.acme.example.evil", false},
	} {
		if got := policy.Glob(test.pattern, test.s); got != test.want {
			t.Errorf("Glob(%q, %q) = %t", test.pattern, test.s, got)
		}
	}
}

// globReference is the same by way of an anchored expression.
func globReference(pattern, s string) bool {
	return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `[^/]*`) + `\z`).MatchString(s)
}

func TestGlobNeverCrossesASlash(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/*]{0,12}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab/]{0,12}`).Draw(t, "s")
		got := policy.Glob(pattern, s)
		if got != globReference(pattern, s) {
			t.Fatalf("Glob(%q, %q) = %t", pattern, s, got)
		}
		if got && strings.Count(pattern, "/") != strings.Count(s, "/") {
			t.Fatalf("%q matches %q with another number of slashes", pattern, s)
		}
	})
}

// no pattern makes matching slow.
func TestGlobIsNotExponential(t *testing.T) {
	t.Parallel()
	start := time.Now()
	if policy.Glob(strings.Repeat("*a", 127)+"b", strings.Repeat("a", 4096)) {
		t.Error("matches")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"v*", "v1"}, {"*/*", "a/b"}, {"a*b*c", "abbc"}, {"**", "/"}, {"?[", "?["}, {"*\xff", "x\xff"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern)+len(s) > 1000 {
			t.Skip("longer than any name, and slow for the reference")
		}
		got := policy.Glob(pattern, s)
		// Expressions work on characters: only for ASCII is that the same.
		if isASCII(pattern) && isASCII(s) && got != globReference(pattern, s) {
			t.Errorf("Glob(%q, %q) = %t", pattern, s, got)
		}
		if !strings.Contains(pattern, "*") && got != (pattern == s) {
			t.Errorf("Glob(%q, %q) = %t without a star", pattern, s, got)
		}
		if got && strings.Count(pattern, "/") != strings.Count(s, "/") {
			t.Errorf("%q matches %q with another number of slashes", pattern, s)
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > '~' })
}
