package policy_test

import (
	"fmt"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1000} {
		var policies []*agentidp.TrustPolicy
		for i := range n {
			policies = append(policies, pol(id(fmt.Sprintf("p%04d", n-i)), branch(fmt.Sprintf("b%d", i)), withAudiences("https://a.example")))
		}
		candidates := compiled(policies...)
		for name, in := range map[string]*policy.Input{
			"granted":         run(onBranch(fmt.Sprintf("b%d", n/2))),
			"grantedByAsking": run(onBranch(fmt.Sprintf("b%d", n/2)), asking("deploy:staging"), audience("https://a.example")),
			"refused":         run(onBranch("main")),
		} {
			b.Run(fmt.Sprintf("candidates=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if out := policy.Match(candidates, in); out.Granted == (name == "refused") {
						b.Fatal(out.Err)
					}
				}
			})
		}
	}
}

// One candidate, or a few, is the usual case, and each allocation counts there: the check
// list, the scopes and little else.
func TestAGrantAllocatesLittle(t *testing.T) {
	for name, candidates := range map[string][]*policy.Compiled{
		"one":                     compiled(pol()),
		"one with all conditions": compiled(pol(inEnvironment("prod"), inWorkflow(local), needs("runner_environment", "github-*"))),
		"one of three":            compiled(pol(), pol(id("p2"), branch("dev")), pol(id("p3"), forAgent(agentY))),
	} {
		in := run(asking("deploy:staging"), environment("prod"))
		if n := testing.AllocsPerRun(100, func() { policy.Match(candidates, in) }); n > 5 {
			t.Errorf("%s: %g allocations", name, n)
		}
	}
}
