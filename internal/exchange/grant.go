package exchange

import (
	"context"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// grant describes what the issuing commit checks and writes.
func (a *attempt) grant(out *policy.Outcome, agent *agentidp.Agent) *store.Grant {
	now := a.Clock()
	issued := now.Truncate(time.Second)
	rec := agentidp.AccessToken{
		ID: agentidp.NewID(now), OrganizationID: a.org.ID, Kind: agentidp.PrincipalBootstrap,
		Subject: "policy:" + out.Policy.ID, PolicyID: out.Policy.ID, DecisionID: a.decision.ID,
		Provider: a.provider.Name, RepositoryID: a.claims.RepositoryID,
		Scope: strings.Join(out.Scopes, " "), Audience: out.Audience,
		IssuedAt: issued, ExpiresAt: issued.Add(out.TTL),
	}
	if agent != nil {
		rec.Kind, rec.Subject, rec.AgentID = agentidp.PrincipalAgent, agent.AgentID, agent.AgentID
	}
	if a.request.Proof != nil {
		rec.KeyThumbprint = a.request.Proof.Thumbprint
	}
	decision := *a.decision
	decision.Outcome, decision.PolicyID, decision.TokenID, decision.Checks = agentidp.OutcomeAllowed, out.Policy.ID, rec.ID, out.Checks
	decision.Shadow, decision.Claims = out.Shadow, a.recorded()

	event := a.event(agentidp.EventTokenIssued, a.decision.At, rec.ID, out.Policy.ID, nil)
	event.ID = decision.ID
	g := &store.Grant{
		Organization: a.org, Provider: a.provider, Policy: out.Policy, Agent: agent,
		Pin:   agentidp.Pin{RepositoryID: a.claims.RepositoryID, RepositoryOwnerID: a.claims.RepositoryOwnerID, PinnedAt: now},
		Token: rec, Decision: decision,
		Events: []agentidp.Event{event},
	}
	if a.provider.Replay != agentidp.ReplayAllow {
		g.ReplayKey = a.claims.ReplayKey
		// Kept until the verifier would refuse the token for its age alone, with a
		// second to spare for rounding.
		g.ReplayUntil = a.claims.ExpiresAt.Add(verify.Skew + time.Second)
	}
	if out.Policy.Pinned == nil && out.Policy.Repository != "" {
		e := a.event(agentidp.EventRepositoryPinned, now, "", out.Policy.ID, map[string]string{
			agentidp.DataRepository: out.Policy.Repository, "repository_id": a.claims.RepositoryID, "repository_owner_id": a.claims.RepositoryOwnerID,
		})
		g.PinEvent = &e
	}
	if agentidp.FoldRepository(out.Policy.Repository) != agentidp.FoldRepository(a.claims.Repository) { // known by its pin
		g.Events = append(g.Events, a.event(agentidp.EventRepositoryRenamed, now, "", out.Policy.ID, map[string]string{
			agentidp.DataRepository: out.Policy.Repository, "renamed_to": a.claims.Repository,
		}))
	}
	return g
}

// sign makes the token of a record, which is the agent's, if there is one.
func (a *attempt) sign(ctx context.Context, t *agentidp.AccessToken, agent *agentidp.Agent) (string, error) {
	name := ""
	if agent != nil {
		name = agent.Name
	}
	return a.Tokens.Mint(ctx, a.org, t, name, a.claims.Workload())
}
