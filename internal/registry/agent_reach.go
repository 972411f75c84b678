package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// What an agent reaches beside its capabilities: the services that take the tokens it
// gets with a credential of its own, and the agents that may act for it.

// checkReach judges both lists in themselves. Audiences that are there but empty would
// mean the default where their author meant none.
func checkReach(bad *agentidp.FieldErrors, a *agentidp.AgentSpec) {
	switch n := len(a.Audiences); {
	case n == 0 && a.Audiences != nil:
		bad.Refuse("audiences", "is empty; leave it out for the issuer, or name at least one")
	case n > maxAudiences:
		bad.Refuse("audiences", fmt.Sprintf("has more than %d entries", maxAudiences))
	}
	for i, aud := range a.Audiences {
		field := fmt.Sprintf("audiences[%d]", i)
		switch {
		case !policy.IsAudience(aud):
			bad.Refuse(field, fmt.Sprintf("must be an absolute URI without a fragment (RFC 8707), such as https://deploy.example.com, %d ASCII characters at most", maxAudienceLength))
		case slices.Contains(a.Audiences[:i], aud):
			bad.Refuse(field, "stands in the list twice")
		}
	}
	if len(a.MayDelegateTo) > maxDelegates {
		bad.Refuse("mayDelegateTo", fmt.Sprintf("has more than %d entries", maxDelegates))
	}
	for i, id := range a.MayDelegateTo {
		field := fmt.Sprintf("mayDelegateTo[%d]", i)
		switch {
		case !agentidp.IsID(id):
			bad.Refuse(field, "is not an agent's id; give the UUID in lower case")
		case slices.Contains(a.MayDelegateTo[:i], id):
			bad.Refuse(field, "stands in the list twice")
		}
	}
}

// checkDelegates wants those who are newly named to live. One that is decommissioned
// later stays in the list, and gets nothing.
func checkDelegates(ctx context.Context, tx *store.Tx, a *agentidp.Agent, ids []string) error {
	var bad agentidp.FieldErrors
	for i, id := range ids {
		if slices.Contains(a.MayDelegateTo, id) {
			continue
		}
		field := fmt.Sprintf("mayDelegateTo[%d]", i)
		other, err := tx.Agent(ctx, a.OrganizationID, id)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		case err != nil || other.Status == agentidp.AgentDecommissioned:
			bad.Refuse(field, "names no living agent of this organization")
		case id == a.AgentID:
			bad.Refuse(field, "names the agent itself, which needs nobody's leave; leave it out")
		}
	}
	if len(bad) > 0 {
		return agentidp.InvalidFields(bad...)
	}
	return nil
}

// mayOpen checks that a caller may let others be reached by an agent, or reach others
// through it. Both lend what the agent may do, so whoever is not admin must hold that,
// also what the same patch takes away: it may be given back. A delegate has no bound of
// its own, and follows the agent's capabilities wherever others take them: only admin
// adds one, as only admin creates a policy without scopes.
func mayOpen(org *agentidp.Organization, c *Caller, old, spec *agentidp.AgentSpec) error {
	opened := added(reached(org, old), reached(org, spec))
	if err := mayReach(org, c, opened); err != nil {
		return err
	}
	lent := append(added(spec.Capabilities, old.Capabilities), spec.Capabilities...)
	if len(opened) > 0 {
		if err := mayGrant(c, "audiences", lent); err != nil {
			return err
		}
	}
	return mayName(c, added(old.MayDelegateTo, spec.MayDelegateTo))
}

// mayName keeps it for admin to say who acts for an agent.
func mayName(c *Caller, delegates []string) error {
	if len(delegates) > 0 && !c.Has(agentidp.ScopeAdmin) {
		return insufficient(agentidp.ScopeAdmin,
			"mayDelegateTo lets another agent use whatever the agent may do, now and later; only admin may add to it.")
	}
	return nil
}

// mayReach keeps the management API for admin to open.
func mayReach(org *agentidp.Organization, c *Caller, audiences []string) error {
	if slices.Contains(audiences, org.ManagementAudience()) && !c.Has(agentidp.ScopeAdmin) {
		return insufficient(agentidp.ScopeAdmin, "audiences lists "+org.ManagementAudience()+", which opens the management API to the agent; only admin may do that.")
	}
	return nil
}

// reached is what an agent may ask for: what it lists, or the issuer.
func reached(org *agentidp.Organization, a *agentidp.AgentSpec) []string {
	if len(a.Audiences) == 0 {
		return []string{org.Issuer}
	}
	return a.Audiences
}

// added returns what is in a list and was not in the one before.
func added(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(s string) bool { return slices.Contains(before, s) })
}
