package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Beside all checks of the policy that grants, a grant tells of each other candidate the
// one that stopped it: here those, the furthest first.
func TestAGrantTellsWhatStoppedTheOthers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		others []*agentidp.TrustPolicy
		want   string
	}{
		{"of a policy for another branch, the branch", several(pol(id("p2"), branch("dev"))),
			"p2 ref (ref): refs/heads/dev / refs/heads/main FAILED\n"},
		{"of one that fails twice, the first", several(pol(id("p2"), branch("dev"), onEvents("schedule"))),
			"p2 event (event): schedule / push FAILED\n"},
		{"of one that is disabled, its mode", several(pol(id("p2"), disabled, branch("dev"))),
			"p2 mode: enforce / disabled FAILED\n"},
		{"of one that fails two claims, the first by name", several(pol(id("p2"), needs("ref_protected", "false"), needs("runner_environment", "self-hosted"))),
			"p2 claims (ref_protected): false / true FAILED\n"},
		{"of one whose second claim fails, that", several(pol(id("p2"), needs("ref_protected", "true"), needs("runner_environment", "self-hosted"))),
			"p2 claims (runner_environment): self-hosted / github-hosted FAILED\n"},
		{"of one for another workflow, the workflow", several(pol(id("p2"), inWorkflow(reusable))),
			"p2 workflow (job_workflow_ref): " + reusable + " / " + deployYML + "@refs/heads/main FAILED\n"},
		{"the furthest is first, then the lowest id", several(pol(id("p2"), disabled), pol(id("p5"), inEnvironment("prod")), pol(id("p4"), branch("dev")), pol(id("p3"), branch("dev"))),
			"p5 environment (environment): prod FAILED\n" +
				"p3 ref (ref): refs/heads/dev / refs/heads/main FAILED\n" +
				"p4 ref (ref): refs/heads/dev / refs/heads/main FAILED\n" +
				"p2 mode: enforce / disabled FAILED\n"},
		{"of one that would grant as well, nothing", several(pol(id("p2"))), ""},
		{"of one of another tenant, nothing", several(pol(id("p2"), otherTenant)), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := policy.Match(compiled(append(test.others, pol())...), run())
			wellFormed(t, &out)
			if got := ofOthers(out); got != test.want {
				t.Errorf("got:\n%swant:\n%s", got, test.want)
			}
		})
	}
}

// Of a policy for another agent than the one that was asked for, the trace does not say that its
// own agent is absent: nobody has looked for it.
func TestNothingIsToldOfAnAgentThatWasNotAskedFor(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]*policy.Input{"another agent": run(agentNamed(agentY)), "bootstrap": run(noAgent)} {
		for _, check := range policy.Match(compiled(pol()), in).Checks {
			if check.Check == "agent_status" {
				t.Errorf("%s: %+v", name, check)
			}
		}
	}
}

// ofOthers spells the checks of a grant that are not those of the policy that grants.
func ofOthers(out policy.Outcome) string {
	var b strings.Builder
	for _, c := range out.Checks {
		if c.PolicyID != out.Policy.ID {
			b.WriteString(c.PolicyID + " " + spell([]agentidp.Check{c}))
		}
	}
	return b.String()
}

func TestTheOthersOfAGrantAreBounded(t *testing.T) {
	t.Parallel()
	policies := several(pol(id("p0")), pol(id("z"), inEnvironment("prod")))
	for i := range 100 {
		policies = append(policies, pol(id(fmt.Sprintf("p%03d", 100+i)), branch("dev")))
	}
	for range 3 {
		out := policy.Match(compiled(policies...), run())
		got := strings.Split(strings.TrimSpace(ofOthers(out)), "\n")
		if len(got) != 21 || !strings.HasPrefix(got[0], "z environment") || !strings.HasPrefix(got[1], "p100 ") || !strings.HasPrefix(got[19], "p118 ") ||
			!strings.HasSuffix(got[20], "more_policies: at most 20 policies are shown, those that got furthest first / 81 more did not grant FAILED") {
			t.Errorf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
		}
		slices.Reverse(policies)
	}
}

// What a grant tells of another candidate is what that, alone, would have refused by.
func TestWhatStoppedAnotherIsWhatStopsItAlone(t *testing.T) {
	t.Parallel()
	told := 0
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		out := policy.Match(compiled(policies...), in)
		if !out.Granted {
			return
		}
		for _, p := range policies {
			if p.ID == out.Policy.ID || p.OrganizationID != orgID || p.Mode == agentidp.ModeShadow {
				continue
			}
			var got []agentidp.Check
			for _, c := range out.Checks {
				if c.PolicyID == p.ID {
					got = append(got, c)
				}
			}
			alone := policy.Match(compiled(p), in)
			if alone.Granted && len(got) == 0 {
				continue
			}
			first := slices.IndexFunc(alone.Checks, func(c agentidp.Check) bool { return !c.OK })
			if alone.Granted || len(got) != 1 || got[0] != alone.Checks[first] {
				t.Fatalf("of %s a grant tells\n%sand alone it is stopped by\n%s", p.ID, spell(got), spell(alone.Checks))
			}
			told++
		}
	})
	if told == 0 {
		t.Error("no draw grants beside a candidate that does not")
	}
}
