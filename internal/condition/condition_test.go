package condition_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
	"github.com/sentryagent/agentidp/internal/providers"
)

// kind returns one of the kinds that there are.
func kind(t testing.TB, name string) *agentidp.ProviderKind {
	t.Helper()
	kinds, err := providers.Kinds()
	if err != nil || kinds[name] == nil {
		t.Fatalf("no kind %s: %v", name, err)
	}
	return kinds[name]
}

// token is the claims of a subject token, as JSON has them.
type token map[string]json.RawMessage

func (t token) ReadJSON(name string) []byte { return t[name] }

func (t token) ReadClaim(name string) (string, bool) {
	raw := string(t[name])
	if raw == "" || strings.ContainsAny(raw[:1], "n[{") {
		return "", false
	}
	var text string
	if json.Unmarshal(t[name], &text) != nil {
		return raw, true
	}
	return text, !strings.ContainsRune(text, '\x07') // as the verifier, which refuses control characters
}

func read(t testing.TB, claims string) token {
	t.Helper()
	var read token
	if err := json.Unmarshal([]byte(claims), &read); err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	return read
}

const (
	push = `{"ref": "refs/heads/release/1", "ref_protected": "true", "event_name": "push", "repository": "acme/deploy", "run_attempt": "1", "environment": null,
	 "job_workflow_ref": "acme/deploy/.github/workflows/d.yml@refs/heads/main", "repo_property_tier": "gold", "future": "x"}`
	pod = `{"sub": "system:serviceaccount:build:deployer", "email_verified": true, "level": 3, "id": 9007199254740993, "groups": ["dev", "ops"], "ratio": 0.5,
	 "kubernetes.io": {"namespace": "build", "pod": null, "serviceaccount": {"name": "deployer", "uid": "7f2c"}}, "huge": 18446744073709551615, "over": 18446744073709551616, "round": 1e16, "bell": "\u0007"}`
)

