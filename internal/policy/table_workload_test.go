package policy_test

import "github.com/sentryagent/agentidp"

var ofWorkloads = []sentence{
	// Workloads: callers that have no repository.
	{"a workload gets the token of the policy that names its subject", one(workload("build")), run(asWorkload("build")), allowed},
	{"another subject is a stranger", one(workload("build")), run(asWorkload("built")), "identity"},
	{"a subject in another case is a stranger", one(workload("build")), run(asWorkload("Build")), "identity"},
	{"a prefix of the subject is a stranger", one(workload("build")), run(asWorkload("buil")), "identity"},
	{"a workload without a subject is a stranger", one(workload("build")), run(asWorkload("build"), saying("sub", "")), "identity"},
	{"any of several subjects passes", one(workload("build", "deploy")), run(asWorkload("deploy")), allowed},
	{"a policy without a subject is nobody's", one(workload("build"), func(p *agentidp.TrustPolicy) { p.Claims = nil }), run(asWorkload("build")), "identity"},
	{"nor is one with another claim alone", one(workload("build"), func(p *agentidp.TrustPolicy) {
		p.Claims = agentidp.ClaimConditions{"namespace": {"build"}}
	}), run(asWorkload("build")), "identity"},
	{"a further claim must be as the policy says", one(workload("build"), needs("namespace", "build")), run(asWorkload("build")), allowed},
	{"if it is not, the owner of the subject is told", one(workload("build"), needs("namespace", "other")), run(asWorkload("build")), "claims"},
	{"and nobody else is", one(workload("build"), needs("namespace", "other")), run(asWorkload("x")), "identity"},
	{"a workload registers agents by a bootstrap policy", one(workload("build"), bootstrap), run(asWorkload("build"), noAgent), allowed},
	{"A-147: which grants it no agent", one(workload("build"), bootstrap), run(asWorkload("build")), "agent"},
	{"A-148: an agent policy of a workload grants no bootstrap", one(workload("build")), run(asWorkload("build"), noAgent), "agent"},
	{"a workload of another provider is a stranger", one(workload("build")), run(asWorkload("build"), viaGitLab), "provider"},
	{"a run with a repository never meets a policy without one", one(workload("repo:acme/deploy:ref:refs/heads/main"), fromGitHub), run(), "repository"},
	{"not even if its subject were known to identify", one(workload("repo:acme/deploy:ref:refs/heads/main"), fromGitHub), run(bySubject), "repository"},
	{"a workload never meets a policy with a repository", one(fromCluster), run(asWorkload("build")), "repository"},
	{"whatever its claims are called", one(fromCluster, pinnedTo("", "")), run(asWorkload("build")), "repository"},
	{"a workload that nothing is known of is a stranger", one(workload("build")), run(asWorkload("build"), ofNoKind), "identity"},
	{"a branch that somehow got into such a policy is still a condition", one(workload("build"), branch("main")), run(asWorkload("build")), "ref_type"},
	{"so is an event", one(workload("build"), onEvents("push")), run(asWorkload("build")), "event"},
	{"and an id", one(workload("build"), needsIDs("74", "")), run(asWorkload("build")), "repository_id"},
}
