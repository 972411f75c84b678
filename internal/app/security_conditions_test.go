package app

import (
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// What the fields environment and workflow, and patterns of claims, let through: each as a
// token that GitHub could send, through the door that is next in turn.
func TestEnvironmentsAndWorkflows(t *testing.T) {
	t.Parallel()
	const (
		denied = agentidp.CodeConditionNotMet
		flow   = "org/wf/.github/workflows/d.yml"
		own    = "acme/deploy/.github/workflows/ci.yml"
	)
	w := newWorld(t)
	admin := w.admin()
	with := func(name string, fields map[string]any) string {
		fields["agentId"] = w.register(admin, name+"@ci.acme.example")
		w.policy(admin, fields)
		return fields["agentId"].(string)
	}
	prod := with("prod", map[string]any{"branch": "main", "environment": "prod"})
	local := with("local", map[string]any{"workflow": ".github/workflows/ci.yml"})
	reused := with("reused", map[string]any{"branch": "main", "workflow": flow + "@refs/heads/main"})
	like := with("like", map[string]any{"claims": map[string]any{"environment": []string{"prod-*", "eu/*/prod"}, "runner_environment": "github-*"}})
	both := with("both", map[string]any{"claims": map[string]any{"runner_environment": "github-hosted", "ref_protected": "true", "repository_visibility": "private"}})
	env := func(v any) claims { return claims{"environment": v} }
	job := func(v any) claims { return claims{"job_workflow_ref": v} }
	trusted := stranger("mallory/deploy")
	trusted["job_workflow_ref"], trusted["workflow_ref"] = flow+"@refs/heads/main", "mallory/deploy/.github/workflows/ci.yml@refs/heads/main"
	taken := claims{"repository_id": "9001", "repository_owner_id": "9002", "job_workflow_ref": flow + "@refs/heads/main"}
	w.try([]trial{
		{"A-130 the environment", prod, env("prod"), "", ""},
		{"A-130 no environment", prod, nil, denied, ""},
		{"A-130 an empty environment", prod, env(""), denied, ""},
		{"A-130 null for an environment", prod, env(nil), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-130 a list that has the environment", prod, env([]string{"prod"}), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-130 the environment, on another branch", prod, claims{"environment": "prod", "ref": "refs/heads/dev"}, agentidp.CodeBranchNotPermitted, ""},
		{"A-130 the environment, for a pull request's event", prod, claims{"environment": "prod", "event_name": "pull_request_target"}, agentidp.CodeEventNotPermitted, ""},
		{"A-131 a ref behind the environment", prod, env("prod:ref:refs/heads/main"), denied, ""},
		{"A-131 an escaped colon", prod, env("prod%3Aref"), denied, ""},
		{"A-131 a star", prod, env("*"), denied, ""},
		{"A-131 another case", prod, env("Prod"), denied, ""},
		{"A-131 a space", prod, env("prod "), denied, ""},
		{"A-131 a subject that says the environment", prod, claims{"sub": "repo:acme/deploy:environment:prod"}, denied, ""},

		{"A-132 a file of the repository", local, job(own + "@refs/heads/main"), "", ""},
		{"A-132 a file of the repository at a commit", local, job(own + "@0123456789012345678901234567890123456789"), "", ""},
		{"A-132 another file", local, job("acme/deploy/.github/workflows/evil.yml@refs/heads/main"), denied, ""},
		{"A-132 a file whose name goes on", local, job(own + "@evil.yml@refs/heads/main"), denied, ""},
		{"A-132 a short ref", local, job(own + "@main"), denied, ""},
		{"A-132 the file of a repository whose name begins alike", local, job("acme/deploy-x/.github/workflows/ci.yml@refs/heads/main"), denied, ""},
		{"A-132 a reusable workflow, started from the file", local, job(flow + "@refs/heads/main"), denied, ""},
		{"A-132 the file as the workflow that was started, and no other", local, claims{"job_workflow_ref": emulator.Absent}, "", ""},
		{"A-132 no workflow at all", local, claims{"job_workflow_ref": emulator.Absent, "workflow_ref": emulator.Absent}, denied, ""},
		{"A-132 the reusable workflow", reused, job(flow + "@refs/heads/main"), "", ""},
		{"A-132 its repository in capitals", reused, job("Org/WF/.github/workflows/d.yml@refs/heads/main"), "", ""},
		{"A-132 its file in capitals", reused, job("org/wf/.github/workflows/D.yml@refs/heads/main"), denied, ""},
		{"A-132 its other branch", reused, job(flow + "@refs/heads/evil"), denied, ""},
		{"A-132 a tag of its branch's name", reused, job(flow + "@refs/tags/main"), denied, ""},
		{"A-132 a commit", reused, job(flow + "@0123456789012345678901234567890123456789"), denied, ""},
		{"A-132 another owner's", reused, job("orgX/wf/.github/workflows/d.yml@refs/heads/main"), denied, ""},
		{"A-132 another repository's", reused, job("org/wfX/.github/workflows/d.yml@refs/heads/main"), denied, ""},
		{"A-132 a file that is called like it", reused, job(flow + "@x.yml@refs/heads/main"), denied, ""},
		{"A-132 the workflow that was started", reused, claims{"job_workflow_ref": emulator.Absent, "workflow_ref": flow + "@refs/heads/main"}, denied, ""},
		{"A-134 the trusted workflow, called from another repository", reused, trusted, agentidp.CodeTrustPolicyViolation, ""},
		{"A-134 the trusted workflow, called from one that took the name", reused, taken, agentidp.CodeRepositoryIdentityChanged, ""},

		{"A-136 what the pattern describes", like, env("prod-eu"), "", ""},
		{"A-136 in segments", like, env("eu/west/prod"), "", ""},
		{"A-136 beyond a slash", like, env("prod-eu/x"), denied, ""},
		{"A-136 a slash more", like, env("eu/west/1/prod"), denied, ""},
		{"A-136 something in front", like, env("preprod-eu"), denied, ""},
		{"A-136 something behind", like, env("eu/west/prod-2"), denied, ""},
		{"A-136 a line of its own", like, env("x\nprod-eu"), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-136 no claim", like, nil, denied, ""},
		{"A-137 a star in the token", like, env("*"), denied, ""},
		{"A-138 a runner of one's own", like, claims{"environment": "prod-eu", "runner_environment": "self-hosted"}, denied, ""},
		{"A-138 and another pattern's value", like, claims{"environment": "prod-eu", "runner_environment": "prod-eu"}, denied, ""},
		{"A-138 A-139 all as it should be", both, claims{"ref_protected": "true", "repository_visibility": "private"}, "", ""},
		{"A-138 all but the runner", both, claims{"ref_protected": "true", "repository_visibility": "private", "runner_environment": "self-hosted"}, denied, ""},
		{"A-139 all but the protection", both, claims{"ref_protected": "false", "repository_visibility": "private"}, denied, ""},
		{"A-139 all but the visibility", both, claims{"ref_protected": "true", "repository_visibility": "public"}, denied, ""},
	})

	// administrators read that nothing but case differs; the caller reads what it sent.
	a := w.refused(exchangeBody(w.subject(env("Prod")), prod), 403, denied)
	if raw := string(a.Raw); !strings.Contains(raw, `"claims":{"environment":"Prod"}`) || strings.Contains(strings.ReplaceAll(raw, "Prod", ""), "prod") || strings.Contains(raw, "only") {
		t.Errorf("the caller reads more or less than its own claims: %s", raw)
	}
	d := w.decision(a.str("decision_id"))
	said := ""
	for _, c := range d.Checks {
		if c.Check == "environment" && c.PolicyID == d.PolicyID {
			said = c.Expected + " / " + c.Got
		}
	}
	if said != "prod (only upper and lower case differ) / Prod" {
		t.Errorf("administrators read %q", said)
	}
}