func TestWhatConditionsMean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sentence, expression string
		want                 string // true, false, or a part of why there is no value
	}{
		{"a claim is what it is", `claims.ref == "refs/heads/release/1"`, "true"},
		{"and nothing else", `claims.ref == "refs/heads/release/2"`, "false"},
		{"in case and all", `claims.ref == "refs/heads/Release/1"`, "false"},
		{"it begins so", `claims.ref.startsWith("refs/heads/release/")`, "true"},
		{"it ends so", `claims.job_workflow_ref.endsWith("@refs/heads/main")`, "true"},
		{"it contains this", `claims.repository.contains("/dep")`, "true"},
		{"it is one of a list", `claims.event_name in ["push", "schedule"]`, "true"},
		{"it is none of a list", `!(claims.event_name in ["push", "schedule"])`, "false"},
		{"a star is within one segment", `claims.ref.glob("refs/heads/release/*")`, "true"},
		{"and never goes beyond a slash", `claims.ref.glob("refs/heads/*")`, "false"},
		{"a pattern is for all of the text", `claims.ref.glob("refs/heads/release")`, "false"},
		{"glob may stand in front", `glob(claims.ref, "refs/*/release/*")`, "true"},
		{"a pattern knows no other sign", `claims.ref.glob("refs/heads/release/?")`, "false"},
		{"claims are compared with claims", `claims.job_workflow_ref.startsWith(claims.repository + "/.github/")`, "true"},
		{"text becomes a number", `int(claims.run_attempt) < 2`, "true"},
		{"what is no number becomes none", `int(claims.ref) < 2 || int(claims.ref) >= 2`, "type conversion error"},
		{"an index is a name too", `claims["ref"].size() == 20`, "true"},
		{"a claim of which one will hear", `claims["future"] == "x"`, "true"},
		{"a custom property", `claims.repo_property_tier == "gold"`, "true"},
		{"one of two", `claims.ref == "no" || claims.event_name == "push"`, "true"},
		{"a choice", `claims.event_name == "push" ? claims.ref_protected == "true" : false`, "true"},
		{"lines and remarks", "claims.ref_protected == \"true\" // rules\n\t&& claims.event_name == 'push'", "true"},
		{"a dot in front changes nothing", `.claims.event_name == "push"`, "true"},

		// An absent claim, and one that is null, has no value.
		{"an absent claim is not equal", `claims.head_ref == "x"`, "the token has no claim head_ref"},
		{"nor is it different", `claims.head_ref != "x"`, "the token has no claim head_ref"},
		{"nor is the contrary true", `!(claims.head_ref == "x")`, "the token has no claim head_ref"},
		{"null is absent", `claims.environment != "production"`, "the token has no claim environment"},
		{"nor is it in a list", `claims.environment in ["a"]`, "the token has no claim environment"},
		{"nor out of it", `!(claims.environment in ["a"])`, "the token has no claim environment"},
		{"nor does it match", `!claims.environment.glob("a*")`, "the token has no claim environment"},
		{"nor equal to an absent one", `claims.environment == claims.head_ref`, "the token has no claim environment, head_ref"},
		{"nor to itself", `claims.environment == claims.environment`, "the token has no claim environment"},
		{"both are needed", `claims.event_name == "push" && claims.environment == "a"`, "the token has no claim environment"},
		{"in each order", `claims.environment == "a" && claims.event_name == "push"`, "the token has no claim environment"},
		{"where the other side is false it is false", `claims.environment == "a" && claims.event_name == "x"`, "false"},
		{"one is enough, whatever the absent one were", `claims.environment == "a" || claims.event_name == "push"`, "true"},
		{"in each order, too", `claims.event_name == "push" || claims.environment == "a"`, "true"},
		{"where neither is true there is no value", `claims.environment == "a" || claims.event_name == "x"`, "the token has no claim environment"},
		{"nor is the contrary of that true", `!(claims.environment == "a" || claims.event_name == "x")`, "the token has no claim environment"},
		{"a choice by it has none", `claims.environment == "a" ? true : true`, "the token has no claim environment"},
		{"only has asks whether it is there", `has(claims.environment)`, "false"},
		{"and may say what to do then", `!has(claims.environment) || claims.environment == "a"`, "true"},
		{"has knows what is there", `has(claims.ref) && has(claims.repo_property_tier)`, "true"},
		{"in a list of texts it has none", `["a", "b"].exists(x, x == claims.environment)`, "the token has no claim environment"},
		{"nor for all of them", `["a", "b"].all(x, x != claims.environment)`, "the token has no claim environment"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			t.Parallel()
			holds(t, "github", test.expression, push, test.want)
		})
	}
}

