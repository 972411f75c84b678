package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func inShadow(p *agentidp.TrustPolicy) { p.Mode = agentidp.ModeShadow }

// shadows spells what is told of policies in shadow mode.
func shadows(o policy.Outcome) string {
	var told []string
	for _, s := range o.Shadow {
		verdict := "grants"
		if !s.Allowed {
			verdict = s.Code
		}
		told = append(told, s.PolicyID+" "+verdict)
	}
	return strings.Join(told, ", ")
}

func TestAShadowTellsAndNeverDecides(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		policies []*agentidp.TrustPolicy
		run      *policy.Input
		code     string
		shadows  string
	}{
		{"a policy in shadow mode alone grants nothing, and says that it would have", one(inShadow), run(), violation, "p1 grants"},
		{"it does not even say that the branch is wrong", one(inShadow), run(onBranch("dev")), violation, "p1 branch_not_permitted"},
		{"beside one that grants, it says what it would have done", []*agentidp.TrustPolicy{pol(branch("")), pol(id("p2"), inShadow)}, run(), granted, "p2 grants"},
		{"and what it would have refused", []*agentidp.TrustPolicy{pol(branch("")), pol(id("p2"), inShadow)}, run(onBranch("dev")), granted, "p2 branch_not_permitted"},
		{"it answers for none that refuses", []*agentidp.TrustPolicy{pol(onEvents("schedule")), pol(id("p0"), inShadow)}, run(), badEvent, "p0 grants"},
		{"one of another agent is silent", one(inShadow, forAgent(agentY)), run(), violation, ""},
		{"one of an agent is silent about bootstrap", one(inShadow), run(noAgent), violation, ""},
		{"a bootstrap policy is silent about an agent", one(inShadow, bootstrap), run(), violation, ""},
		{"a bootstrap policy in shadow mode grants no bootstrap", one(inShadow, bootstrap), run(noAgent), violation, "p1 grants"},
		{"one of another repository is silent", one(inShadow, of("acme/other"), unpinned), run(), violation, ""},
		{"one that knows the repository by its pin is not", one(inShadow, of("acme/old")), run(), violation, "p1 grants"},
		{"one of another tenant is silent", one(inShadow, otherTenant), run(), violation, ""},
		{"one that has expired is silent", one(inShadow, expires(-time.Hour)), run(), violation, ""},
		{"of a workload, one with another subject is silent", one(workload("deploy"), inShadow), run(asWorkload("build")), violation, ""},
		{"of a workload, one with its subject is not", one(workload("build"), inShadow, needs("namespace", "x")), run(asWorkload("build")), violation, "p1 condition_not_met"},
		{"a suspended agent is suspended for a shadow too", one(inShadow), run(status(agentidp.AgentSuspended)), violation, "p1 agent_not_active"},
		{"the furthest is told first, then the lowest id",
			[]*agentidp.TrustPolicy{pol(id("a"), inShadow, onEvents("schedule")), pol(id("c"), inShadow), pol(id("b"), inShadow, branch(""))}, run(), violation, "b grants, c grants, a event_not_permitted"},
		{"a disabled policy is no shadow", one(disabled), run(), violation, ""},
		{"nor is one that is enforced", one(), run(), granted, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := policy.Match(compiled(test.policies...), test.run)
			wellFormed(t, &out)
			if code(out) != test.code || shadows(out) != test.shadows {
				t.Errorf("answers %q and tells %q, want %q and %q", code(out), shadows(out), test.code, test.shadows)
			}
		})
	}
}

