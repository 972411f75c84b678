package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// checkPolicyIn holds a policy against what is stored and against what its
// caller may give, in the transaction that will write it.
func checkPolicyIn(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller, p *agentidp.TrustPolicy) error {
	agent, err := trustedAgent(ctx, tx, p)
	if err != nil {
		return err
	}
	if err := mayTrust(org, c, p, agent); err != nil {
		return err
	}
	return checkPin(ctx, tx, p)
}

// checkDraft is checkPolicyIn for a policy that nobody writes, whoever asks about it.
func (r *Registry) checkDraft(ctx context.Context, p *agentidp.TrustPolicy) error {
	_, err := trustedAgent(ctx, r.DB, p)
	if err == nil {
		err = checkPin(ctx, r.DB, p)
	}
	return public(err, "trust policy")
}

// policyReads is what a policy is held against: in a transaction, or outside of any
// where it is only looked at.
type policyReads interface {
	Agent(ctx context.Context, orgID, id string) (*agentidp.Agent, error)
	Pin(ctx context.Context, orgID, provider, repository string) (*agentidp.Pin, error)
}

// trustedAgent returns the agent that a policy is for, which must be more than a memory;
// nil for bootstrap.
func trustedAgent(ctx context.Context, db policyReads, p *agentidp.TrustPolicy) (*agentidp.Agent, error) {
	if p.Bootstrap() {
		return nil, nil //nolint:nilnil // there is none
	}
	agent, err := db.Agent(ctx, p.OrganizationID, p.AgentID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "agentId", Reason: "names no agent of this organization; register it first (POST /api/v1/agents)"})
	case err != nil:
		return nil, err
	case agent.Status == agentidp.AgentDecommissioned:
		return nil, decommissioned("A policy for it could never grant anything.")
	}
	return agent, nil
}

// mayTrust checks that a caller may let a repository have what a policy grants.
// agent is the policy's; nil for bootstrap.
func mayTrust(org *agentidp.Organization, c *Caller, p *agentidp.TrustPolicy, agent *agentidp.Agent) error {
	if p.Bootstrap() {
		return mayBootstrap(c, p)
	}
	if err := mayBind(c, agent, p.Scopes); err != nil {
		return err
	}
	return mayReach(org, c, p.Audiences)
}

// mayBootstrap is mayTrust for a bootstrap policy. Its tokens carry one management
// scope by design, so whoever holds that may let others register.
func mayBootstrap(c *Caller, p *agentidp.TrustPolicy) error {
	if !c.Has(agentidp.ScopeAgentsWrite) {
		return insufficient(agentidp.ScopeAgentsWrite, "A bootstrap policy lets a workflow register agents; its creator needs "+agentidp.ScopeAgentsWrite+" too.")
	}
	if p.TrustRegisteredAgents && !c.Has(agentidp.ScopeAdmin) {
		return insufficient(agentidp.ScopeAdmin,
			"trustRegisteredAgents gives every agent that is registered a policy which grants whatever that agent may do, now and later; only admin may set it.")
	}
	return nil
}

// mayBind checks that a caller may let a repository act as an agent with these
// scopes. The token will bear the agent's name, so whoever is not admin must hold
// all that the agent can do; and must name the scopes, because a policy without
// them follows the agent's capabilities wherever others take them later.
func mayBind(c *Caller, agent *agentidp.Agent, scopes []string) error {
	if c.Has(agentidp.ScopeAdmin) {
		return nil
	}
	if len(scopes) == 0 {
		return insufficient(agentidp.ScopeAdmin,
			"A policy without scopes grants whatever the agent may do, now and later; only admin may create one. Name the scopes, from among those that the caller holds.")
	}
	if err := mayGrant(c, "scopes", scopes); err != nil {
		return err
	}
	return mayGrant(c, "agentId", agent.Capabilities)
}

// checkPin refuses conditions on ids that contradict the identity already pinned.
func checkPin(ctx context.Context, db policyReads, p *agentidp.TrustPolicy) error {
	if p.Repository == "" {
		return nil
	}
	pin, err := db.Pin(ctx, p.OrganizationID, p.Provider, p.Repository)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.Pinned = pin
	var bad []agentidp.FieldError
	for _, f := range []struct{ field, want, pinned string }{
		{"repositoryId", p.RepositoryID, pin.RepositoryID},
		{"repositoryOwnerId", p.RepositoryOwnerID, pin.RepositoryOwnerID},
	} {
		if f.want != "" && f.want != f.pinned {
			bad = append(bad, agentidp.FieldError{Field: f.field, Reason: fmt.Sprintf("is %s, and %s is pinned to %s", f.want, p.Repository, f.pinned)})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &agentidp.Error{Kind: agentidp.Conflict, Code: agentidp.CodePinConflict, Details: bad,
		Message: "The ids contradict the identity that " + p.Repository + " had at its first accepted exchange. Such a policy could never grant anything; correct the ids, or, where the repository was transferred or made anew, repin it first."}
}

// unchanged refuses a replacement that would turn the policy into another one.
func unchanged(old, spec *agentidp.TrustPolicySpec) error {
	var bad []agentidp.FieldError
	for _, f := range []struct{ field, old, new string }{
		{"provider", old.Provider, spec.Provider},
		{"repository", agentidp.FoldRepository(old.Repository), agentidp.FoldRepository(spec.Repository)},
		{"agentId", old.AgentID, spec.AgentID},
	} {
		if f.old != f.new {
			bad = append(bad, agentidp.FieldError{Field: f.field, Reason: "cannot change: delete this policy and create another"})
		}
	}
	if len(bad) > 0 {
		return agentidp.InvalidFields(bad...)
	}
	return nil
}

// mayGrant checks that a caller hands out nothing that it does not hold itself.
// Management scopes are for admin alone to give.
func mayGrant(c *Caller, field string, scopes []string) error {
	missing := c.Missing(scopes)
	if !c.Has(agentidp.ScopeAdmin) {
		for _, s := range scopes {
			if agentidp.IsManagementScope(s) && !slices.Contains(missing, s) {
				missing = append(missing, s)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return insufficient(strings.Join(missing, " "),
		field+" gives authority that the caller may not give: "+strings.Join(missing, ", ")+". A caller gives only scopes that it holds itself, and management scopes are given by admin alone.")
}

func insufficient(scope, message string) error {
	e := agentidp.NewError(agentidp.Denied, agentidp.CodeInsufficientScope, message)
	e.Scope = scope
	return e
}
