package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// What a refused caller reads must depend on nothing but the code, the names of the claims
// that were read, and what it sent itself: two sets of policies that refuse by the same are
// told apart by nobody.
func TestARefusalTellsNothingOfThePolicies(t *testing.T) {
	t.Parallel()
	compared := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		in, draw := drawInput(t), drawPolicies
		if rapid.Bool().Draw(t, "policies with a condition") { // or hardly any two would refuse by the same
			draw = func(t *rapid.T) []*agentidp.TrustPolicy {
				return one(rapid.SampledFrom(furtherConditions).Draw(t, "condition"))
			}
		}
		a, b := policy.Match(compiled(draw(t)...), in), policy.Match(compiled(draw(t)...), in)
		if a.Granted || code(a) == badScope || refusedBy(a) != refusedBy(b) { // Which scopes are too much is the policy's to say.
			return
		}
		if x, y := body(t, a.Err), body(t, b.Err); x != y {
			t.Fatalf("two bodies for %s:\n%s\n%s", refusedBy(a), x, y)
		}
		compared[stoppedBy(a)]++
	})
	for _, check := range []string{"environment", "workflow", "claims", "event", "ref", "repository"} {
		if compared[check] == 0 {
			t.Errorf("no two draws refuse by %s: the generator is too narrow", check)
		}
	}
}

var furtherConditions = []policyOption{
	inEnvironment("prod"), inEnvironment("stage"), inEnvironment("qa"), inWorkflow(local), inWorkflow(reusable), inWorkflow(".github/workflows/x.yml"),
	needs("runner_environment", "x"), needs("runner_environment", "*-hosted", "y"), needs("environment", "pr*"), needs("environment", "x"),
}

// refusedBy is the code of a refusal; where the policy says which claims are read, also the
// check and the names of those that were not as they should.
func refusedBy(out policy.Outcome) string {
	if code(out) != badClaim {
		return code(out)
	}
	check, by := stoppedBy(out), []string{badClaim}
	for _, c := range out.Checks {
		if c.PolicyID == out.Policy.ID && c.Check == check && !c.OK {
			by = append(by, c.Check, c.Claim)
		}
	}
	return strings.Join(by, " ")
}

// Whatever other values the conditions of a policy have, the caller that meets neither of
// them reads the same.
func TestARefusalTellsNothingOfTheValues(t *testing.T) {
	t.Parallel()
	values := rapid.StringMatching(`zz[a-z0-9*/@.-]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		in := run(rapid.SliceOfN(rapid.SampledFrom([]inputOption{environment("prod"), environment(""), jobIn(reusable), startedFrom(""), startedFrom(reusable), saying("ref_protected", "")}), 0, 3).Draw(t, "run")...)
		where := rapid.SampledFrom([]string{"environment", "workflow", "claims"}).Draw(t, "condition")
		var told []string
		for range 2 {
			value := values.Draw(t, "value")
			p := pol(map[string]policyOption{"environment": inEnvironment(value), "workflow": inWorkflow(value), "claims": needs("ref_protected", value)}[where])
			out := policy.Match(compiled(p), in)
			if stoppedBy(out) != where {
				t.Fatalf("stopped by %q", stoppedBy(out))
			}
			told = append(told, body(t, out.Err))
		}
		if told[0] != told[1] || strings.Contains(told[0], "zz") {
			t.Fatalf("two bodies:\n%s\n%s", told[0], told[1])
		}
	})
}

// A grant is the grant of one policy, and a refusal the refusal of one: what several say
// together, one of them says alone.
func TestConditionsOfPoliciesNeverMix(t *testing.T) {
	t.Parallel()
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		together := policy.Match(compiled(policies...), in)
		if len(policies) > 1 {
			seen[together.Granted]++
		}
		says := func(p *agentidp.TrustPolicy) bool {
			alone := policy.Match(compiled(p), in)
			return code(alone) == code(together) && slices.Equal(alone.Scopes, together.Scopes) &&
				alone.Audience == together.Audience && alone.TTL == together.TTL && body(t, alone.Err) == body(t, together.Err)
		}
		if together.Policy != nil && !slices.ContainsFunc(policies, says) {
			t.Fatalf("%q, which none of them says alone; checks:\n%s", code(together), spell(together.Checks))
		}
		if together.Granted && !says(together.Policy) {
			t.Fatalf("granted by %s, which alone says something else", together.Policy.ID)
		}
		if grants := func(p *agentidp.TrustPolicy) bool { return policy.Match(compiled(p), in).Granted }; !together.Granted && slices.ContainsFunc(policies, grants) {
			t.Fatalf("%q, and one of them grants alone", code(together))
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("several policies granted %d times and refused %d times", seen[true], seen[false])
	}
}

// A value of a claim is a pattern for the whole of it, which no slash and no case slips
// through.
func TestPatternsOfClaimsAreAnchored(t *testing.T) {
	t.Parallel()
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.StringMatching(`[abA/*]{1,8}`), 1, 3).Draw(t, "patterns")
		value := rapid.StringMatching(`[abA/*]{0,8}`).Draw(t, "value")
		if rapid.Bool().Draw(t, "alike") { // or hardly any would match
			value = strings.ReplaceAll(patterns[0], "*", rapid.SampledFrom([]string{"", "a", "bb", "/", "*"}).Draw(t, "for the star"))
		}
		out := policy.Match(compiled(pol(needs("team", patterns...))), run(sayingNothing("team"), saying("team", value)))
		want := value != "" && slices.ContainsFunc(patterns, func(p string) bool { return globReference(p, value) })
		if out.Granted != want {
			t.Fatalf("%q for %q: granted %t", value, patterns, out.Granted)
		}
		seen[out.Granted]++
	})
	if seen[true] < 100 || seen[false] < 100 {
		t.Errorf("granted %d times and refused %d times: the generator is too narrow", seen[true], seen[false])
	}
}

func body(t interface{ Fatal(...any) }, e *agentidp.Error) string {
	data, err := json.Marshal(e) // all exported fields
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
