package exchange

import (
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Forget drops what is remembered of what an event changed. No exchange depends on it: it
// spares them a second round, and frees what is gone. A new policy is not looked for: what
// is remembered beside it is asked about within a second (askAgain).
func (x *Exchanger) Forget(e *agentidp.Event) {
	c := x.cache
	switch e.Type {
	case agentidp.EventAgentUpdated, agentidp.EventAgentSuspended, agentidp.EventAgentReactivated, agentidp.EventAgentDecommissioned:
		c.agents.Drop([2]string{e.OrganizationID, e.AgentID})
	case agentidp.EventProviderReplaced, agentidp.EventProviderDeleted:
		c.providers.DropAll(func(key [2]string, p *agentidp.Provider) bool {
			return key[0] == e.OrganizationID && p.Name == e.Data["provider"]
		})
	case agentidp.EventPolicyReplaced, agentidp.EventPolicyDeleted, agentidp.EventRepositoryRepinned:
		c.candidates.DropAll(func(key cacheKey, r remembered) bool {
			return key.org == e.OrganizationID && slices.ContainsFunc(r.policies, func(p *policy.Compiled) bool { return p.Policy.ID == e.PolicyID })
		})
	}
}

// ForgetAll drops all that is remembered, where nobody knows what has changed.
func (x *Exchanger) ForgetAll() {
	x.cache.agents.DropAll(func([2]string, *agentidp.Agent) bool { return true })
	x.cache.providers.DropAll(func([2]string, *agentidp.Provider) bool { return true })
	x.cache.candidates.DropAll(func(cacheKey, remembered) bool { return true })
}
