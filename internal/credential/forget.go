package credential

import "github.com/sentryagent/agentidp"

// Forget drops what is remembered of what an event changed. Nobody is authenticated by
// what it forgets or leaves: it spares a second round, and frees what is gone.
func (a *Authenticator) Forget(e *agentidp.Event) {
	agent := [2]string{e.OrganizationID, e.AgentID}
	switch e.Type {
	case agentidp.EventCredentialRotated, agentidp.EventCredentialRevoked:
		a.cache.credentials.Drop([2]string{e.OrganizationID, e.Data["credentialId"]})
		a.cache.signers.Drop(agent)
	case agentidp.EventAgentUpdated, agentidp.EventAgentSuspended, agentidp.EventAgentReactivated, agentidp.EventAgentDecommissioned:
		a.cache.agents.Drop(agent)
	}
}

// ForgetAll drops all that is remembered, where nobody knows what has changed.
func (a *Authenticator) ForgetAll() {
	a.cache.credentials.DropAll(func([2]string, *agentidp.Credential) bool { return true })
	a.cache.signers.DropAll(func([2]string, []signer) bool { return true })
	a.cache.agents.DropAll(func([2]string, *agentidp.Agent) bool { return true })
}
