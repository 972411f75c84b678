package policy_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

const (
	granted   = ""
	violation = agentidp.CodeTrustPolicyViolation
	identity  = agentidp.CodeRepositoryIdentityChanged
	inactive  = agentidp.CodeAgentNotActive
	badEvent  = agentidp.CodeEventNotPermitted
	badRef    = agentidp.CodeBranchNotPermitted
	badClaim  = agentidp.CodeConditionNotMet
	badScope  = agentidp.CodeInvalidScope
	badTarget = agentidp.CodeInvalidTarget
)

// wellFormed asserts what holds for every outcome.
func wellFormed(t interface{ Errorf(string, ...any) }, out *policy.Outcome) {
	switch {
	case out.Granted && (out.Policy == nil || out.Err != nil || out.Audience == "" || out.TTL < time.Second):
		t.Errorf("a grant is incomplete: %+v", out)
	case out.Granted && slices.ContainsFunc(out.Checks, func(c agentidp.Check) bool { return c.PolicyID == out.Policy.ID && !c.OK }):
		t.Errorf("a grant rests on a failed check: %+v", out.Checks)
	case !out.Granted && (out.Err == nil || out.Err.Message == "" || len(out.Scopes) > 0 || out.Audience != "" || out.TTL != 0):
		t.Errorf("a refusal is not one: %+v", out)
	case !out.Granted && (out.Policy == nil) != (len(out.Checks) == 0):
		t.Errorf("a refusal has a policy without checks or the reverse: %+v", out)
	case out.Checks == nil:
		t.Errorf("checks are nil, and so not a list in JSON")
	}
	if out.Err != nil {
		want := agentidp.Denied
		if out.Err.Code == badScope || out.Err.Code == badTarget {
			want = agentidp.Invalid
		}
		if out.Err.Kind != want {
			t.Errorf("%s is of kind %d, want %d", out.Err.Code, out.Err.Kind, want)
		}
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	const issuer, management = "https://idp.example.com", "https://idp.example.com/api/v1"
	for _, test := range []struct {
		name     string
		policies []*agentidp.TrustPolicy
		run      *policy.Input
		policy   string
		scopes   string
		audience string
		ttl      time.Duration
	}{
		{"asking for nothing gets all capabilities, sorted, for the issuer", one(), run(),
			"p1", "deploy:production deploy:staging", issuer, 15 * time.Minute},
		{"the policy's scopes bound the agent's", one(withScopes("deploy:staging", "delete:all")), run(),
			"p1", "deploy:staging", issuer, 15 * time.Minute},
		{"where nothing is left the token carries no scope", one(withScopes("delete:all")), run(),
			"p1", "", issuer, 15 * time.Minute},
		{"an agent without capabilities gets a token without scope", one(), run(capabilities()),
			"p1", "", issuer, 15 * time.Minute},
		{"a capability listed twice is one scope", one(), run(capabilities("b:b", "a:a", "b:b")),
			"p1", "a:a b:b", issuer, 15 * time.Minute},
		{"what was asked for is what is given", one(), run(asking("deploy:staging")),
			"p1", "deploy:staging", issuer, 15 * time.Minute},
		{"the first of the policy's audiences is the default", one(withAudiences("https://z.example", "https://a.example")), run(),
			"p1", "deploy:production deploy:staging", "https://z.example", 15 * time.Minute},
		{"bootstrap is agents:write for the management API", one(bootstrap), run(noAgent),
			"p1", "agents:write", management, 10 * time.Minute},
		{"the policy may set the life", one(ttl(120)), run(),
			"p1", "deploy:production deploy:staging", issuer, 2 * time.Minute},
		{"that of a bootstrap token as well", one(bootstrap, ttl(60)), run(noAgent),
			"p1", "agents:write", management, time.Minute},
		{"a token does not outlive its policy", one(expires(90*time.Second + 700*time.Millisecond)), run(),
			"p1", "deploy:production deploy:staging", issuer, 90 * time.Second},
		{"a policy that lives longer does not lengthen a token", one(expires(24 * time.Hour)), run(),
			"p1", "deploy:production deploy:staging", issuer, 15 * time.Minute},
		{"of two that grant, the lower id does",
			several(pol(id("p2"), withScopes("deploy:staging")), pol(id("p1"), withScopes("deploy:production"))), run(),
			"p1", "deploy:production", issuer, 15 * time.Minute},
		{"a lower id that does not grant is passed over",
			several(pol(id("p1"), branch("dev")), pol(id("p2"))), run(),
			"p2", "deploy:production deploy:staging", issuer, 15 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := policy.Match(compiled(test.policies...), test.run)
			wellFormed(t, &out)
			if !out.Granted {
				t.Fatalf("refused: %v", out.Err)
			}
			if out.Policy.ID != test.policy || strings.Join(out.Scopes, " ") != test.scopes || out.Audience != test.audience || out.TTL != test.ttl {
				t.Errorf("policy %s, scopes %q, audience %s, ttl %s; want %s, %q, %s, %s",
					out.Policy.ID, out.Scopes, out.Audience, out.TTL, test.policy, test.scopes, test.audience, test.ttl)
			}
		})
	}
}

