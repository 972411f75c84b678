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

var sentences = []struct {
	name     string
	policies []*agentidp.TrustPolicy
	run      *policy.Input
	want     string
}{
	// Which policies count at all.
	{"a push to main of the repository gets the agent's token", one(), run(), granted},
	{"without any policy nobody gets anything", nil, run(), violation},
	{"a disabled policy is as if it did not exist", one(disabled), run(), violation},
	{"an expired policy is as if it did not exist", one(expires(-time.Hour)), run(), violation},
	{"a policy that expires now is expired", one(expires(0)), run(), violation},
	{"a policy with less than a second left is expired", one(expires(999 * time.Millisecond)), run(), violation},
	{"a policy with one second left still grants", one(expires(time.Second)), run(), granted},
	{"a disabled policy does not even say that the branch is wrong", one(disabled), run(onBranch("dev")), violation},
	{"an expired policy does not even say that the event is wrong", one(expires(-1)), run(event("fork")), violation},
	{"a policy of another tenant is as if it did not exist", one(otherTenant), run(), violation},
	{"a policy for another provider does not count", one(fromGitLab), run(), violation},
	{"a token of another provider with the same claims is refused", one(), run(viaGitLab), violation},

	// Repository names.
	{"A-103: GitHub compares names without regard to case", one(), run(repository("Acme/Deploy")), granted},
	{"A-103: so does an unpinned policy", one(unpinned), run(repository("ACME/DEPLOY")), granted},
	{"A-103: the policy may be the one with capitals", one(of("Acme/Deploy"), unpinned), run(), granted},
	{"A-104: a longer name is another repository", one(unpinned), run(repository("acme/deploy-x"), ids("99", "65")), violation},
	{"A-104: a longer owner is another repository", one(unpinned), run(repository("xacme/deploy"), ids("99", "99")), violation},
	{"A-104: a name with .git is another repository", one(unpinned), run(repository("acme/deploy.git"), ids("99", "65")), violation},
	{"A-104: two slashes are another repository", one(unpinned), run(repository("acme//deploy"), ids("99", "65")), violation},
	{"A-104: a slash at the end is another repository", one(unpinned), run(repository("acme/deploy/"), ids("99", "65")), violation},
	{"A-104: a space in front is another repository", one(unpinned), run(repository(" acme/deploy"), ids("99", "65")), violation},
	{"A-104: a shorter name is another repository", one(unpinned), run(repository("acme/deplo"), ids("99", "65")), violation},
	{"A-105: a Cyrillic letter is another letter", one(of("org/repo"), unpinned), run(repository("\u043erg/repo"), ids("99", "65")), violation},
	{"A-105: the KELVIN SIGN is not k", one(of("acme/kit"), unpinned), run(repository("acme/\u212Ait"), ids("99", "65")), violation},
	{"A-105: the long s is not s", one(of("acme/site"), unpinned), run(repository("acme/\u017Fite"), ids("99", "65")), violation},
	{"A-134: a foreign repository is refused whatever workflow it calls", one(), run(repository("evil/repo"), ids("99", "98")), violation},
	{"A-137: a star in the token is only a star", one(unpinned), run(repository("acme/*"), ids("99", "65")), violation},
	{"an absent repository is none", one(unpinned), run(repository(""), ids("99", "65")), violation},
	{"an absent repository does not match a policy without one", one(of(""), unpinned), run(repository("")), violation},

	// Repository identity.
	{"an unpinned policy trusts the first identity that it sees", one(unpinned), run(ids("99", "98")), granted},
	{"A-110: the same name with another repository id is a stranger", one(), run(ids("99", "65")), identity},
	{"A-111: the same name with another owner id is a stranger", one(), run(ids("74", "66")), identity},
	{"A-111: the same name with both ids changed is a stranger", one(), run(ids("99", "66")), identity},
	{"A-112: a renamed repository keeps its rights", one(of("acme/old")), run(repository("acme/deploy")), granted},
	{"A-112: a rename does not widen the branch", one(of("acme/old")), run(onBranch("dev")), badRef},
	{"A-113: a transferred repository is to be accepted anew", one(), run(repository("evil/deploy"), ids("74", "66")), identity},
	{"A-113: a transfer under the same name as well", one(), run(ids("74", "66")), identity},
	{"A-113: another repository of the same owner has no rights", one(), run(repository("acme/other"), ids("75", "65")), violation},
	{"A-114: a token without ids does not pass a pinned policy", one(), run(ids("", "")), identity},
	{"A-114: nor one that lacks the owner's id", one(), run(ids("74", "")), identity},
	{"A-114: nor one that lacks the repository's id", one(), run(ids("", "65")), identity},
	{"A-114: nor does it pass an unpinned one", one(unpinned), run(ids("", "")), identity},
	{"A-114: empty ids do not equal an empty pin", one(pinnedTo("", "")), run(ids("", "")), identity},
	{"A-114: an empty pin does not make a foreign name known", one(pinnedTo("", "")), run(repository("evil/repo"), ids("", "")), violation},
	{"an explicit repository id that fits is passed", one(unpinned, needsIDs("74", "")), run(), granted},
	{"an explicit repository id is a condition before any pin", one(unpinned, needsIDs("75", "")), run(), identity},
	{"an explicit owner id is a condition before any pin", one(unpinned, needsIDs("", "66")), run(), identity},
	{"an explicit id is a condition beside the pin", one(needsIDs("75", "65")), run(), identity},
	{"ids are compared as text: 074 is not 74", one(), run(ids("074", "65")), identity},
	{"a prefix of an id is another id", one(), run(ids("7", "65")), identity},
	{"the identity of a stranger's agent policy stays unsaid", one(forAgent(agentY)), run(ids("99", "98")), violation},

	// Agents and modes.
	{"A-147: a bootstrap policy grants no agent", one(bootstrap), run(), violation},
	{"A-147: a bootstrap policy does not say that the branch is wrong for an agent", one(bootstrap), run(onBranch("dev")), violation},
	{"A-148: an agent policy grants no bootstrap", one(), run(noAgent), violation},
	{"A-148: an agent policy does not say that the event is wrong for bootstrap", one(), run(noAgent, event("fork")), violation},
	{"a bootstrap policy grants bootstrap", one(bootstrap), run(noAgent), granted},
	{"A-149: a policy for one agent does not grant another", one(), run(agentNamed(agentY)), violation},
	{"A-149: an agent's id has one spelling: not in capitals", one(), run(agentNamed(strings.ToUpper(agentX))), violation},
	{"A-149: an agent's id has one spelling: not in braces", one(), run(agentNamed("{" + agentX + "}")), violation},
	{"A-149: an agent's id has one spelling: not as a URN", one(), run(agentNamed("urn:uuid:" + agentX)), violation},
	{"A-149: an agent of another tenant is not active here", one(), run(agentOfOtherTenant), inactive},
	{"an agent that came with the exchange by mistake is not the one asked for", one(), run(agentMixedUp), inactive},
	{"A-153: a suspended agent gets no token", one(), run(status(agentidp.AgentSuspended)), inactive},
	{"A-153: a decommissioned agent gets no token", one(), run(status(agentidp.AgentDecommissioned)), inactive},
	{"an agent without a status gets no token", one(), run(status("")), inactive},
	{"an agent that is gone gets no token", one(), run(agentUnknown), inactive},
	{"an inactive agent is told before a wrong event", one(), run(agentUnknown, event("fork")), inactive},
	{"a stranger does not learn that the agent is suspended", one(), run(ids("99", "98"), status(agentidp.AgentSuspended)), identity},

	// Branches.
	{"another branch is refused", one(), run(onBranch("dev")), badRef},
	{"A-116: a tag called main is not the branch main", one(), run(onTag("main")), badRef},
	{"A-116: nor is a tag ref of type branch", one(), run(ref("refs/tags/main", "branch")), badRef},
	{"A-116: nor is a branch ref of type tag", one(), run(ref("refs/heads/main", "tag")), badRef},
	{"an absent type of ref is no branch", one(), run(ref("refs/heads/main", "")), badRef},
	{"an absent ref is no branch", one(), run(ref("", "branch")), badRef},
	{"a short ref is no branch", one(), run(ref("main", "branch")), badRef},
	{"A-117: a branch called refs/heads/main is not main", one(), run(onBranch("refs/heads/main")), badRef},
	{"A-118: a policy that stores refs/heads/main does not grant main", one(branch("refs/heads/main")), run(), badRef},
	{"A-119: case counts in branches", one(), run(onBranch("Main")), badRef},
	{"A-119: a no-break space counts", one(), run(onBranch("main\u00a0")), badRef},
	{"A-119: a percent sign is not decoded", one(branch("release/1")), run(onBranch("release%2F1")), badRef},
	{"A-119: a star in the token's branch is only a star", one(), run(onBranch("*")), badRef},
	{"A-119: a star in a stored branch is only a star", one(branch("*")), run(), badRef},
	{"A-119: dots are not resolved", one(), run(onBranch("dev/../main")), badRef},
	{"A-119: a branch with slashes is compared whole", one(branch("release/1.0")), run(onBranch("release/1.0")), granted},
	{"A-119: a prefix with slash is another branch", one(branch("release")), run(onBranch("release/1.0")), badRef},
	{"A-119: an emoji is compared byte for byte", one(branch("\U0001f680")), run(onBranch("\U0001f680")), granted},
	{"A-119: two spellings of é are two branches", one(branch("caf\u00e9")), run(onBranch("cafe\u0301")), badRef},
	{"A-119: a very long branch is another branch", one(), run(onBranch("main" + strings.Repeat("x", 4096))), badRef},
	{"A-126: a dispatch on another branch is refused", one(), run(event("workflow_dispatch"), onBranch("evil")), badRef},
	{"A-126: a dispatch on main is permitted", one(), run(event("workflow_dispatch")), granted},
	{"without a branch any branch passes", one(branch("")), run(onBranch("feature/x")), granted},
	{"without a branch a branch called refs/heads/main passes as the branch that it is", one(branch("")), run(onBranch("refs/heads/main")), granted},
	{"without a branch a tag does not pass", one(branch("")), run(onTag("v1")), badRef},
	{"without a branch an empty branch does not pass", one(branch("")), run(onBranch("")), badRef},
	{"without a branch a branch ref of type tag does not pass", one(branch("")), run(ref("refs/heads/main", "tag")), badRef},
	{"without a branch a note or another namespace does not pass", one(branch("")), run(ref("refs/notes/commits", "branch")), badRef},
	{"a branch and a tag together grant nothing to a branch", one(branchAndTag), run(), badRef},
	{"a branch and a tag together grant nothing to a tag", one(branchAndTag), run(onTag("main")), badRef},

	// Tags.
	{"a tag that fits the pattern passes", one(tag("v*")), run(onTag("v1.2.3")), granted},
	{"a tag that does not fit is refused", one(tag("v*")), run(onTag("nightly")), badRef},
	{"a tag pattern is anchored in front", one(tag("v*")), run(onTag("dev1")), badRef},
	{"a tag pattern is anchored behind", one(tag("*-rc")), run(onTag("v1-rc2")), badRef},
	{"a star in a tag pattern does not cross a slash", one(tag("v*")), run(onTag("v1/evil")), badRef},
	{"a tag pattern may have segments", one(tag("release/*")), run(onTag("release/1.0")), granted},
	{"an exact tag is a pattern without a star", one(tag("v1")), run(onTag("v1")), granted},
	{"a branch called like the tag does not pass", one(tag("v*")), run(onBranch("v1")), badRef},
	{"a branch of type tag does not pass", one(tag("v*")), run(ref("refs/heads/v1", "tag")), badRef},
	{"any tag is not the empty tag", one(tag("*")), run(onTag("")), badRef},
	{"A-137: a star in the token's tag matches nothing but a star", one(tag("v1")), run(onTag("*")), badRef},

	// Pull requests and merge queues.
	{"A-120: a pull request does not pass a branch", one(onEvents("pull_request")), run(event("pull_request"), ref("refs/pull/7/merge", "branch")), badRef},
	{"A-120: nor a policy without a branch", one(branch(""), onEvents("pull_request")), run(event("pull_request"), ref("refs/pull/7/merge", "branch")), badRef},
	{"A-120: by default its event alone is refused", one(branch("")), run(event("pull_request"), ref("refs/pull/7/merge", "branch")), badEvent},
	{"A-121: the head of a pull request is no branch", one(branch("")), run(ref("refs/pull/7/head", "branch")), badRef},
	{"A-121: refs/merge-queue is no branch", one(branch("")), run(ref("refs/merge-queue/main", "branch")), badRef},
	{"A-121: a merge queue's branch is not any branch", one(branch("")), run(onBranch("gh-readonly-queue/main/pr-1-abc")), badRef},
	{"A-121: not even where the event is named", one(branch(""), onEvents("merge_group")), run(event("merge_group"), onBranch("gh-readonly-queue/main/pr-1-abc")), badRef},
	{"A-121: by default a merge queue's event is refused", one(branch("")), run(event("merge_group"), onBranch("gh-readonly-queue/main/pr-1-abc")), badEvent},
	{"A-128: a pull request from a branch called main is still one", one(onEvents("pull_request")), run(event("pull_request"), ref("refs/pull/8/merge", "branch")), badRef},
	{"a pull request closed by its merge is a run of the branch", one(onEvents("pull_request")), run(event("pull_request")), granted},

	// Events.
	{"A-122: pull_request_target on main is refused", one(), run(event("pull_request_target")), badEvent},
	{"A-122: unless it is named", one(onEvents("pull_request_target")), run(event("pull_request_target")), granted},
	{"A-123: workflow_run on main is refused", one(), run(event("workflow_run")), badEvent},
	{"issue_comment on main is refused", one(), run(event("issue_comment")), badEvent},
	{"A-125: an event of the future is refused", one(), run(event("telepathy")), badEvent},
	{"A-125: case counts in events", one(), run(event("Push")), badEvent},
	{"A-127: an absent event is refused", one(), run(event("")), badEvent},
	{"A-127: even where a policy lists the empty event", one(onEvents("", "push")), run(event("")), badEvent},
	{"events that are named replace the default", one(onEvents("schedule")), run(event("push")), badEvent},
	{"a schedule on main is permitted", one(), run(event("schedule")), granted},
	{"a wrong event is told before a wrong branch", one(), run(event("fork"), onBranch("dev")), badEvent},

	// Conditions on further claims.
	{"A-138: a runner of GitHub passes where one is demanded", one(hosted), run(), granted},
	{"A-138: a runner of one's own does not", one(hosted), run(saying("runner_environment", "self-hosted")), badClaim},
	{"A-138: nor does a run that does not say", one(hosted), run(saying("runner_environment", "")), badClaim},
	{"A-138: nor one that says it in capitals", one(hosted), run(saying("runner_environment", "GitHub-hosted")), badClaim},
	{"A-138: nor one that says more", one(hosted), run(saying("runner_environment", "github-hosted ")), badClaim},
	{"A-059: a claim of another case is another claim", one(hosted), run(saying("runner_environment", ""), saying("Runner_Environment", "github-hosted")), badClaim},
	{"A-059: so is one that only Unicode takes for the same", one(needs("repository_visibility", "private")), run(saying("repository_visibility", ""), saying("repo\u017fitory_visibility", "private")), badClaim},
	{"A-139: a protected ref passes where one is demanded", one(needs("ref_protected", "true")), run(), granted},
	{"A-139: one that is not protected does not", one(needs("ref_protected", "true")), run(saying("ref_protected", "false")), badClaim},
	{"A-139: nor one that is True", one(needs("ref_protected", "true")), run(saying("ref_protected", "True")), badClaim},
	{"A-139: a repository that was made public does not pass for a private one", one(needs("repository_visibility", "private")), run(saying("repository_visibility", "public")), badClaim},
	{"A-139: nor for an internal one", one(needs("repository_visibility", "internal", "private")), run(saying("repository_visibility", "public")), badClaim},
	{"A-139: any of the values that are named passes", one(needs("repository_visibility", "internal", "private")), run(), granted},
	{"A-130: an environment that is demanded must be there", one(needs("environment", "prod")), run(), badClaim},
	{"A-131: an environment is compared exactly", one(needs("environment", "prod")), run(saying("environment", "prod")), granted},
	{"A-131: in case", one(needs("environment", "prod")), run(saying("environment", "Prod")), badClaim},
	{"A-131: without what stands behind a colon", one(needs("environment", "prod")), run(saying("environment", "prod:ref:refs/heads/main")), badClaim},
	{"A-131: and a star in it is a star", one(needs("environment", "prod")), run(saying("environment", "*")), badClaim},
	{"all conditions must hold", one(hosted, needs("ref_protected", "true")), run(saying("ref_protected", "false")), badClaim},
	{"a condition without values is met by nothing", one(needs("runner_environment")), run(), badClaim},
	{"a condition on the empty text is not met by an absent claim", one(needs("environment", "")), run(), badClaim},
	{"A-171: conditions on claims of two policies never mix",
		several(pol(hosted, needs("repository_visibility", "public")), pol(id("p2"), needs("runner_environment", "self-hosted"))), run(), badClaim},
	{"A-134: a claim makes no foreign repository known", one(hosted), run(repository("evil/repo"), ids("99", "98")), violation},
	{"a wrong branch is told before a wrong claim", one(hosted), run(onBranch("dev"), saying("runner_environment", "")), badRef},
	{"a wrong claim is told before a wrong scope", one(needs("runner_environment", "x")), run(asking("x:y")), badClaim},

	// Workloads: callers that have no repository.
	{"a workload gets the token of the policy that names its subject", one(workload("build")), run(asWorkload("build")), granted},
	{"another subject is a stranger", one(workload("build")), run(asWorkload("built")), violation},
	{"a subject in another case is a stranger", one(workload("build")), run(asWorkload("Build")), violation},
	{"a prefix of the subject is a stranger", one(workload("build")), run(asWorkload("buil")), violation},
	{"a workload without a subject is a stranger", one(workload("build")), run(asWorkload("build"), saying("sub", "")), violation},
	{"any of several subjects passes", one(workload("build", "deploy")), run(asWorkload("deploy")), granted},
	{"a policy without a subject is nobody's", one(workload("build"), func(p *agentidp.TrustPolicy) { p.Claims = nil }), run(asWorkload("build")), violation},
	{"nor is one with another claim alone", one(workload("build"), func(p *agentidp.TrustPolicy) {
		p.Claims = agentidp.ClaimConditions{"namespace": {"build"}}
	}), run(asWorkload("build")), violation},
	{"a further claim must be as the policy says", one(workload("build"), needs("namespace", "build")), run(asWorkload("build")), granted},
	{"if it is not, the owner of the subject is told", one(workload("build"), needs("namespace", "other")), run(asWorkload("build")), badClaim},
	{"and nobody else is", one(workload("build"), needs("namespace", "other")), run(asWorkload("x")), violation},
	{"a workload registers agents by a bootstrap policy", one(workload("build"), bootstrap), run(asWorkload("build"), noAgent), granted},
	{"A-147: which grants it no agent", one(workload("build"), bootstrap), run(asWorkload("build")), violation},
	{"A-148: an agent policy of a workload grants no bootstrap", one(workload("build")), run(asWorkload("build"), noAgent), violation},
	{"a workload of another provider is a stranger", one(workload("build")), run(asWorkload("build"), viaGitLab), violation},
	{"a run with a repository never meets a policy without one", one(workload("repo:acme/deploy:ref:refs/heads/main"), fromGitHub), run(), violation},
	{"not even if its subject were known to identify", one(workload("repo:acme/deploy:ref:refs/heads/main"), fromGitHub), run(bySubject), violation},
	{"a workload never meets a policy with a repository", one(fromCluster), run(asWorkload("build")), violation},
	{"whatever its claims are called", one(fromCluster, pinnedTo("", "")), run(asWorkload("build")), violation},
	{"a workload that nothing is known of is a stranger", one(workload("build")), run(asWorkload("build"), ofNoKind), violation},
	{"a branch that somehow got into such a policy is still a condition", one(workload("build"), branch("main")), run(asWorkload("build")), badRef},
	{"so is an event", one(workload("build"), onEvents("push")), run(asWorkload("build")), badEvent},
	{"and an id", one(workload("build"), needsIDs("74", "")), run(asWorkload("build")), identity},

	// Scopes and audiences.
	{"a scope of the agent may be asked for", one(), run(asking("deploy:staging")), granted},
	{"A-150: a scope that the agent lacks may not", one(), run(asking("deploy:staging", "delete:all")), badScope},
	{"A-150: nor one that the policy leaves out", one(withScopes("deploy:staging")), run(asking("deploy:production")), badScope},
	{"A-150: nor one of the policy that the agent lacks", one(withScopes("delete:all")), run(asking("delete:all")), badScope},
	{"A-150: agents:write is no agent's by itself", one(), run(asking("agents:write")), badScope},
	{"a star is not every scope", one(), run(asking("*")), badScope},
	{"admin is not every scope", one(), run(capabilities("admin"), asking("deploy:staging")), badScope},
	{"A-150: bootstrap carries agents:write alone", one(bootstrap), run(noAgent, asking("agents:write", "agents:read")), badScope},
	{"bootstrap may ask for agents:write", one(bootstrap), run(noAgent, asking("agents:write")), granted},
	{"the issuer may be asked for as audience", one(), run(audience("https://idp.example.com")), granted},
	{"another audience may not", one(), run(audience("https://evil.example")), badTarget},
	{"A-076: a prefix of the audience may not", one(), run(audience("https://idp.example")), badTarget},
	{"A-076: nor the audience with a slash", one(), run(audience("https://idp.example.com/")), badTarget},
	{"an agent does not get the management API by asking", one(), run(audience("https://idp.example.com/api/v1")), badTarget},
	{"audiences that are named replace the issuer", one(withAudiences("https://a.example")), run(audience("https://idp.example.com")), badTarget},
	{"any of the named audiences may be asked for", one(withAudiences("https://a.example", "https://b.example")), run(audience("https://b.example")), granted},
	{"bootstrap may ask for the management API", one(bootstrap), run(noAgent, audience("https://idp.example.com/api/v1")), granted},
	{"bootstrap may ask for nothing else", one(bootstrap), run(noAgent, audience("https://idp.example.com")), badTarget},
	{"a wrong scope is told before a wrong audience", one(), run(asking("x:y"), audience("https://evil.example")), badScope},
	{"a wrong branch is told before a wrong scope", one(), run(onBranch("dev"), asking("x:y")), badRef},

	// Several policies.
	{"either of two branches passes", several(pol(branch("dev")), pol(id("p2"))), run(), granted},
	{"A-171: conditions of two policies never mix",
		several(pol(), pol(id("p2"), bootstrap, branch(""))), run(onBranch("dev")), badRef},
	{"A-171: nor do the event of one and the branch of another",
		several(pol(onEvents("schedule")), pol(id("p2"), branch("dev"))), run(), badRef},
	{"A-171: nor do the pin of one and the branch of another",
		several(pol(branch("dev")), pol(id("p2"), needsIDs("75", ""))), run(), badRef},
	{"A-171: nor do the scope of one and the audience of another",
		several(pol(withScopes("deploy:staging"), withAudiences("https://a.example")), pol(id("p2"), withScopes("deploy:production"), withAudiences("https://b.example"))),
		run(asking("deploy:staging"), audience("https://b.example")), badTarget},
	{"the policy that got furthest answers: event before identity", several(pol(needsIDs("75", "")), pol(id("p2"), onEvents("schedule"))), run(), badEvent},
	{"the policy that got furthest answers: branch before event", several(pol(onEvents("schedule")), pol(id("p2"), branch("dev"))), run(), badRef},
	{"the policy that got furthest answers: audience before branch", several(pol(branch("dev")), pol(id("p2"))), run(audience("https://evil.example")), badTarget},
	{"the policy that got furthest answers: identity before none", several(pol(disabled), pol(id("p2"), needsIDs("75", ""))), run(), identity},
	{"a policy of another tenant never answers", several(pol(otherTenant, branch("dev")), pol(id("p2"), disabled)), run(), violation},
	{"A-112: the old name taken by another repository does not stop the renamed one",
		several(pol(of("acme/old")), pol(id("p2"), pinnedTo("80", "65"))), run(), granted},
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

func TestSentences(t *testing.T) {
	t.Parallel()
	for _, s := range sentences {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			candidates := compiled(s.policies...)
			for _, c := range [][]*policy.Compiled{candidates, reversed(candidates)} {
				out := policy.Match(c, s.run)
				if got := code(out); got != s.want {
					t.Fatalf("answer %q, want %q; checks: %+v", got, s.want, out.Checks)
				}
				wellFormed(t, &out)
			}
		})
	}
}

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
