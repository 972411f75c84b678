package registry

import (
	"fmt"
	"slices"

	"github.com/sentryagent/agentidp"
)

// The bound of a credential: the most that its tokens may carry. Without one they follow
// the agent's capabilities wherever others take them later, and that is admin's to give.
// For whoever else creates one, there is always a bound: or somebody who may not have a
// credential of an agent could take its capabilities away, create one, and wait until
// they are given back.

// checkBound judges a bound in itself.
func checkBound(bad *agentidp.FieldErrors, scopes []string) {
	if len(scopes) > maxCapabilities {
		bad.Refuse("scopes", fmt.Sprintf("has more than %d entries", maxCapabilities))
	}
	for i, s := range scopes {
		field := fmt.Sprintf("scopes[%d]", i)
		switch {
		case !agentidp.IsCapability(s):
			bad.Refuse(field, "must be resource:action, such as deploy:production, 128 bytes at most")
		case slices.Contains(scopes[:i], s):
			bad.Refuse(field, "stands in the list twice")
		}
	}
}

// boundNew returns the bound of a new credential, for a caller who may act as the agent.
// Who asks for none and is not admin gets the agent's capabilities of this moment.
func boundNew(c *Caller, a *agentidp.Agent, asked []string) ([]string, error) {
	if asked == nil {
		if c.Has(agentidp.ScopeAdmin) {
			return nil, nil
		}
		return append([]string{}, a.Capabilities...), nil
	}
	var bad agentidp.FieldErrors
	for i, s := range asked {
		if !slices.Contains(a.Capabilities, s) {
			bad.Refuse(fmt.Sprintf("scopes[%d]", i), "is none of the agent's capabilities; leave it out, or give it to the agent first")
		}
	}
	if len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	return asked, nil
}

// boundAgain returns the bound of a credential that takes another's place: the same. For
// a caller who could have had no such credential made now, it is the part of it that the
// agent has now; admin could, and whoever has the old one does have it.
func boundAgain(c *Caller, a *agentidp.Agent, old *agentidp.Credential) []string {
	switch {
	case c.Has(agentidp.ScopeAdmin), c.CredentialID == old.CredentialID:
		return old.Scopes
	case old.Scopes == nil:
		return append([]string{}, a.Capabilities...)
	}
	return slices.DeleteFunc(slices.Clone(old.Scopes), func(s string) bool { return !slices.Contains(a.Capabilities, s) })
}
