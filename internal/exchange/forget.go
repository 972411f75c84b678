package exchange

import (
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Follow is called once after each look for what changed, which began at an instant, with
// all that it found: forget calls Forget or ForgetAll. What is remembered and was not
// forgotten is then as it was at that instant.
func (x *Exchanger) Follow(at time.Time, forget func()) {
	x.cache.looks.Add(1)
	forget()
	x.cache.followed.Store(at.UnixNano())
}

// Forget drops what is remembered of what an event changed. It spares exchanges a second
// round, and the question whether their candidates are still the same (askAgain), and frees
// what is gone. Beyond that no exchange depends on it.
func (x *Exchanger) Forget(e *agentidp.Event) {
	c := x.cache
	switch e.Type {
	case agentidp.EventAgentUpdated, agentidp.EventAgentSuspended, agentidp.EventAgentReactivated, agentidp.EventAgentDecommissioned:
		c.agents.Drop([2]string{e.OrganizationID, e.AgentID})
	case agentidp.EventProviderReplaced, agentidp.EventProviderDeleted:
		c.providers.DropAll(func(key [2]string, p *agentidp.Provider) bool {
			return key[0] == e.OrganizationID && p.Name == e.Data["provider"]
		})
	case agentidp.EventPolicyCreated:
		name := agentidp.FoldRepository(e.Data[agentidp.DataRepository])
		c.candidates.DropAll(func(key cacheKey, r remembered) bool {
			return key.org == e.OrganizationID && (key.repository == name || slices.ContainsFunc(r.policies, func(p *policy.Compiled) bool {
				return agentidp.FoldRepository(p.Policy.Repository) == name
			}))
		})
	case agentidp.EventDatabaseRestored:
		x.ForgetAll()
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
