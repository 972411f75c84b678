package credential

import (
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// What an event changed is forgotten, and nothing else.
func TestForget(t *testing.T) {
	t.Parallel()
	of := map[string]string{"credentialId": "1"}
	for _, tt := range []struct {
		name  string
		event agentidp.Event
		gone  string
	}{
		{"a credential is revoked", agentidp.Event{OrganizationID: "a", Type: agentidp.EventCredentialRevoked, AgentID: "1", Data: of}, "credential keys"},
		{"a secret is rotated", agentidp.Event{OrganizationID: "a", Type: agentidp.EventCredentialRotated, AgentID: "1", Data: of}, "credential keys"},
		{"its agent is suspended", agentidp.Event{OrganizationID: "a", Type: agentidp.EventAgentSuspended, AgentID: "1"}, "agent"},
		{"another agent is", agentidp.Event{OrganizationID: "a", Type: agentidp.EventAgentSuspended, AgentID: "2"}, ""},
		{"one of the same name in another organization is", agentidp.Event{OrganizationID: "b", Type: agentidp.EventAgentSuspended, AgentID: "1"}, ""},
		{"a policy is deleted", agentidp.Event{OrganizationID: "a", Type: agentidp.EventPolicyDeleted, AgentID: "1"}, ""},
	} {
		a, key := &Authenticator{cache: newCache()}, [2]string{"a", "1"}
		a.cache.credentials.Put(key, &agentidp.Credential{})
		a.cache.signers.Put(key, []signer{})
		a.cache.agents.Put(key, &agentidp.Agent{})
		a.Forget(&tt.event)
		gone := []string{}
		for _, left := range []struct {
			what string
			n    int
		}{{"credential", a.cache.credentials.Len()}, {"keys", a.cache.signers.Len()}, {"agent", a.cache.agents.Len()}} {
			if left.n == 0 {
				gone = append(gone, left.what)
			}
		}
		if got := strings.Join(gone, " "); got != tt.gone {
			t.Errorf("%s: %q is forgotten, want %q", tt.name, got, tt.gone)
		}
		a.ForgetAll()
		if n := a.cache.credentials.Len() + a.cache.signers.Len() + a.cache.agents.Len(); n != 0 {
			t.Errorf("%d entries are left of all", n)
		}
	}
}
