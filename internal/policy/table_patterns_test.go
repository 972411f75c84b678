package policy_test

import "github.com/sentryagent/agentidp/internal/policy"

// flows is a pattern for the reusable workflows of one repository.
var flows = needs("job_workflow_ref", "acme/flows/.github/workflows/*@refs/tags/v*")

// sayingNothing is a claim that is there and empty.
func sayingNothing(name string) inputOption {
	return func(in *policy.Input) {
		source := said{name: ""}
		for name, value := range in.Claims.Source.(said) {
			source[name] = value
		}
		in.Claims.Source = source
	}
}

var ofPatterns = []sentence{
	// What a star stands for.
	{"a star stands for anything within a segment", one(needs("environment", "prod-*")), run(saying("environment", "prod-eu")), allowed},
	{"it may stand for nothing", one(needs("environment", "prod*")), run(saying("environment", "prod")), allowed},
	{"it never stands for a slash", one(needs("environment", "prod*")), run(saying("environment", "prod/eu")), "claims"},
	{"nor for a slash at the end", one(needs("environment", "prod*")), run(saying("environment", "prod/")), "claims"},
	{"there may be one in each segment", one(flows), run(saying("job_workflow_ref", "acme/flows/.github/workflows/d.yml@refs/tags/v2")), allowed},
	{"and several in one", one(needs("environment", "*-prod-*")), run(saying("environment", "eu-prod-1")), allowed},
	{"A-132: a file whose name goes on with an @ and a slash does not pass a star", one(flows), run(saying("job_workflow_ref", "acme/flows/.github/workflows/x/d.yml@refs/tags/v2")), "claims"},
	{"A-132: nor does a branch pass for a tag", one(flows), run(saying("job_workflow_ref", "acme/flows/.github/workflows/d.yml@refs/heads/v2")), "claims"},
	{"A-132: nor another owner", one(flows), run(saying("job_workflow_ref", "acmeX/flows/.github/workflows/d.yml@refs/tags/v2")), "claims"},
	{"a star alone is met by any value", one(needs("environment", "*")), run(saying("environment", "anything at all")), allowed},
	{"but not by a claim that is absent", one(needs("environment", "*")), run(), "claims"},
	{"nor by one that is empty", one(needs("environment", "*")), run(sayingNothing("environment")), "claims"},
	{"nor by a value with a slash", one(needs("environment", "*")), run(saying("environment", "a/b")), "claims"},
	{"a star between slashes may stand for nothing", one(needs("team", "a/*/c")), run(saying("team", "a//c")), allowed},
	{"but there must be as many slashes", one(needs("team", "a/*/c")), run(saying("team", "a/c")), "claims"},
	{"a line break is like any other byte", one(needs("team", "a*c")), run(saying("team", "a\nc")), allowed},
	{"so is one that is no text", one(needs("team", "a*c")), run(saying("team", "a\xffc")), allowed},

	// Patterns are anchored, and only * is special.
	{"A-136: a pattern is anchored in front", one(needs("environment", "prod*")), run(saying("environment", "preprod-eu")), "claims"},
	{"A-136: and behind", one(needs("environment", "*prod")), run(saying("environment", "eu-prod-2")), "claims"},
	{"A-136: a value is no prefix", one(needs("environment", "prod")), run(saying("environment", "prod-eu")), "claims"},
	{"A-136: a line of its own is no whole value", one(needs("environment", "prod")), run(saying("environment", "prod\nx")), "claims"},
	{"A-136: a dot is a dot", one(needs("environment", "v1.0")), run(saying("environment", "v1x0")), "claims"},
	{"A-136: a question mark is a question mark", one(needs("environment", "prod?")), run(saying("environment", "prod1")), "claims"},
	{"A-136: brackets are brackets", one(needs("environment", "prod[12]")), run(saying("environment", "prod1")), "claims"},
	{"A-136: braces are braces", one(needs("environment", "{a,b}")), run(saying("environment", "a")), "claims"},
	{"A-136: a bar is a bar", one(needs("environment", "a|b")), run(saying("environment", "a")), "claims"},
	{"A-136: .* begins with a dot", one(needs("environment", ".*")), run(saying("environment", "prod")), "claims"},
	{"A-136: a backslash takes nothing away from a star", one(needs("environment", `prod\*`)), run(saying("environment", "prod*")), "claims"},
	{"case counts in patterns", one(needs("environment", "prod-*")), run(saying("environment", "Prod-eu")), "claims"},
	{"a percent sign is not decoded", one(needs("environment", "a/*")), run(saying("environment", "a%2Fb")), "claims"},
	{"A-137: a star in the token is only a star", one(needs("environment", "prod-eu")), run(saying("environment", "prod-*")), "claims"},
	{"A-137: and is met by one in the policy", one(needs("environment", "prod-*")), run(saying("environment", "prod-*")), allowed},

	// Several of them.
	{"one of several patterns is enough", one(needs("environment", "prod-*", "stage-*")), run(saying("environment", "stage-eu")), allowed},
	{"patterns and plain values may stand together", one(needs("environment", "prod-*", "test")), run(saying("environment", "test")), allowed},
	{"none of several is too little", one(needs("environment", "prod-*", "test")), run(saying("environment", "testing")), "claims"},
	{"the beginning of one pattern and the end of another are none", one(needs("environment", "prod-*-eu", "stage-*-us")), run(saying("environment", "prod-1-us")), "claims"},
	{"the patterns of all claims must be met", one(flows, needs("environment", "prod-*")), run(saying("job_workflow_ref", "acme/flows/.github/workflows/d.yml@refs/tags/v2"), saying("environment", "dev")), "claims"},
	{"the environment as a field and as a claim must both fit", one(inEnvironment("prod"), needs("environment", "stage-*")), run(environment("prod"), saying("environment", "prod")), "claims"},
	{"a property of the repository may be a pattern", one(needs("repo_property_tier", "gold-*")), run(saying("repo_property_tier", "gold-1")), allowed},
	{"A-134: a pattern of workflows makes no foreign repository known", one(flows), run(repository("evil/repo"), ids("99", "98"), saying("job_workflow_ref", "acme/flows/.github/workflows/d.yml@refs/tags/v2")), "repository"},
	{"patterns of two policies never mix", several(pol(needs("environment", "prod-*"), needs("ref_protected", "false")), pol(id("p2"), needs("environment", "stage-*"))), run(saying("environment", "prod-eu")), "claims"},

	// Claims that say whose a token is are no patterns.
	{"A-135: a star in a workload's subject is only a star", one(workload("build-*")), run(asWorkload("build-1")), "identity"},
	{"A-135: a star alone is only a star", one(workload("*")), run(asWorkload("build")), "identity"},
	{"a subject that is called so passes", one(workload("build-*")), run(asWorkload("build-*")), allowed},
	{"a further claim of a workload may be a pattern", one(workload("build"), needs("namespace", "bu*")), run(asWorkload("build")), allowed},
	{"which is as strict as elsewhere", one(workload("build"), needs("namespace", "bu*")), run(asWorkload("build"), saying("namespace", "bu/x")), "claims"},
}
