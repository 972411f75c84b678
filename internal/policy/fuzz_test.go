package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// FuzzValidate: whatever validates is still valid once normalized, compiles, and
// is of some use: the run that it describes is granted. Nothing panics.
func FuzzValidate(f *testing.F) {
	f.Add("github", "acme/deploy", "main", "", agentX, "74", "65", "push,schedule", "deploy:production", "https://a.example", 900, 0, "", "enforce", int64(3600), "", "runner_environment=github-hosted,environment=prod,environment=stage", "prod", ".github/workflows/deploy.yml")
	f.Add("github", "Acme/deploy", "", "v*", "", "", "", "", "", "", 0, 3, "*@ci.acme.example", "", int64(0), "bootstrap", "", "", "acme/flows/.github/workflows/d.yml@refs/tags/v1")
	f.Add("cluster", "", "", "", agentX, "", "", "", "deploy:production", "", 0, 0, "", "", int64(0), "", "sub=system:serviceaccount:build:deployer,namespace=build", "", "")
	f.Add("cluster", "acme/deploy", "main", "", agentX, "74", "65", "push", "", "", 0, 0, "", "", int64(0), "", "aud=x,jti=y,sub=*,=,a=", "prod", "x")
	f.Add("github", "acme/deploy.git", "refs/heads/main", "refs/tags/*", "x", "074", "+1", "*", "*", "#", -1, -1, "?", "shadow", int64(-1), "\x00", "repository=x,sub=\x00,\x00=x,actor=octocat,exp=1", "*", "acme/flows/.github/workflows/d.yml@x.yml@refs/heads/main")
	f.Fuzz(func(t *testing.T, provider, repository, branch, tag, agent, repoID, ownerID, events, scopes, audiences string,
		ttl, maxAgents int, pattern, mode string, expiry int64, description, claims, environment, workflow string,
	) {
		said := agentidp.TrustPolicySpec{
			Provider: provider, Repository: repository, Branch: branch, Tag: tag, AgentID: agent, RepositoryID: repoID, RepositoryOwnerID: ownerID,
			Events: elements(events), Scopes: elements(scopes), Audiences: elements(audiences), TokenTTLSeconds: ttl, MaxAgents: maxAgents,
			AgentNamePattern: pattern, Mode: agentidp.PolicyMode(mode), Description: description,
			Claims: conditions(claims), Environment: environment, Workflow: workflow,
		}
		kind := kindOf(provider)
		if expiry != 0 {
			at := time.Unix(expiry, 0)
			said.ExpiresAt = &at
		}
		valid := len(policy.Validate(&said, kind, now)) == 0
		p := &agentidp.TrustPolicy{ID: "p1", OrganizationID: orgID, TrustPolicySpec: policy.Normalize(said, kind), CreatedAt: now}
		if valid && len(policy.Validate(&p.TrustPolicySpec, kind, now)) != 0 {
			t.Fatalf("valid until normalized: %+v", p.TrustPolicySpec)
		}
		policy.Warnings(p, kind, now)
		policy.Fingerprint(&p.TrustPolicySpec)
		out := policy.Match(compiled(p), fitting(p))
		if !valid {
			return
		}
		wellFormed(t, &out)
		if useful := p.Mode == agentidp.ModeEnforce && (p.ExpiresAt == nil || p.ExpiresAt.Sub(now) >= time.Second); useful && !out.Granted {
			t.Fatalf("the run that a valid policy describes is refused: %v; checks:\n%s", out.Err, spell(out.Checks))
		}
	})
}

