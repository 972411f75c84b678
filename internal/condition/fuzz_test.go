package condition_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
)

// FuzzCondition compiles any text and evaluates what is a condition, with any claims.
// Nothing panics; an error has a place within the text; the same says the same; and each
// evaluation ends.
func FuzzCondition(f *testing.F) {
	for _, expression := range []string{
		`claims.ref == "refs/heads/main"`,
		`claims["new"].startsWith("a") && !has(claims.environment)`,
		`claims.ref.glob("refs/*/release/*") || glob(claims.sha, "a*b*c")`,
		`claims.groups.exists(g, g in ["a", "b"]) ? claims.level > 3 : claims.email_verified == false`,
		`claims["kubernetes.io"].map(m, m + m).filter(m, m.size() > 2) == []`,
		`["a", "b"].exists_one(x, [claims.sub].all(y, x != y))`,
		`{"a": claims.sub}["a"] == claims.id`,
		`int(claims.run_attempt) < 2u && string(claims.id) == 'x' // remark`,
		`claims.sub.matches("(a+)+$")`, `claims[claims.sub]`, `"x" in claims`, `claims.`, "\u202e", "\xff\x00", `((((((`, `!!!!!!!!claims.a`, `.claims.jti`,
		`b"""\x00""" != claims.a`, "claims.a == r'''\n'''", `claims.a[-9223372036854775808]`, `claims.a == 1e999`,
	} {
		for _, claims := range []string{push, pod, `{}`} {
			f.Add(expression, claims)
		}
	}
	f.Fuzz(func(t *testing.T, expression, claims string) {
		var source token
		if json.Unmarshal([]byte(claims), &source) != nil {
			source = nil
		}
		for _, name := range []string{"github", "oidc"} {
			c := compiles(t, expression, kind(t, name))
			if c == nil {
				continue
			}
			if len(c.Claims()) == 0 {
				t.Fatalf("%q reads no claim", expression)
			}
			got := evaluated(c, source)
			for range 3 {
				if again := evaluated(c, source); again != got {
					t.Fatalf("%q is %s, then %s", expression, got, again)
				}
			}
		}
	})
}

func evaluated(c *condition.Condition, source agentidp.ClaimSource) string {
	ok, err := c.Holds(source)
	if err != nil {
		return "without a value: " + err.Error()
	}
	return fmt.Sprint(ok)
}

// compiles returns nil where the expression is refused.
func compiles(t *testing.T, expression string, kind *agentidp.ProviderKind) *condition.Condition {
	t.Helper()
	c, err := condition.Compile(expression, kind)
	if err == nil {
		return c
	}
	e := new(condition.Error)
	if !errors.As(err, &e) {
		t.Fatalf("%q: %v", expression, err)
	}
	lines := strings.Split(expression, "\n")
	if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 {
		t.Fatalf("%q: %v is no place in it", expression, err)
	}
	if !utf8.ValidString(err.Error()) || len(err.Error()) > 1000 {
		t.Fatalf("%q: %v", expression, err)
	}
	return nil
}
