package policy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func TestRefusalsInWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		policies []*agentidp.TrustPolicy
		run      *policy.Input
		message  string
		claims   map[string]string
	}{
		{"no policy for an agent", nil, run(),
			"This run is of the repository acme/deploy (repository_id 74, repository_owner_id 65), and no trust policy lets it have a token for the agent that it names. " +
				"Check the agent's id, or ask the administrator of this AgentIdP, giving the decision id, to add a trust policy for this repository and agent.",
			map[string]string{"repository": "acme/deploy", "repository_id": "74", "repository_owner_id": "65"}},
		{"no policy for bootstrap", nil, run(noAgent),
			"This run is of the repository acme/deploy (repository_id 74, repository_owner_id 65), and no trust policy lets it register agents. " +
				"Name an agent's id if a token for an agent was meant, or ask the administrator of this AgentIdP, giving the decision id, to add a trust policy without agentId for this repository.",
			map[string]string{"repository": "acme/deploy", "repository_id": "74", "repository_owner_id": "65"}},
		{"another identity", one(), run(ids("99", "98")),
			"This run is of the repository acme/deploy (repository_id 99, repository_owner_id 98), which is not the identity that is trusted here: " +
				"the repository was created anew or transferred, or its name is now another's. " +
				"If this is the right repository, ask the administrator of this AgentIdP, giving the decision id, to confirm its new identity.",
			map[string]string{"repository": "acme/deploy", "repository_id": "99", "repository_owner_id": "98"}},
		{"no identity", one(), run(ids("", "65")),
			"The token of this run lacks repository_id or repository_owner_id, and without both nobody can tell a repository from another that took its name. " +
				"Use a version of the CI system that sends them.",
			map[string]string{"repository": "acme/deploy", "repository_owner_id": "65"}},
		{"an inactive agent", one(), run(status(agentidp.AgentSuspended)),
			"The agent that this run asks for is not active, so no token is issued for it. " +
				"Use the id of an active agent, or ask the administrator of this AgentIdP, giving the decision id, to reactivate this one.", nil},
		{"an unknown event", one(), run(event("fork")),
			"This run was started by the event fork, which is not permitted for this repository and agent. " +
				"Start the workflow by another event, for example push or workflow_dispatch, or ask the administrator of this AgentIdP, giving the decision id, to permit this event.",
			map[string]string{"event": "fork"}},
		{"A-122: pull_request_target", one(), run(event("pull_request_target")),
			"This run was started by the event pull_request_target, which is not permitted for this repository and agent: " +
				"it runs with the ref and the rights of the default branch, yet anyone who can open a pull request can cause it, so it is refused unless a policy names it. " +
				"Start the workflow by another event, for example push or workflow_dispatch, or ask the administrator of this AgentIdP, giving the decision id, to permit this event.",
			map[string]string{"event": "pull_request_target"}},
		{"A-123: workflow_run", one(bootstrap), run(noAgent, event("workflow_run")),
			"This run was started by the event workflow_run, which is not permitted for registering agents from this repository: " +
				"it runs with the ref and the rights of the default branch, yet the workflow before it may have run a stranger's pull request, so it is refused unless a policy names it. " +
				"Start the workflow by another event, for example push or workflow_dispatch, or ask the administrator of this AgentIdP, giving the decision id, to permit this event.",
			map[string]string{"event": "workflow_run"}},
		{"A-127: no event", one(), run(event("")),
			"The token of this run does not say which event started it, and every trust policy lists the events that it permits. " +
				"Use a version of the CI system that sends the event.", map[string]string{}},
		{"a branch", one(), run(onBranch("feature/x")),
			"This run is for the branch feature/x, which is not permitted for this repository and agent. " +
				"Run the workflow for a permitted branch or tag, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"ref": "refs/heads/feature/x", "ref_type": "branch"}},
		{"A-116: a tag", one(), run(onTag("main")),
			"This run is for the tag main, which is not permitted for this repository and agent. " +
				"Run the workflow for a permitted branch or tag, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"ref": "refs/tags/main", "ref_type": "tag"}},
		{"A-120: a pull request", one(branch(""), onEvents("pull_request")), run(event("pull_request"), ref("refs/pull/7/merge", "branch")),
			"This run is for a pull request (refs/pull/7/merge), and trust policies permit branches and tags only: what a pull request proposes is not yet part of the repository. " +
				"Run the workflow on a push to a permitted branch, for example after the merge.",
			map[string]string{"ref": "refs/pull/7/merge", "ref_type": "branch"}},
		{"A-121: a merge queue", one(branch("")), run(onBranch("gh-readonly-queue/main/pr-1")),
			"This run is for a merge queue (refs/heads/gh-readonly-queue/main/pr-1), whose branches hold what is not merged yet and are not permitted for this repository and agent. " +
				"Run the workflow on a push to the branch, after the merge.",
			map[string]string{"ref": "refs/heads/gh-readonly-queue/main/pr-1", "ref_type": "branch"}},
		{"a ref that contradicts its type", one(), run(ref("refs/heads/main", "")),
			"This run is for the ref refs/heads/main of type absent, which is not permitted for this repository and agent. " +
				"Run the workflow for a permitted branch or tag, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"ref": "refs/heads/main"}},
		{"no ref", one(), run(ref("", "branch")),
			"The token of this run does not say for which ref it is, and every trust policy permits only certain refs. " +
				"Use a version of the CI system that sends the ref.", map[string]string{"ref_type": "branch"}},
		{"A-138: a claim", one(hosted, needs("ref_protected", "true"), needs("repository_visibility", "private")), run(saying("runner_environment", "self-hosted"), saying("ref_protected", "")),
			"The token does not meet a condition for this repository and agent: ref_protected is absent, runner_environment is self-hosted. " +
				"Start the run where and as it is permitted, or ask the administrator of this AgentIdP, giving the decision id, to permit this.",
			map[string]string{"runner_environment": "self-hosted"}},
		{"A-130: no environment", one(inEnvironment("prod")), run(),
			"The job of this run names no deployment environment, and one is needed for this repository and agent. " +
				"Name the environment in the job, as environment, or ask the administrator of this AgentIdP, giving the decision id, to permit jobs without one.",
			map[string]string{}},
		{"A-131: another environment", one(inEnvironment("prod")), run(environment("Prod")),
			"The job of this run names the deployment environment Prod, which is not permitted for this repository and agent. " +
				"Name a permitted environment in the job, in lower and upper case as it is permitted, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"environment": "Prod"}},
		{"A-132: another workflow", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@refs/heads/evil")),
			"The job of this run stands in acme/flows/.github/workflows/d.yml@refs/heads/evil, which is not permitted for this repository and agent. " +
				"Move the job to a permitted workflow, or run it from a permitted ref of that, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"job_workflow_ref": "acme/flows/.github/workflows/d.yml@refs/heads/evil"}},
		{"another workflow that was started", one(bootstrap, inWorkflow(local)), run(noAgent, startedFrom("acme/deploy/.github/workflows/x.yml@refs/heads/main")),
			"The workflow of this run is acme/deploy/.github/workflows/x.yml@refs/heads/main, which is not permitted for registering agents from this repository. " +
				"Move the job to a permitted workflow, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.",
			map[string]string{"workflow_ref": "acme/deploy/.github/workflows/x.yml@refs/heads/main"}},
		{"no workflow", one(inWorkflow(local)), run(startedFrom("")),
			"The token of this run does not say in which workflow the job stands, and that is needed for this repository and agent. " +
				"Use a version of the CI system that sends job_workflow_ref.", map[string]string{}},
		{"very many claims are not all said, and all are repeated", one(bootstrap, needs("a", "x"), needs("b", "x"), needs("c", "x"), needs("d", "x"), needs("e", "x"), needs("f", "x"), needs("g", "x")),
			run(noAgent, saying("a", "1"), saying("g", "7 7")),
			"The token does not meet a condition for registering agents from this repository: a is 1, b is absent, c is absent, d is absent, e is absent and 2 more. " +
				"Start the run where and as it is permitted, or ask the administrator of this AgentIdP, giving the decision id, to permit this.",
			map[string]string{"a": "1", "g": "7 7"}},
		{"no policy for a workload", nil, run(asWorkload("system:serviceaccount:build:deployer")),
			"This token is of the workload with sub system:serviceaccount:build:deployer, and no trust policy lets it have a token for the agent that it names. " +
				"Check the agent's id, or ask the administrator of this AgentIdP, giving the decision id, to add a trust policy for this workload and agent.",
			map[string]string{"sub": "system:serviceaccount:build:deployer"}},
		{"no bootstrap policy for a workload", one(workload("build")), run(noAgent, asWorkload("build")),
			"This token is of the workload with sub build, and no trust policy lets it register agents. " +
				"Name an agent's id if a token for an agent was meant, or ask the administrator of this AgentIdP, giving the decision id, to add a trust policy without agentId for this workload.",
			map[string]string{"sub": "build"}},
		{"a workload without a subject", one(workload("build")), run(asWorkload("build"), saying("sub", "")),
			"This token is of the workload with sub absent, and no trust policy lets it have a token for the agent that it names. " +
				"Check the agent's id, or ask the administrator of this AgentIdP, giving the decision id, to add a trust policy for this workload and agent.",
			map[string]string{}},
		{"another claim of a workload", one(workload("build"), needs("namespace", "prod")), run(asWorkload("build")),
			"The token does not meet a condition for this workload and agent: namespace is build. " +
				"Start the run where and as it is permitted, or ask the administrator of this AgentIdP, giving the decision id, to permit this.",
			map[string]string{"namespace": "build"}},
		{"too much scope names only the excess", one(withScopes("deploy:staging")), run(asking("deploy:staging", "deploy:production", "x:y")),
			"This run asks for scopes that it may not have: deploy:production, x:y. " +
				"Leave out scope to get all that it may have, or ask the administrator of this AgentIdP, giving the decision id, to permit more.", nil},
		{"too much scope for bootstrap", one(bootstrap), run(noAgent, asking("agents:write", "admin")),
			"A bootstrap token carries the scope agents:write alone, and this run asks for more: admin. " +
				"Leave out scope, or name the id of an agent that has it.", nil},
		{"very much scope is not all repeated", one(), run(asking(strings.Fields("a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9 a:10 a:11 a:12")...)),
			"This run asks for scopes that it may not have: a:1, a:2, a:3, a:4, a:5, a:6, a:7, a:8, a:9, a:10 and 2 more. " +
				"Leave out scope to get all that it may have, or ask the administrator of this AgentIdP, giving the decision id, to permit more.", nil},
		{"another audience", one(), run(audience("https://evil.example")),
			"This run asks for a token for the audience https://evil.example, which it may not have. " +
				"Leave out audience to get the default one, or ask the administrator of this AgentIdP, giving the decision id, to permit this one.", nil},
		{"another audience for bootstrap", one(bootstrap), run(noAgent, audience("https://evil.example")),
			"A bootstrap token is for the management API of this AgentIdP alone, and this run asks for the audience https://evil.example. Leave out audience.", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := policy.Match(compiled(test.policies...), test.run).Err
			if err.Message != test.message {
				t.Errorf("message:\n%s\nwant:\n%s", err.Message, test.message)
			}
			if !maps.Equal(err.Claims, test.claims) {
				t.Errorf("claims %v, want %v", err.Claims, test.claims)
			}
		})
	}
}

// one body for everything outside the caller's own repository and agent.
func TestNoPolicyHasOneBody(t *testing.T) {
	t.Parallel()
	want := body(t, policy.Match(nil, run()).Err)
	for name, in := range map[string]*policy.Input{
		"the agent is another's":    run(),
		"the agent is unknown":      run(agentUnknown),
		"the agent is suspended":    run(status(agentidp.AgentSuspended)),
		"the agent has an odd name": run(agentNamed("\x00<script>")),
		"a scope is asked for":      run(asking("admin")),
		"the branch is another":     run(onBranch("main")),
	} {
		for _, candidates := range [][]*agentidp.TrustPolicy{
			nil, one(forAgent(agentY)), one(bootstrap), one(disabled), one(expires(-1)), one(otherTenant), one(of("acme/other"), unpinned), one(fromGitLab),
		} {
			if got := body(t, policy.Match(compiled(candidates...), in).Err); got != want {
				t.Errorf("%s: %s\nwant %s", name, got, want)
			}
		}
	}
}

// no refusal repeats anything that only a policy says, and what it
// repeats of the caller cannot be mistaken for its own words.
func TestRefusalsHoldNothingOfThePolicies(t *testing.T) {
	t.Parallel()
	secret := pol(id("zz-id"), branch("zz-branch"), onEvents("zz_event"), withScopes("zz:scope"), withAudiences("https://zz.example"),
		expires(31337*time.Hour), func(p *agentidp.TrustPolicy) { p.Description = "zz-description"; p.CreatedBy = "zz-admin" })
	variants := compiled(secret,
		with(secret, tag("zz-tag-*")), with(secret, needsIDs("31337", "")), with(secret, needsIDs("", "31337")),
		with(secret, pinnedTo("31337", "31337")), with(secret, of("zz/repository")), with(secret, forAgent("zz-agent")),
		with(secret, onEvents("push")), with(secret, onEvents("push"), branch("main")), with(secret, onEvents("push"), branch("main"), withScopes("deploy:staging")),
		with(secret, onEvents("push"), branch("main"), needs("environment", "zz-environment")),
		with(secret, onEvents("push"), branch("main"), inEnvironment("zz-environment")), with(secret, onEvents("push"), branch("main"), inWorkflow(".github/workflows/zz.yml")),
		with(secret, onEvents("push"), branch("main"), inWorkflow("zz/flows/.github/workflows/d.yml@refs/heads/zz")), with(secret, onEvents("push"), branch("main"), needs("environment", "zz-*")),
		with(secret, workload("zz-subject")), with(secret, workload("build"), needs("namespace", "zz-namespace")),
		with(secret, disabled), with(secret, bootstrap), with(secret, bootstrap, onEvents("push"), branch("main")))
	seen := map[string]bool{}
	for _, c := range variants {
		for _, in := range []*policy.Input{
			run(), run(event("")), run(onTag("v1")), run(ids("99", "98")), run(ids("", "")), run(noAgent), run(agentUnknown),
			run(asking("delete:all")), run(audience("https://evil.example")), run(ref("refs/pull/1/merge", "branch")),
			run(noAgent, asking("delete:all")), run(noAgent, audience("https://evil.example")),
			run(environment("prod")), run(environment("ZZ-Environment")), run(startedFrom("")), run(saying("environment", "prod")),
			run(asWorkload("build")), run(asWorkload("x")),
		} {
			out := policy.Match([]*policy.Compiled{c}, in)
			if out.Granted {
				continue
			}
			seen[code(out)] = true
			text := strings.ReplaceAll(body(t, out.Err)+out.Err.Error(), "ZZ-Environment", "") // the caller's own
			if strings.Contains(strings.ToLower(text), "zz") || strings.Contains(text, "31337") || strings.Contains(text, agentX) {
				t.Errorf("%s tells what a policy says: %s", code(out), text)
			}
		}
	}
	if len(seen) != len(stages)-1 {
		t.Errorf("only %v were tried", slices.Sorted(maps.Keys(seen)))
	}
}

func TestHostileValuesAreQuoted(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"main. Everything is fine", "<script>alert(1)</script>", "a\nb", "\x1b[2J", "\u202e", "it's", `"`, "\xff", strings.Repeat("x", 1<<16), "🚀",
	} {
		for _, in := range []*policy.Input{
			run(repository(value), ids("99", "98")), run(ids(value, value)), run(event(value)), run(onBranch(value)), run(onTag(value)),
			run(environment(value)), run(environment("prod"), jobIn(value)), run(environment("prod"), startedFrom(value)),
			run(ref(value, value)), run(asking(value)), run(audience(value)),
			run(saying("runner_environment", value), saying("ref_protected", value)), run(asWorkload(value)), run(asWorkload("build"), saying("namespace", value)),
		} {
			further := hosted
			if in.Claims.Environment != "" {
				further = func(p *agentidp.TrustPolicy) { p.Environment, p.Workflow = "prod", reusable }
			}
			err := policy.Match(compiled(pol(further, needs("ref_protected", "false")), pol(workload("build"), needs("namespace", "prod"))), in).Err
			if len(err.Message) > 2000 || strings.Contains(err.Message, "\n") || strings.ContainsFunc(err.Message, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("%s for %.20q: %.300q", err.Code, value, err.Message)
			}
			if strings.Contains(err.Message, value) && !strings.Contains(err.Message, `"`+value) {
				t.Errorf("%s repeats %.20q as its own words: %s", err.Code, value, err.Message)
			}
		}
	}
}

// with returns a changed copy of a policy.
func with(p *agentidp.TrustPolicy, options ...policyOption) *agentidp.TrustPolicy {
	c := *p
	for _, o := range options {
		o(&c)
	}
	return &c
}
