package policy_test

import "strings"

const (
	local    = ".github/workflows/deploy.yml"
	reusable = "acme/flows/.github/workflows/d.yml@refs/heads/main"
	commit   = "8d7b1cf0a1c7d1f7d3c5f3f6a7b8c9d0e1f2a3b4"
)

var ofWorkflows = []sentence{
	// A file of the repository itself.
	{"without a workflow any file of any repository passes", one(), run(jobIn("evil/flows/.github/workflows/x.yml@refs/heads/main")), allowed},
	{"a job in the file that the policy names passes", one(inWorkflow(local)), run(), allowed},
	{"on a tag as well", one(inWorkflow(local)), run(jobIn(deployYML + "@refs/tags/v1")), allowed},
	{"at a commit as well", one(inWorkflow(local)), run(jobIn(deployYML + "@" + commit)), allowed},
	{"at a commit of SHA-256 as well", one(inWorkflow(local)), run(jobIn(deployYML + "@" + commit + commit[:24])), allowed},
	{"on a branch with an @ in its name as well", one(inWorkflow(local)), run(jobIn(deployYML + "@refs/heads/a@b")), allowed},
	{"the file's repository is compared without regard to case", one(inWorkflow(local)), run(jobIn("ACME/Deploy/" + local + "@refs/heads/main")), allowed},
	{"so is that of the token", one(inWorkflow(local)), run(repository("Acme/DEPLOY")), allowed},
	{"a renamed repository has the file under its new name", one(of("acme/old"), inWorkflow(local)), run(), allowed},
	{"and not under the old one", one(of("acme/old"), inWorkflow(local)), run(jobIn("acme/old/" + local + "@refs/heads/main")), "workflow"},
	{"case counts in the file", one(inWorkflow(local)), run(jobIn("acme/deploy/.github/workflows/Deploy.yml@refs/heads/main")), "workflow"},
	{"case counts in its folder", one(inWorkflow(local)), run(jobIn("acme/deploy/.GitHub/workflows/deploy.yml@refs/heads/main")), "workflow"},
	{"another file is refused", one(inWorkflow(local)), run(jobIn("acme/deploy/.github/workflows/test.yml@refs/heads/main")), "workflow"},
	{"a file whose name goes on is another", one(inWorkflow(local)), run(jobIn(deployYML + "x@refs/heads/main")), "workflow"},
	{"a file in a folder of the same names is another", one(inWorkflow(local)), run(jobIn("acme/deploy/x/.github/workflows/deploy.yml@refs/heads/main")), "workflow"},
	{"A-134: the same file of another repository is another", one(inWorkflow(local)), run(jobIn("acme/flows/.github/workflows/deploy.yml@refs/heads/main")), "workflow"},
	{"of a repository whose name begins alike it is another", one(inWorkflow(local)), run(jobIn("acme/deploy-x/.github/workflows/deploy.yml@refs/heads/main")), "workflow"},
	{"of one whose owner ends alike it is another", one(inWorkflow(local)), run(jobIn("xacme/deploy/.github/workflows/deploy.yml@refs/heads/main")), "workflow"},
	{"A-132: a file whose name goes on with an @ is another", one(inWorkflow(local)), run(jobIn(deployYML + "@x.yml@refs/heads/main")), "workflow"},
	{"A-132: so is one in a folder with an @", one(inWorkflow(local)), run(jobIn("acme/deploy/.github/workflows/x@y/deploy.yml@refs/heads/main")), "workflow"},
	{"what stands behind the file must be a ref, and main is none", one(inWorkflow(local)), run(jobIn(deployYML + "@main")), "workflow"},
	{"nor is a part of a commit's id", one(inWorkflow(local)), run(jobIn(deployYML + "@" + commit[:7])), "workflow"},
	{"nor one in capitals", one(inWorkflow(local)), run(jobIn(deployYML + "@" + strings.ToUpper(commit))), "workflow"},
	{"nor refs/ alone", one(inWorkflow(local)), run(jobIn(deployYML + "@refs/")), "workflow"},
	{"nor nothing", one(inWorkflow(local)), run(jobIn(deployYML + "@")), "workflow"},
	{"nor the end of the file's name", one(inWorkflow(local)), run(jobIn(deployYML)), "workflow"},
	{"a path without a repository is nobody's", one(inWorkflow(local)), run(jobIn(local + "@refs/heads/main")), "workflow"},
	{"A-137: a star in the token's file is only a star", one(inWorkflow(local)), run(jobIn("acme/deploy/.github/workflows/*@refs/heads/main")), "workflow"},
	{"A-137: nor does a star in a stored workflow match", one(inWorkflow(".github/workflows/*.yml")), run(), "workflow"},

	// A reusable workflow elsewhere, at one ref.
	{"a job in the reusable workflow that the policy names passes", one(inWorkflow(reusable)), run(jobIn(reusable)), allowed},
	{"A-132: its repository is compared without regard to case", one(inWorkflow(reusable)), run(jobIn("Acme/Flows/.github/workflows/d.yml@refs/heads/main")), allowed},
	{"A-132: whichever of the two has the capitals", one(inWorkflow("ACME/flows/.github/workflows/d.yml@refs/heads/main")), run(jobIn(reusable)), allowed},
	{"A-132: on another branch it is refused", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@refs/heads/evil")), "workflow"},
	{"A-132: on a tag called like the branch it is refused", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@refs/tags/main")), "workflow"},
	{"A-132: at a commit it is refused", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@" + commit)), "workflow"},
	{"A-132: another owner's is refused", one(inWorkflow(reusable)), run(jobIn("acmeX/flows/.github/workflows/d.yml@refs/heads/main")), "workflow"},
	{"A-132: another repository's is refused", one(inWorkflow(reusable)), run(jobIn("acme/flowsX/.github/workflows/d.yml@refs/heads/main")), "workflow"},
	{"A-132: a file whose name has a second @ is refused", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@x.yml@refs/heads/main")), "workflow"},
	{"A-132: the caller's own file of that name is refused", one(inWorkflow(reusable)), run(jobIn("acme/deploy/.github/workflows/d.yml@refs/heads/main")), "workflow"},
	{"A-132: a branch whose name goes on is another", one(inWorkflow(reusable)), run(jobIn(reusable + "-2")), "workflow"},
	{"A-132: case counts in its branch", one(inWorkflow(reusable)), run(jobIn("acme/flows/.github/workflows/d.yml@refs/heads/MAIN")), "workflow"},
	{"A-132: what has something in front of it is another", one(inWorkflow(reusable)), run(jobIn("x" + reusable)), "workflow"},
	{"one at a commit passes at that commit", one(inWorkflow("acme/flows/" + local + "@" + commit)), run(jobIn("acme/flows/" + local + "@" + commit)), allowed},
	{"and at no other", one(inWorkflow("acme/flows/" + local + "@" + commit)), run(jobIn("acme/flows/" + local + "@" + strings.Repeat("0", 40))), "workflow"},
	{"the repository with a workflow may be called .github", one(inWorkflow("acme/.github/" + local + "@refs/tags/v1")), run(jobIn("acme/.github/" + local + "@refs/tags/v1")), allowed},

	// The workflow that was started.
	{"where the token does not say where the job stands, the workflow that was started counts", one(inWorkflow(local)), run(startedFrom(deployYML + "@refs/heads/main")), allowed},
	{"where it does, the workflow that was started counts for nothing", one(inWorkflow(local)), run(jobIn(reusable)), "workflow"},
	{"the workflow that was started is no reusable one", one(inWorkflow(reusable)), run(startedFrom(reusable)), "workflow"},
	{"a token that says neither is refused", one(inWorkflow(local)), run(startedFrom("")), "workflow"},
	{"also where a reusable one is demanded", one(inWorkflow(reusable)), run(startedFrom("")), "workflow"},

	// Beside other conditions.
	{"A-134: a foreign repository that calls a trusted workflow stays foreign", one(inWorkflow(reusable)), run(repository("evil/repo"), ids("99", "98"), jobIn(reusable)), "repository"},
	{"A-134: nor does a file of the same path help it", one(inWorkflow(local)), run(repository("evil/repo"), ids("99", "98"), jobIn("evil/repo/"+local+"@refs/heads/main")), "repository"},
	{"A-134: nor a copy under a name that was taken over", one(inWorkflow(local)), run(ids("99", "98")), "pinned_repository_id"},
	{"a trusted workflow does not make up for the branch", one(inWorkflow(reusable)), run(onBranch("dev"), jobIn(reusable)), "ref"},
	{"nor for the event", one(inWorkflow(reusable)), run(event("pull_request_target"), jobIn(reusable)), "event"},
	{"a wrong workflow is told before a wrong claim", one(inWorkflow(reusable), needs("ref_protected", "x")), run(), "workflow"},
	{"the workflow of one policy and the branch of another never mix",
		several(pol(inWorkflow(reusable)), pol(id("p2"), branch("dev"), inWorkflow(local))), run(jobIn(reusable), onBranch("dev")), "workflow"},
	{"a bootstrap policy may name a workflow", one(bootstrap, inWorkflow(local)), run(noAgent), allowed},
	{"and then registers agents from there alone", one(bootstrap, inWorkflow(local)), run(noAgent, jobIn(reusable)), "workflow"},
	{"a workflow that somehow got into a workload's policy is met by nothing", one(workload("build"), inWorkflow(local)), run(asWorkload("build")), "workflow"},
}
