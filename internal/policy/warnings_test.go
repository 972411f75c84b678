package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func created(ago time.Duration) policyOption {
	return func(p *agentidp.TrustPolicy) { p.CreatedAt = now.Add(-ago) }
}

func matched(n int64) policyOption {
	return func(p *agentidp.TrustPolicy) { p.MatchCount = n }
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	own := withAudiences("https://deploy.example.com")
	for _, test := range []struct {
		name    string
		policy  *agentidp.TrustPolicy
		codes   string
		message string // a part of the first
	}{
		{"a branch, an audience and a pin are strong", pol(own), "", ""},
		{"an agent policy without audiences shares one", pol(), "audience_shared", "Set audiences to the service's own URL."},
		{"bootstrap has one audience anyway", pol(bootstrap), "", ""},
		{"no branch is any branch", pol(own, branch("")), "any_branch", "whoever can push a branch to acme/deploy can have one. Set branch or tag."},
		{"bootstrap for any branch", pol(bootstrap, branch("")), "any_branch", "Set branch or tag."},
		{"beside an expression, which may say more, only what is missing is said", pol(own, branch(""), when(`claims.ref == "refs/heads/main"`)), "any_branch", "get tokens that meet the other conditions. Set branch or tag"},
		{"a misspelt event names the one that was meant", pol(own, onEvents("pussh", "push")), "unknown_event", "The event pussh is none that runs of kind github are known to be started by. Is push meant?"},
		{"one that is only not known may be new", pol(own, onEvents("registry_package")), "", ""},
		{"a tag pattern of only a star is any tag", pol(own, tag("*")), "any_tag", "Set a narrower pattern"},
		{"so is one of stars and slashes", pol(own, tag("*/*")), "any_tag", "protect such tags"},
		{"a tag pattern with a prefix is not", pol(own, tag("v*")), "", ""},
		{"an outsider's event says why", pol(own, onEvents("push", "pull_request_target")), "outsider_event",
			"The event pull_request_target is permitted, which is unsafe by default. It runs with the rights of the target branch for anyone's pull request. Remove it"},
		{"a reason for no risk", pol(own, func(p *agentidp.TrustPolicy) { p.AcceptRisk = "None." }), "accept_risk_unneeded", "Remove it, so that it does not excuse an event that is added later."},
		{"a reason for one is not in vain", pol(own, onEvents("pull_request_target"), func(p *agentidp.TrustPolicy) { p.AcceptRisk = "Labels." }), "outsider_event", ""},
		{"pull_request never meets a branch but after a merge", pol(own, onEvents("pull_request", "push")), "event_cannot_match", "The event pull_request is permitted to no effect: such runs are for refs/pull/"},
		{"its reviews neither", pol(own, branch(""), onEvents("pull_request_review")), "any_branch event_cannot_match", ""},
		{"merge_group does not meet a branch", pol(own, onEvents("merge_group")), "event_cannot_match", "refs/heads/gh-readonly-queue/"},
		{"nor any branch", pol(own, branch(""), onEvents("merge_group")), "any_branch event_cannot_match", ""},
		{"it meets a branch of the queue", pol(own, branch("gh-readonly-queue/main/pr-1"), onEvents("merge_group")), "", ""},
		{"release does not meet a branch", pol(own, onEvents("release")), "event_cannot_match", "Set tag instead of branch."},
		{"it meets a tag", pol(own, tag("v*"), onEvents("release")), "", ""},
		{"among the defaults it is nobody's mistake", pol(own, onEvents(github.DefaultEvents...)), "", ""},
		{"management scopes are named", pol(own, withScopes("admin", "deploy:staging", "policies:write")), "management_scope", "admin, policies:write."},
		{"agents that nobody looked at", pol(bootstrap, func(p *agentidp.TrustPolicy) { p.TrustRegisteredAgents = true }), "trusts_registered_agents", "gets a trust policy of its own that nobody looked at"},
		{"an unpinned policy of 29 days may wait", pol(own, unpinned, created(29*day)), "", ""},
		{"one of 30 days is not pinned", pol(own, unpinned, created(30*day), matched(1)), "not_pinned", "no exchange has pinned acme/deploy, or its pin was cleared: it is known by its name alone"},
		{"a pinned one may be old", pol(own, created(300*day), matched(1)), "", ""},
		{"one that nobody has used for 29 days may wait", pol(own, created(30*day-1)), "", ""},
		{"for 30 days not", pol(own, created(30*day)), "never_matched", "30 days old and has granted nothing: the runs that it is for do not come, or do not meet it."},
		{"in shadow mode it would have", pol(own, inShadow, created(30*day)), "never_matched", "would have granted nothing"},
		{"where it would have granted, that counts", pol(own, inShadow, created(30*day), matched(1)), "", ""},
		{"disabled, it is not meant to", pol(own, disabled, created(300*day)), "", ""},
		{"an end in more than 14 days is far", pol(own, expires(14*day+time.Second)), "", ""},
		{"in 14 days it is near", pol(own, expires(14*day)), "expires_soon", "This policy expires at 2026-12-05T12:00:00Z, in 14 days at most"},
		{"in a second, too", pol(own, expires(time.Second)), "expires_soon", "Set a later expiresAt if it is to go on."},
		{"in less, it has come: no token lives that short", pol(own, expires(time.Second-1)), "expired", "and grants nothing. Delete it, or set a later expiresAt."},
		{"what has expired need not be told that nobody uses it", pol(own, expires(-day), created(300*day)), "expired", ""},
		{"what soon will, yes", pol(own, expires(day), created(300*day)), "expires_soon never_matched", ""},
		{"a workload's policy is as strong as its claims", pol(own, workload("build")), "claims_only",
			"whoever the issuer of provider cluster gives a token that says them gets a token here, and nothing is pinned."},
		{"who started a job says little of what runs", pol(own, workload("build"), needs("user_login", "octocat")), "claims_only unsafe_claim", ""},
		{"nor does it in a condition", pol(own, workload("build"), when(`claims.user_login == "octocat"`)), "claims_only unsafe_claim", ""},
		{"and never pinned", pol(own, workload("build"), created(300*day), matched(1)), "claims_only", ""},
		{"conditions on claims are no weakness", pol(own, hosted), "", ""},
		{"all at once", pol(unpinned, branch(""), created(300*day), onEvents("pull_request_target", "merge_group"), withScopes("admin")),
			"any_branch audience_shared outsider_event event_cannot_match management_scope not_pinned never_matched", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := policy.Warnings(test.policy, kindOf(test.policy.Provider), now)
			var codes []string
			for _, w := range got {
				codes = append(codes, w.Code)
				if !strings.HasSuffix(w.Message, ".") || strings.Contains(w.Message, "..") {
					t.Errorf("%s is no sentence: %s", w.Code, w.Message)
				}
			}
			if strings.Join(codes, " ") != test.codes {
				t.Fatalf("%v, want %s", codes, test.codes)
			}
			if got == nil {
				t.Error("nil is not a list in JSON")
			}
			if len(got) > 0 && !strings.Contains(got[0].Message, test.message) {
				t.Errorf("%s\nwant … %s …", got[0].Message, test.message)
			}
		})
	}
}

func TestWarningsOfAnUnknownKind(t *testing.T) {
	t.Parallel()
	if got := policy.Warnings(pol(onEvents("pull_request_target")), nil, now); len(got) != 1 || got[0].Code != "audience_shared" {
		t.Errorf("%v", got)
	}
}