func TestAGrantSharesNoMemoryWithTheAgent(t *testing.T) {
	t.Parallel()
	in := run()
	out := policy.Match(compiled(pol()), in)
	out.Scopes[0] = "admin"
	if slices.Contains(in.Agent.Capabilities, "admin") {
		t.Error("changing the granted scopes changed the agent")
	}
}

func TestChecksShowEveryComparison(t *testing.T) {
	t.Parallel()
	out := policy.Match(compiled(pol(needsIDs("74", ""))), run(onBranch("dev"), event("fork")))
	want := `
mode: enforce / enforce
provider: github / github
agent: ` + agentX + ` / ` + agentX + `
repository (repository): acme/deploy / acme/deploy
pinned_repository_id (repository_id): 74 / 74
pinned_repository_owner_id (repository_owner_id): 65 / 65
repository_id (repository_id): 74 / 74
agent_status: active / active
event (event): deployment push release repository_dispatch schedule workflow_dispatch / fork FAILED
ref_type (ref_type): branch / branch
ref (ref): refs/heads/main / refs/heads/dev FAILED
scope: deploy:production deploy:staging
audience: https://idp.example.com
`
	if got := "\n" + spell(out.Checks); got != want {
		t.Errorf("checks:%s\nwant:%s", got, want)
	}

	out = policy.Match(compiled(pol(bootstrap, unpinned, branch(""), expires(time.Hour), id("p9"))), run(noAgent))
	want = `
mode: enforce / enforce
expires_at: before 2026-11-21T13:00:00Z / 2026-11-21T12:00:00Z
provider: github / github
agent: none (bootstrap) / none (bootstrap)
repository (repository): acme/deploy / acme/deploy
pinned_repository_id (repository_id): any (not pinned yet) / 74
pinned_repository_owner_id (repository_owner_id): any (not pinned yet) / 65
event (event): deployment push release repository_dispatch schedule workflow_dispatch / push
ref_type (ref_type): branch / branch
ref (ref): any branch outside a merge queue / refs/heads/main
scope: agents:write
audience: https://idp.example.com/api/v1
`
	if got := "\n" + spell(out.Checks); got != want {
		t.Errorf("checks of a grant:%s\nwant:%s", got, want)
	}
}

