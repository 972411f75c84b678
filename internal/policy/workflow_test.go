package policy_test

import (
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func TestEnvironmentsAndWorkflowsThatAreAccepted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]specChange{
		"an environment":                             inEnv("production"),
		"one with a space and a colon":               inEnv("EU: production 2"),
		"the longest":                                inEnv(strings.Repeat("é", 255)),
		"a file of the repository":                   inFile(local),
		"one that ends in .yaml":                     inFile(".github/workflows/a b.yaml"),
		"a reusable workflow on a branch":            inFile(reusable),
		"on a branch with an @":                      inFile("acme/flows/" + local + "@refs/heads/a@b"),
		"on a tag":                                   inFile("acme/flows/" + local + "@refs/tags/v1"),
		"at a commit":                                inFile("acme/flows/" + local + "@" + commit),
		"at a commit of SHA-256":                     inFile("acme/flows/" + local + "@" + commit + commit[:24]),
		"of the repository called .github":           inFile("acme/.github/" + local + "@refs/heads/main"),
		"a pattern of workflows, as a claim":         claiming("job_workflow_ref", "acme/flows/.github/workflows/*@refs/heads/main"),
		"several environments, as a claim":           claiming("environment", "staging", "production-*"),
		"A-136: any value, which is to say that one": claiming("environment", "*"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := policy.Validate(spec(change), github, now); got != nil {
				t.Errorf("refused: %v", got)
			}
		})
	}
}

func TestEnvironmentsAndWorkflowsThatAreRefused(t *testing.T) {
	t.Parallel()
	const whole = "the ref behind the @ must be the whole one"
	for _, test := range []struct {
		name   string
		change specChange
		field  string
		reason string // a part of it
	}{
		{"A-136: any environment", inEnv("*"), "environment", "an environment is compared exactly, character by character"},
		{"A-136: a prefix of environments", inEnv("prod-*"), "environment", "name several in claims, as environment"},
		{"A-131: an environment with white space", inEnv("prod "), "environment", "begins or ends with white space"},
		{"one with a control character", inEnv("pr\x00od"), "environment", "contains control characters"},
		{"one that is too long", inEnv(strings.Repeat("e", 256)), "environment", "is longer than 255 characters"},
		{"of a workload", ofClusterWith(inEnv("prod")), "environment", "means nothing in the tokens of provider cluster"},

		{"a file without its folder", inFile("deploy.yml"), "workflow", `"deploy.yml" is not the path of a workflow: those are in .github/workflows/.`},
		{"a display name", inFile("Deploy"), "workflow", "is not the path of a workflow"},
		{"the file as a workflow calls it", inFile("./.github/workflows/deploy.yml"), "workflow", "Write .github/workflows/deploy.yml, from the top of the repository"},
		{"the file from the root", inFile("/.github/workflows/x.yaml"), "workflow", "Write .github/workflows/x.yaml, from the top"},
		{"an address", inFile("https://github.com/acme/deploy/blob/main/.github/workflows/deploy.yml"), "workflow", "is the file's path, not its address"},
		{"A-136: any file", inFile(".github/workflows/*"), "workflow", "a workflow is compared exactly"},
		{"A-136: any ref", inFile("acme/flows/" + local + "@*"), "workflow", "name a pattern in claims, as job_workflow_ref"},
		{"a file in a folder below", inFile(".github/workflows/x/deploy.yml"), "workflow", "its file is directly in .github/workflows/"},
		{"a file of another kind", inFile(".github/workflows/deploy.sh"), "workflow", "ends in .yml or .yaml"},
		{"a file without a name", inFile(".github/workflows/.yml"), "workflow", "ends in .yml or .yaml"},
		{"a file of the repository at a ref", inFile(local + "@refs/heads/main"), "workflow", "a file of the repository itself is meant at any ref"},
		{"A-132: a file with an @ in its name", inFile(".github/workflows/d.yml@x.yml"), "workflow", "Leave out the @ and what follows"},
		{"a reusable workflow without a ref", inFile("acme/flows/" + local), "workflow", "must say at which ref the reusable workflow is trusted"},
		{"with an empty ref", inFile("acme/flows/" + local + "@"), "workflow", "Write for example acme/flows/.github/workflows/deploy.yml@refs/heads/main"},
		{"with a branch's short name", inFile("acme/flows/" + local + "@main"), "workflow", whole},
		{"with a tag's short name", inFile("acme/flows/" + local + "@v1"), "workflow", whole},
		{"with an abbreviated commit", inFile("acme/flows/" + local + "@" + commit[:7]), "workflow", whole},
		{"with a commit in capitals", inFile("acme/flows/" + local + "@" + strings.ToUpper(commit)), "workflow", whole},
		{"with a pull request", inFile("acme/flows/" + local + "@refs/pull/7/merge"), "workflow", whole},
		{"with an empty branch", inFile("acme/flows/" + local + "@refs/heads/"), "workflow", "is not one that git allows"},
		{"with a branch that git refuses", inFile("acme/flows/" + local + "@refs/heads/a..b"), "workflow", "is not one that git allows"},
		{"A-132: with another file behind the @", inFile("acme/flows/.github/workflows/d.yml@x.yml@refs/heads/main"), "workflow", whole},
		{"of an owner alone", inFile("acme/.github/workflows/d.yml@refs/heads/main"), "workflow", `the repository in front of /.github/workflows/: "acme" is not of the form owner/name`},
		{"A-105: of a look-alike", inFile("\u0430cme/flows/" + local + "@refs/heads/main"), "workflow", "ASCII letters"},
		{"with white space", inFile(local + " "), "workflow", "begins or ends with white space"},
		{"that is too long", inFile(".github/workflows/" + strings.Repeat("x", 500) + ".yml"), "workflow", "is longer than 512 bytes"},
		{"of a workload", ofClusterWith(inFile(local)), "workflow", "means nothing in the tokens of provider cluster"},

		{"A-136: a claim's pattern that crosses slashes", claiming("job_workflow_ref", "acme/**"), "claims.job_workflow_ref", "** is not supported"},
		{"A-135: an identity that begins alike", ofCluster(agentidp.ClaimConditions{"sub": {"system:serviceaccount:build:*"}}), "claims.sub", "says whose tokens are meant, and is compared exactly"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := spec(test.change)
			got := policy.Validate(s, kindOf(s.Provider), now)
			if len(got) != 1 || got[0].Field != test.field || !strings.Contains(got[0].Reason, test.reason) {
				t.Errorf("%v, want %s: … %s …", got, test.field, test.reason)
			}
		})
	}
}
