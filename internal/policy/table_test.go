package policy_test

import (
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// A sentence is about one run and the policies that it is held against: that it is
// allowed, or which check stops the policy that gets furthest. The tables of sentences are
// in files of their own, by what they are about.
type sentence struct {
	says     string
	policies []*agentidp.TrustPolicy
	run      *policy.Input
	why      string // the check that fails; allowed where none does
}

const allowed = ""

var tables = map[string][]sentence{
	"repositories": ofRepositories, "agents": ofAgents, "refs and events": ofRefsAndEvents,
	"environments": ofEnvironments, "workflows": ofWorkflows, "claims": ofClaims, "patterns": ofPatterns, "workloads": ofWorkloads,
}

// codes are what the caller is answered, by the check that fails.
var codes = map[string]string{
	allowed: granted, "no policy": violation, "mode": violation, "expires_at": violation, "provider": violation, "agent": violation,
	"repository": violation, "identity": violation, "pinned_repository_id": identity, "pinned_repository_owner_id": identity,
	"repository_id": identity, "repository_owner_id": identity, "agent_status": inactive, "event": badEvent, "ref_type": badRef, "ref": badRef,
	"environment": badClaim, "workflow": badClaim, "claims": badClaim, "condition": badClaim, "scope": badScope, "audience": badTarget,
}

func TestSentences(t *testing.T) {
	t.Parallel()
	said, reached := map[string]bool{}, map[string]bool{}
	for about, table := range tables {
		for _, s := range table {
			name := about + "/" + s.says
			if reached[s.why] = true; said[name] {
				t.Errorf("said twice: %s", name)
			}
			said[name] = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				candidates := compiled(s.policies...)
				for _, c := range [][]*policy.Compiled{candidates, reversed(candidates)} {
					out := policy.Match(c, s.run)
					if got := stoppedBy(out); got != s.why || code(out) != codes[s.why] {
						t.Fatalf("stopped by %q with %q, want %q with %q; checks:\n%s", got, code(out), s.why, codes[s.why], spell(out.Checks))
					}
					wellFormed(t, &out)
				}
			})
		}
	}
	for check := range codes {
		if !reached[check] {
			t.Errorf("no sentence is about the check %q", check)
		}
	}
	if len(said) < 150 {
		t.Errorf("%d sentences", len(said))
	}
}

// stoppedBy is the first check that failed of the policy that got furthest.
func stoppedBy(out policy.Outcome) string {
	switch {
	case out.Granted:
		return allowed
	case out.Policy == nil:
		return "no policy"
	}
	for _, c := range out.Checks {
		if c.PolicyID == out.Policy.ID && !c.OK {
			return c.Check
		}
	}
	return "nothing that is shown"
}

var hosted = needs("runner_environment", "github-hosted")

func fromGitHub(p *agentidp.TrustPolicy)  { p.Provider = "github" }
func fromCluster(p *agentidp.TrustPolicy) { p.Provider = "cluster" }
func ofNoKind(in *policy.Input)           { in.Claims.Kind = nil }

// bySubject makes sub identify, beside a repository.
func bySubject(in *policy.Input) {
	kind := *github
	kind.IdentityClaims = []string{"sub"}
	in.Claims.Kind = &kind
}

func one(options ...policyOption) []*agentidp.TrustPolicy {
	return []*agentidp.TrustPolicy{pol(options...)}
}

func several(policies ...*agentidp.TrustPolicy) []*agentidp.TrustPolicy { return policies }