// A policy in shadow mode changes nothing for the caller, and tells what it would answer
// if it were enforced, alone.
func TestAShadowTellsWhatItWouldDo(t *testing.T) {
	t.Parallel()
	told := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		policies = slices.DeleteFunc(policies, func(p *agentidp.TrustPolicy) bool { return p.Mode == agentidp.ModeShadow })
		shadow := with(drawPolicy(t), id("s"), inShadow)
		want := policy.Match(compiled(policies...), in)
		got := policy.Match(compiled(append(policies, shadow)...), in)
		if got.Granted != want.Granted || !reflect.DeepEqual(got.Err, want.Err) || !reflect.DeepEqual(got.Scopes, want.Scopes) || got.Audience != want.Audience || got.TTL != want.TTL {
			t.Fatalf("with a shadow the answer is %+v instead of %+v", got, want)
		}
		if want.Policy != nil && got.Policy.ID != want.Policy.ID && want.Err.Code != violation {
			t.Fatalf("with a shadow it is the answer of %s, not of %s", got.Policy.ID, want.Policy.ID)
		}
		alone := policy.Match(compiled(with(shadow, func(p *agentidp.TrustPolicy) { p.Mode = agentidp.ModeEnforce })), in)
		says := "s grants"
		if !alone.Granted {
			says = "s " + code(alone)
		}
		if code(alone) == violation {
			says = ""
		}
		if shadows(got) != says {
			t.Fatalf("it tells %q, and enforced it does %q", shadows(got), says)
		}
		told[code(alone)]++
	})
	for _, stage := range stages {
		if told[stage] == 0 {
			t.Errorf("no draw has a shadow that answers %q: the generator is too narrow", stage)
		}
	}
}

func TestTheChecksOfShadowsAreShownOnceAndBounded(t *testing.T) {
	t.Parallel()
	checksOf := func(out policy.Outcome) map[string]int {
		modes := map[string]int{}
		for _, c := range out.Checks {
			if c.Check == "mode" {
				modes[c.PolicyID]++
			}
		}
		return modes
	}
	out := policy.Match(compiled(pol(branch("")), pol(id("p2"), inShadow)), run(onBranch("dev")))
	if got := checksOf(out); got["p2"] != 1 || !strings.Contains(spell(out.Checks), "ref (ref): refs/heads/main / refs/heads/dev FAILED") {
		t.Errorf("of a grant, the shadow's checks are not all there once: %v\n%s", got, spell(out.Checks))
	}

	var policies []*agentidp.TrustPolicy
	for i := range 30 {
		policies = append(policies, pol(id(fmt.Sprintf("e%02d", i)), branch("dev")), pol(id(fmt.Sprintf("s%02d", i)), inShadow, branch("dev")))
	}
	policies = append(policies, pol(id("would"), inShadow))
	out = policy.Match(compiled(policies...), run())
	seen := checksOf(out)
	if len(seen) != 20 || seen["e00"] != 1 || seen["would"] != 1 || len(out.Shadow) != 10 || out.Shadow[0].PolicyID != "would" {
		t.Errorf("%d policies are traced and %d shadows told, want 20 and the 10 that got furthest: %v", len(seen), len(out.Shadow), seen)
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("the checks of %s are there %d times", name, times)
		}
	}
	cut := slices.IndexFunc(out.Checks, func(c agentidp.Check) bool { return c.Check == "more_policies" })
	if cut < 0 || !strings.HasPrefix(out.Checks[cut].Got, "41 more") {
		t.Errorf("the cut is not told: %+v", out.Checks[max(cut, 0)])
	}
}

// What is remembered may be old: it may grant, and of its refusals nobody hears.
func TestAProvisionalRefusalSaysNothing(t *testing.T) {
	t.Parallel()
	candidates := compiled(pol(), pol(id("p2"), inShadow))
	in, refused := run(), run(onBranch("other"))
	granted := policy.Match(candidates, in)
	in.Provisional, refused.Provisional = true, true
	if got := policy.Match(candidates, in); !cmp.Equal(got, granted) {
		t.Error(cmp.Diff(granted, got))
	}
	if got := policy.Match(candidates, refused); !cmp.Equal(got, policy.Outcome{}) {
		t.Errorf("%+v", got)
	}
}
