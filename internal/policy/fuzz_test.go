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
	f.Add("github", "acme/deploy", "main", "", agentX, "74", "65", "push,schedule", "deploy:production", "https://a.example", 900, 0, "", "enforce", int64(3600), "")
	f.Add("github", "Acme/deploy", "", "v*", "", "", "", "", "", "", 0, 3, "*@ci.acme.example", "", int64(0), "bootstrap")
	f.Add("github", "acme/deploy.git", "refs/heads/main", "refs/tags/*", "x", "074", "+1", "*", "*", "#", -1, -1, "?", "shadow", int64(-1), "\x00")
	f.Fuzz(func(t *testing.T, provider, repository, branch, tag, agent, repoID, ownerID, events, scopes, audiences string,
		ttl, maxAgents int, pattern, mode string, expiry int64, description string,
	) {
		said := agentidp.TrustPolicySpec{
			Provider: provider, Repository: repository, Branch: branch, Tag: tag, AgentID: agent, RepositoryID: repoID, RepositoryOwnerID: ownerID,
			Events: elements(events), Scopes: elements(scopes), Audiences: elements(audiences), TokenTTLSeconds: ttl, MaxAgents: maxAgents,
			AgentNamePattern: pattern, Mode: agentidp.PolicyMode(mode), Description: description,
		}
		if expiry != 0 {
			at := time.Unix(expiry, 0)
			said.ExpiresAt = &at
		}
		valid := len(policy.Validate(&said, github, now)) == 0
		p := &agentidp.TrustPolicy{ID: "p1", OrganizationID: orgID, TrustPolicySpec: policy.Normalize(said, github), CreatedAt: now}
		if valid && len(policy.Validate(&p.TrustPolicySpec, github, now)) != 0 {
			t.Fatalf("valid until normalized: %+v", p.TrustPolicySpec)
		}
		policy.Warnings(p, github, now)
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

func elements(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// fitting returns the run that a policy describes.
func fitting(p *agentidp.TrustPolicy) *policy.Input {
	in := run(repository(p.Repository), event(p.Events[0]))
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