// FuzzMatch: whatever a policy that validates says of a job and whatever a token says, the
// engine decides as the reference does.
func FuzzMatch(f *testing.F) {
	const main, job = "refs/heads/main", "acme/deploy/.github/workflows/deploy.yml@refs/heads/main"
	f.Add("main", "", "prod", ".github/workflows/deploy.yml", "github-*", "acme/deploy", main, "branch", "prod", job, job, "github-hosted")
	f.Add("", "v*", "", "acme/flows/.github/workflows/d.yml@refs/heads/main", "a,b/*", "ACME/deploy", "refs/tags/v1", "tag", "", "Acme/flows/.github/workflows/d.yml@refs/heads/main", job, "b/x")
	f.Add("", "", "Prod", ".github/workflows/d.yml", "", "acme/deploy", "refs/heads/x", "branch", "prod", "acme/deploy/.github/workflows/d.yml@x.yml@refs/heads/main", "", "")
	f.Add("", "", "", ".github/workflows/d.yml", "*", "acme/deploy", main, "branch", "", "", "acme/deploy/.github/workflows/d.yml@0123456789012345678901234567890123456789", "/")
	f.Fuzz(func(t *testing.T, onBranch, onTag, inEnv, inFile, patterns, repository, ref, refType, inEnvironment, job, started, value string) {
		for _, s := range []string{onBranch, onTag, inEnv, inFile, patterns, repository, ref, refType, inEnvironment, job, started, value} {
			if len(s) > 500 || !isASCII(s) {
				t.Skip("longer than any name, or no text that the expressions of the reference read as bytes")
			}
		}
		p := pol(branch(onBranch), func(p *agentidp.TrustPolicy) {
			p.Tag, p.Environment, p.Workflow, p.Pinned.PinnedAt = onTag, inEnv, inFile, now
			if patterns != "" {
				p.Claims = agentidp.ClaimConditions{"team": elements(patterns)}
			}
		})
		in := run(sayingNothing("team"), saying("team", value))
		in.Claims.Repository, in.Claims.Ref, in.Claims.RefType, in.Claims.Environment = repository, ref, refType, inEnvironment
		in.Claims.JobWorkflowRef, in.Claims.WorkflowRef = job, started
		out := policy.Match(compiled(p), in)
		wellFormed(t, &out)
		if len(policy.Validate(&p.TrustPolicySpec, github, now)) > 0 {
			return
		}
		if want := reference(p, in); code(out) != want {
			t.Fatalf("the engine answers %q, the reference %q; checks:\n%s", code(out), want, spell(out.Checks))
		}
	})
}

// conditions reads name=value, of which one name may have several.
func conditions(s string) agentidp.ClaimConditions {
	var claims agentidp.ClaimConditions
	for _, e := range elements(s) {
		name, value, _ := strings.Cut(e, "=")
		if claims == nil {
			claims = agentidp.ClaimConditions{}
		}
		claims[name] = append(claims[name], value)
	}
	return claims
}

func elements(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// fitting returns the run that a policy describes.
func fitting(p *agentidp.TrustPolicy) *policy.Input {
	in := run()
	if p.Repository == "" {
		asWorkload("")(in)
	} else {
		repository(p.Repository)(in)
	}
	if len(p.Events) > 0 {
		event(p.Events[0])(in)
	}
	for name, values := range p.Claims {
		if len(values) > 0 {
			saying(name, values[len(values)-1])(in)
		}
	}
	in.Claims.Environment = p.Environment
	switch {
	case strings.Contains(p.Workflow, "@"):
		jobIn(p.Workflow)(in)
	case p.Workflow != "":
		jobIn(p.Repository + "/" + p.Workflow + "@refs/heads/main")(in)
	}
	in.AgentID, in.Agent.AgentID, in.Claims.Provider = p.AgentID, p.AgentID, p.Provider
	if p.RepositoryID != "" {
		in.Claims.RepositoryID = p.RepositoryID
	}
	if p.RepositoryOwnerID != "" {
		in.Claims.RepositoryOwnerID = p.RepositoryOwnerID
	}
	switch {
	case p.Branch != "":
		onBranch(p.Branch)(in)
	case p.Tag != "":
		onTag(strings.ReplaceAll(p.Tag, "*", "1"))(in)
	}
	return in
}