func TestWhatConditionsMeanWhereClaimsAreMoreThanText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sentence, expression, want string }{
		{"a member of an object", `claims["kubernetes.io"].serviceaccount.uid == "7f2c"`, "true"},
		{"by its name in brackets", `claims["kubernetes.io"]["namespace"] == "build"`, "true"},
		{"a member that is not there", `claims["kubernetes.io"].node == "x"`, "no such key"},
		{"nor is it different", `claims["kubernetes.io"].node != "x"`, "no such key"},
		{"null is not there", `claims["kubernetes.io"].pod != "x"`, "no such key"},
		{"has asks for members", `has(claims["kubernetes.io"].pod) || has(claims["kubernetes.io"].node)`, "false"},
		{"and needs the object", `!has(claims.nothing.member)`, "the token has no claim nothing"},
		{"true is no text", `claims.email_verified == true`, "true"},
		{"so text is not equal", `claims.email_verified == "true"`, "false"},
		{"a number is one", `claims.level >= 3 && claims.level == 3`, "true"},
		{"an id is exact", `claims.id == 9007199254740993`, "true"},
		{"and not its neighbour", `claims.id == 9007199254740992`, "false"},
		{"the largest that there are", `claims.huge == 18446744073709551615u`, "true"},
		{"one more is not rounded", `claims.over > 0`, "the claim over has a number that cannot be held exactly"},
		{"so that has does not deny it", `!has(claims.over)`, "the claim over has a number that cannot be held exactly"},
		{"nor one with an exponent", `claims.round > 1`, "the claim round has a number that cannot be held exactly"},
		{"a part of one", `claims.ratio == 0.5`, "true"},
		{"as text", `string(claims.id) == "9007199254740993"`, "true"},
		{"one of a list", `"ops" in claims.groups`, "true"},
		{"in other words", `claims.groups.exists(g, g.startsWith("op"))`, "true"},
		{"all of a list", `claims.groups.all(g, g in ["dev", "ops", "qa"])`, "true"},
		{"the first", `claims.groups[0] == "dev"`, "true"},
		{"beyond the last", `claims.groups[2] != "dev"`, "index out of bounds"},
		{"a list is no text", `claims.groups.startsWith("dev")`, "cannot be compared like that"},
		{"members in their order", `claims["kubernetes.io"].map(m, m) == ["namespace", "serviceaccount"]`, "true"},
		{"text with a control character", `!has(claims.bell)`, "the claim bell is not text that can be compared"},
		{"an absent claim", `claims.nobody != 1`, "the token has no claim nobody"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			t.Parallel()
			holds(t, "oidc", test.expression, pod, test.want)
		})
	}
}

func holds(t *testing.T, kindName, expression, claims, want string) {
	t.Helper()
	c, err := condition.Compile(expression, kind(t, kindName))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Holds(read(t, claims))
	switch {
	case err == nil && fmt.Sprint(got) != want:
		t.Errorf("%t, want %s", got, want)
	case err != nil && (got || !strings.Contains(err.Error(), want)):
		t.Errorf("%t, %v; want %s", got, err, want)
	}
}

func TestWithoutClaimsNothingHolds(t *testing.T) {
	t.Parallel()
	c, err := condition.Compile(`claims.ref != "x"`, kind(t, "github"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := c.Holds(nil); ok || err == nil {
		t.Errorf("%t, %v", ok, err)
	}
}

// A token may be larger than the estimate of its cost thought.
func TestAnEvaluationEnds(t *testing.T) {
	t.Parallel()
	c, err := condition.Compile(`claims.groups.exists(g, g.glob("a*a*a*b"))`, kind(t, "oidc"))
	if err != nil {
		t.Fatal(err)
	}
	groups := `["` + strings.Repeat("a", 200) + strings.Repeat(`", "`+strings.Repeat("a", 200), 500) + `"]`
	if ok, err := c.Holds(token{"groups": json.RawMessage(groups)}); ok || err == nil || !strings.Contains(err.Error(), "takes more than 10000 steps") {
		t.Errorf("%t, %v", ok, err)
	}
}

func TestWhichClaimsAreRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ expression, claims, unknown, ofRef string }{
		{`claims.ref == "a"`, "ref", "", "a"},
		{`"a" == claims.ref && claims.event_name != "b"`, "event_name ref", "", "a"},
		{`has(claims.environment) || claims["new"].startsWith("p")`, "environment new", "new", ""},
		{`claims.ref in ["b", "a"] || claims["ref"].glob("v*/x")`, "ref", "", "a b vx/x"},
		{`["a"].exists(x, claims.ref.endsWith("/" + x)) || claims.ref.endsWith("/b")`, "ref", "", "/b x/b"},
		{`claims.ref == claims["repo_property_x"] ? claims.ref.contains("c") : false`, "ref repo_property_x", "", "c"},
		{`{"k": claims.sha}["k"] == "v"`, "sha", "", ""},
	} {
		c, err := condition.Compile(test.expression, kind(t, "github"))
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		for what, got := range map[string][2]string{
			"claims": {spell(c.Claims()), test.claims}, "unknown": {spell(c.Unknown()), test.unknown},
			"compared with ref": {spell(c.Compared("ref")), test.ofRef},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: %s %q, want %q", test.expression, what, got[0], got[1])
			}
		}
	}
}