// A condition on a claim is a check of its own, by the claim's name; of a policy
// without a repository, those that identify come first.
func TestChecksShowEveryClaim(t *testing.T) {
	t.Parallel()
	out := policy.Match(compiled(pol(hosted, needs("repository_visibility", "private", "internal"))), run(saying("runner_environment", "self-hosted")))
	var got []agentidp.Check
	for _, c := range out.Checks {
		if c.Check == "claims" {
			got = append(got, c)
		}
	}
	if want := "claims (repository_visibility): internal or private / private\nclaims (runner_environment): github-hosted / self-hosted FAILED\n"; spell(got) != want {
		t.Errorf("got:\n%swant:\n%s", spell(got), want)
	}

	out = policy.Match(compiled(pol(workload("build", "deploy"), needs("namespace", "prod"))), run(asWorkload("build")))
	want := `
mode: enforce / enforce
provider: cluster / cluster
agent: ` + agentX + ` / ` + agentX + `
identity (sub): build or deploy / build
agent_status: active / active
claims (namespace): prod / build FAILED
scope: deploy:production deploy:staging
audience: https://idp.example.com
`
	if got := "\n" + spell(out.Checks); got != want {
		t.Errorf("checks:%s\nwant:%s", got, want)
	}

	out = policy.Match(compiled(pol(workload("repo:x"), fromGitHub)), run())
	if got := spell(out.Checks); !strings.Contains(got, "repository (repository): none / acme/deploy FAILED\nidentity: a repository, or a claim that identifies the caller / neither in the policy FAILED\n") {
		t.Errorf("a run with a repository, held against a policy without one:\n%s", got)
	}
}

// spell writes checks one a line: name (claim): expected / got, if anything came.
func spell(checks []agentidp.Check) string {
	var b strings.Builder
	for _, c := range checks {
		b.WriteString(c.Check)
		if c.Claim != "" {
			b.WriteString(" (" + c.Claim + ")")
		}
		b.WriteString(": " + c.Expected)
		if c.Got != "" {
			b.WriteString(" / " + c.Got)
		}
		if !c.OK {
			b.WriteString(" FAILED")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestChecksAreBounded(t *testing.T) {
	t.Parallel()
	var policies []*agentidp.TrustPolicy
	for i := range 1000 {
		policies = append(policies, pol(id("p"+strconv.Itoa(1000+i)), branch("b"+strconv.Itoa(i))))
	}
	policies = append(policies, pol(id("p0000"), disabled), pol(id("near"), branch("dev"), onEvents("push")))
	out := policy.Match(compiled(policies...), run(asking("x:y"), onBranch(strings.Repeat("é", 5000))))
	if out.Err.Code != badRef || out.Policy.ID != "near" {
		t.Fatalf("%s by %s", out.Err.Code, out.Policy.ID)
	}
	seen := map[string]bool{}
	for _, c := range out.Checks {
		seen[c.PolicyID] = true
		if len(c.Got) > 310 || len(c.Expected) > 310 {
			t.Errorf("a check of %d and %d bytes", len(c.Expected), len(c.Got))
		}
	}
	delete(seen, "")
	if len(seen) != 20 || seen["p0000"] {
		t.Errorf("%d policies are traced (the disabled one: %t), want the 20 that got furthest", len(seen), seen["p0000"])
	}
	last := out.Checks[len(out.Checks)-1]
	if last.Check != "more_policies" || last.OK || !strings.HasPrefix(last.Got, "982 more") {
		t.Errorf("the cut is not told: %+v", last)
	}
}

func TestAnotherTenantsPolicyIsNotTraced(t *testing.T) {
	t.Parallel()
	out := policy.Match(compiled(pol(otherTenant)), run())
	if len(out.Checks) != 0 || out.Policy != nil {
		t.Errorf("a policy of another tenant is shown: %+v", out)
	}
}

// what must not be read cannot be read.
func TestClaimsThatOutsidersChooseAreNotThere(t *testing.T) {
	t.Parallel()
	for _, name := range []agentidp.Claim{"sub", "head_ref", "base_ref", "workflow", "repository_owner"} {
		if new(agentidp.Claims).Field(name) != nil {
			t.Errorf("the claim %s is within the reach of policies", name)
		}
	}
}
