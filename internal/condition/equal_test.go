package condition_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/condition"
)

// list is a text of elements in brackets.
func list(element string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

// nested is an expression that compares a list of lists of lists with itself, each of
// which is the one before so many times.
func nested(width, depth int) string {
	e := fmt.Sprintf("v%d == v%d", depth, depth)
	for i := depth; i > 0; i-- {
		e = fmt.Sprintf("[%s].exists(v%d, %s)", list(fmt.Sprintf("v%d", i-1), width), i, e)
		e = strings.Replace(e, "[v", "[[v", 1)
		e = strings.Replace(e, "].exists", "]].exists", 1)
	}
	return "[claims.ref].exists(v0, " + e + ")"
}

// soon fails a test that is not through by far after what an evaluation may take.
func soon(t *testing.T, f func() (bool, error)) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := f()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the evaluation is not bounded")
		return nil
	}
}

// What is compared is bounded before it is: CEL counts the outermost list alone, and
// afterwards.
func TestComparisonsAreBounded(t *testing.T) {
	t.Parallel()
	big, small := list(list("1", 200), 1), list(list("1", 20), 1)
	long := list(`"`+strings.Repeat("x", 10_000)+`"`, 1)
	object := `{"a":` + list("1", 200) + `}`
	for _, c := range []struct {
		name, text string
		kind       string
		claims     token
		want       string // of the error
	}{
		{"a list that grows by each variable", nested(8, 8), "github", token{"ref": []byte(`"x"`)}, "both have more than 100 parts"},
		{"one that is longer than time", nested(20, 8), "github", token{"ref": []byte(`"x"`)}, "both have more than 100 parts"},
		{"its negation", strings.Replace(nested(20, 8), "==", "!=", 1), "github", token{"ref": []byte(`"x"`)}, "both have more than 100 parts"},
		{"in", strings.Replace(nested(20, 8), "v8 == v8", "v8 in [v8]", 1), "github", token{"ref": []byte(`"x"`)}, "both have more than 100 parts"},
		{"two claims", `claims.a == claims.b`, "oidc", token{"a": []byte(big), "b": []byte(big)}, "both have more than 100 parts"},
		{"two long texts in lists", `claims.a == claims.b`, "oidc", token{"a": []byte(long), "b": []byte(long)}, "both have more than 100 parts"},
		{"two objects", `claims.a == claims.b`, "oidc", token{"a": []byte(object), "b": []byte(object)}, "both have more than 100 parts"},
		{"one of them small", `claims.a != claims.b`, "oidc", token{"a": []byte(big), "b": []byte(small)}, ""},
		{"two that are small", `claims.a == claims.b`, "oidc", token{"a": []byte(small), "b": []byte(small)}, ""},
		{"texts", `claims.a == claims.b`, "oidc", token{"a": []byte(`"` + strings.Repeat("x", 9000) + `"`), "b": []byte(`"` + strings.Repeat("x", 9000) + `"`)}, ""},
		{"a text in a long list", `"y" in claims.a || "x" in claims.a`, "oidc", token{"a": []byte(strings.Replace(list(`"y"`, 1000), "y", "x", 1))}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e, err := condition.Compile(c.text, kind(t, c.kind))
			if err != nil {
				t.Fatal(err)
			}
			switch err := soon(t, func() (bool, error) { return e.Holds(c.claims) }); {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}