func spell(list []string) string { return strings.Join(list, " ") }

// A refused exchange reads its policies anew, and a page of policies judges each.
func TestAnExpressionIsCompiledOnce(t *testing.T) {
	t.Parallel()
	github, oidc := kind(t, "github"), kind(t, "oidc")
	first, err := condition.Compile(`claims.ref == "once"`, github)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := condition.Compile(`claims.ref == "once"`, github); again != first {
		t.Error("compiled anew")
	}
	if other, _ := condition.Compile(`claims.ref == "once"`, oidc); other == first {
		t.Error("another kind has the same")
	}
	_, wrong := condition.Compile(`claims.ref ==`, github)
	if _, again := condition.Compile(`claims.ref ==`, github); wrong == nil || !errors.Is(again, wrong) {
		t.Errorf("%v, then %v", wrong, again)
	}
}

// The glob of expressions is that of the other fields.
func TestGlobIsGlob(t *testing.T) {
	t.Parallel()
	github := kind(t, "github")
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/*]{0,6}`).Filter(func(s string) bool { return !strings.Contains(s, "**") }).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab/]{0,6}`).Draw(t, "s")
		c, err := condition.Compile(fmt.Sprintf("claims.ref.glob(%q)", pattern), github)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(s)
		got, err := c.Holds(token{"ref": raw})
		if err != nil || got != condition.Glob(pattern, s) {
			t.Fatalf("%q.glob(%q) is %t, %v", s, pattern, got, err)
		}
	})
}

// What is true without a claim would be true with it, whatever it said: no condition is
// met because something is not there, unless it asks with has.
func TestAnAbsentClaimSatisfiesNothing(t *testing.T) {
	t.Parallel()
	github := kind(t, "github")
	names := []string{"ref", "environment", "event_name"}
	rapid.Check(t, func(t *rapid.T) {
		text := expression(t, names, 3)
		c, err := condition.Compile(text, github)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		whole := token{}
		for _, name := range names {
			whole[name] = json.RawMessage(rapid.SampledFrom([]string{`"a"`, `"b"`, `""`}).Draw(t, name))
		}
		part := token{}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), func(s string) string { return s }).Draw(t, "present") {
			part[name] = whole[name]
		}
		with, err := c.Holds(whole)
		if err != nil {
			t.Fatalf("%s of %s: %v", text, whole, err)
		}
		if without, _ := c.Holds(part); without && !with {
			t.Fatalf("%s holds of %s and not of %s", text, part, whole)
		}
		if _, err := c.Holds(token{}); err == nil {
			t.Fatalf("%s has a value without any claim", text)
		}
	})
}

// expression draws an expression without has in which every part depends on a claim.
func expression(t *rapid.T, names []string, depth int) string {
	claim := "claims." + rapid.SampledFrom(names).Draw(t, "claim")
	value := rapid.SampledFrom([]string{`"a"`, `"b"`}).Draw(t, "value")
	shape := rapid.IntRange(0, 9).Draw(t, "shape")
	if depth == 0 {
		shape %= 5
	}
	switch shape {
	case 0:
		return claim + " == " + value
	case 1:
		return claim + " != " + value
	case 2:
		return claim + " in [" + value + "]"
	case 3:
		return claim + ".glob(" + value + ")"
	case 4:
		return `["a", "b"].exists(x, x == ` + claim + ")"
	case 5:
		return "!(" + expression(t, names, depth-1) + ")"
	case 6, 7:
		return "(" + expression(t, names, depth-1) + " && " + expression(t, names, depth-1) + ")"
	case 8:
		return "(" + expression(t, names, depth-1) + " || " + expression(t, names, depth-1) + ")"
	}
	return "(" + expression(t, names, depth-1) + " ? " + expression(t, names, depth-1) + " : " + expression(t, names, depth-1) + ")"
}
