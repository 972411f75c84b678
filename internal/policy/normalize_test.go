package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func TestNormalizeFillsInDefaults(t *testing.T) {
	t.Parallel()
	events := []string{"deployment", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch"}
	got := policy.Normalize(agentidp.TrustPolicySpec{Provider: "github", Repository: "Acme/Deploy"}, github)
	want := agentidp.TrustPolicySpec{Provider: "github", Repository: "Acme/Deploy", Events: events, Mode: "enforce", MaxAgents: 10}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("bootstrap: %+v", got)
	}
	got = policy.Normalize(agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", AgentID: agentX}, github)
	want = agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", AgentID: agentX, Events: events, Mode: "enforce"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("agent: %+v", got)
	}
}

func TestNormalizeKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	end := time.Date(2027, 1, 1, 1, 0, 0, 1999, time.FixedZone("", 3600))
	said := agentidp.TrustPolicySpec{
		Events: []string{"schedule", "push", "push"}, Scopes: []string{"b:b", "a:a", "b:b"}, Audiences: []string{"z:z", "a:a"},
		Mode: "disabled", MaxAgents: 3, ExpiresAt: &end, Description: "d",
	}
	before := policy.Normalize(said, nil)
	utc := time.Date(2027, 1, 1, 0, 0, 0, 1000, time.UTC)
	want := agentidp.TrustPolicySpec{
		Events: []string{"push", "schedule"}, Scopes: []string{"a:a", "b:b"}, Audiences: []string{"z:z", "a:a"},
		Mode: "disabled", MaxAgents: 3, ExpiresAt: &utc, Description: "d",
	}
	if !reflect.DeepEqual(before, want) {
		t.Errorf("%+v", before)
	}
	if !slices.Equal(said.Events, []string{"schedule", "push", "push"}) || !said.ExpiresAt.Equal(end) {
		t.Error("its argument was changed")
	}
	before.Audiences[0] = "changed"
	if said.Audiences[0] != "z:z" {
		t.Error("the result shares memory with its argument")
	}
}

func TestNormalizeTwiceIsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		once := drawPolicy(t).TrustPolicySpec
		if twice := policy.Normalize(once, kindOf(once.Provider)); !reflect.DeepEqual(once, twice) {
			t.Fatalf("%+v became %+v", once, twice)
		}
	})
}

// Every field but those for people is part of the effect. The walk over the
// struct makes a field that is added later fail here until Fingerprint reads it.
func TestFingerprintReadsEveryField(t *testing.T) {
	t.Parallel()
	seen := map[string]string{policy.Fingerprint(&agentidp.TrustPolicySpec{}): "nothing"}
	fields := reflect.TypeFor[agentidp.TrustPolicySpec]()
	for i := range fields.NumField() {
		var s agentidp.TrustPolicySpec
		name := fields.Field(i).Name
		switch v := reflect.ValueOf(&s).Elem().Field(i); v.Interface().(type) {
		case string, agentidp.PolicyMode:
			v.SetString("x")
		case int:
			v.SetInt(7)
		case bool:
			v.SetBool(true)
		case agentidp.ClaimConditions:
			v.Set(reflect.ValueOf(agentidp.ClaimConditions{"x": {"x"}}))
		case []string:
			v.Set(reflect.ValueOf([]string{"x"}))
		case *time.Time:
			v.Set(reflect.ValueOf(&now))
		default:
			t.Fatalf("%s is of a type that this test does not know", name)
		}
		f := policy.Fingerprint(&s)
		if name == "Description" || name == "AcceptRisk" {
			if seen[f] != "nothing" {
				t.Errorf("%s is part of the fingerprint", name)
			}
			continue
		}
		if other := seen[f]; other != "" {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[f] = name
	}
}

func TestFingerprintsOfTheSamePolicyAreEqual(t *testing.T) {
	t.Parallel()
	a, b := pol().TrustPolicySpec, pol(of("ACME/Deploy"), onEvents(github.DefaultEvents...)).TrustPolicySpec
	if policy.Fingerprint(&a) != policy.Fingerprint(&b) {
		t.Error("the same repository in capitals, with the default events named, is another policy")
	}
}

func TestFingerprintsAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, audiences := range [][]string{
		{"a:b"}, {"a:", "b"}, {"a:", "b", ""}, {"", "a:b"}, {"a:b\n1:c"}, {"a:b", "c"}, {"c", "a:b"}, {"a:b", "1:c"}, {"2:a:", "b"},
	} {
		s := agentidp.TrustPolicySpec{Audiences: audiences}
		f := policy.Fingerprint(&s)
		if len(f) != 64 || strings.Trim(f, "0123456789abcdef") != "" {
			t.Fatalf("%q is not hexadecimal SHA-256", f)
		}
		if seen[f] != nil {
			t.Errorf("%q and %q have one fingerprint", seen[f], audiences)
		}
		seen[f] = audiences
	}
}

func TestFingerprintsOfClaimsAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]agentidp.ClaimConditions{}
	for _, claims := range []agentidp.ClaimConditions{
		{"a": {"b"}}, {"b": {"a"}}, {"a": {"b", "c"}}, {"a": {"b"}, "c": {"d"}}, {"a": {"b", "c", "d"}}, {"a": {"b\n1:c"}},
		{"a\n1:b": {"c"}}, {"a": {"d"}, "c": {"b"}}, {"a": {}}, {"": {"a"}}, {"": {"a", "b"}}, {"claim 2": {"a"}},
	} {
		s := agentidp.TrustPolicySpec{Claims: claims}
		f := policy.Fingerprint(&s)
		if seen[f] != nil {
			t.Errorf("%q and %q have one fingerprint", seen[f], claims)
		}
		seen[f] = claims
	}
	a := policy.Normalize(agentidp.TrustPolicySpec{Claims: agentidp.ClaimConditions{"a": {"y", "x", "y"}}}, oidc)
	b := policy.Normalize(agentidp.TrustPolicySpec{Claims: agentidp.ClaimConditions{"a": {"x", "y"}}}, oidc)
	if policy.Fingerprint(&a) != policy.Fingerprint(&b) {
		t.Error("values in another order are another policy")
	}
}

func TestNormalizedClaimsShareNoMemory(t *testing.T) {
	t.Parallel()
	said := agentidp.TrustPolicySpec{Claims: agentidp.ClaimConditions{"a": {"y", "x"}}}
	got := policy.Normalize(said, oidc)
	got.Claims["a"][0], got.Claims["b"] = "changed", nil
	if !reflect.DeepEqual(said.Claims, agentidp.ClaimConditions{"a": {"y", "x"}}) {
		t.Errorf("its argument was changed to %v", said.Claims)
	}
	if got := policy.Normalize(agentidp.TrustPolicySpec{Claims: agentidp.ClaimConditions{}}, oidc); got.Claims != nil {
		t.Error("no conditions are not nil")
	}
}

// Fingerprints are stored: this one must never change.
func TestTheFingerprintIsStable(t *testing.T) {
	t.Parallel()
	s := pol(withScopes("a:a"), withAudiences("https://a.example"), expires(time.Hour), ttl(60)).TrustPolicySpec
	const want = "66210d32abb80414fcf3e288c0d8291fa7dd71f2da58d5226612e8531fc82c16"
	if got := policy.Fingerprint(&s); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
