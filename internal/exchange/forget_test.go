package exchange

import (
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// What an event changed is forgotten, and nothing else.
func TestForget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		event agentidp.Event
		gone  string
	}{
		{"an agent is suspended", agentidp.Event{Type: agentidp.EventAgentSuspended, AgentID: "agent"}, "agent"},
		{"an agent is decommissioned", agentidp.Event{Type: agentidp.EventAgentDecommissioned, AgentID: "agent"}, "agent"},
		{"a policy is replaced", agentidp.Event{Type: agentidp.EventPolicyReplaced, PolicyID: "policy", AgentID: "agent"}, "policy"},
		{"a policy is deleted", agentidp.Event{Type: agentidp.EventPolicyDeleted, PolicyID: "policy"}, "policy"},
		{"a pin is taken back", agentidp.Event{Type: agentidp.EventRepositoryRepinned, PolicyID: "policy"}, "policy"},
		{"a policy is created beside it", agentidp.Event{Type: agentidp.EventPolicyCreated, PolicyID: "new", Data: map[string]string{"repository": "Acme/Deploy"}}, "policy"},
		{"a policy is created for a name that has none", agentidp.Event{Type: agentidp.EventPolicyCreated, PolicyID: "new", Data: map[string]string{"repository": "acme/none"}}, "other policy"},
		{"a policy is created for any repository", agentidp.Event{Type: agentidp.EventPolicyCreated, PolicyID: "new"}, ""},
		{"the database is restored", agentidp.Event{Type: agentidp.EventDatabaseRestored}, "agentproviderpolicyother agentother providerother policy"},
		{"a provider is replaced", agentidp.Event{Type: agentidp.EventProviderReplaced, Data: map[string]string{"provider": "provider"}}, "provider"},
		{"a provider is deleted", agentidp.Event{Type: agentidp.EventProviderDeleted, Data: map[string]string{"provider": "provider"}}, "provider"},
		{"something of another organization", agentidp.Event{OrganizationID: "b", Type: agentidp.EventPolicyDeleted, PolicyID: "policy"}, ""},
		{"a provider of another organization", agentidp.Event{OrganizationID: "b", Type: agentidp.EventProviderDeleted, Data: map[string]string{"provider": "provider"}}, ""},
		{"a policy is created in another organization", agentidp.Event{OrganizationID: "b", Type: agentidp.EventPolicyCreated, Data: map[string]string{"repository": "acme/deploy"}}, ""},
		{"an agent of another organization", agentidp.Event{OrganizationID: "b", Type: agentidp.EventAgentSuspended, AgentID: "agent"}, ""},
	} {
		x := New(Config{Clock: time.Now})
		for _, which := range []string{"", "other "} {
			x.cache.agents.Put([2]string{"a", which + "agent"}, &agentidp.Agent{})
			x.cache.providers.Put([2]string{"a", "https://" + which}, &agentidp.Provider{OrganizationID: "a", Name: which + "provider"})
			p := newPolicy("a", which+"policy")
			name := "acme/renamed" // pinned to the same id as the policy's
			if which != "" {
				p.Repository, name = "acme/other", "acme/none"
			}
			x.cache.candidates.Put(cacheKey{org: "a", repository: name}, remembered{policies: []*policy.Compiled{{Policy: p}}})
		}
		if tt.event.OrganizationID == "" {
			tt.event.OrganizationID = "a"
		}
		x.Forget(&tt.event)
		gone := ""
		for _, which := range []string{"", "other "} {
			if _, ok := x.cache.agents.Get([2]string{"a", which + "agent"}); !ok {
				gone += which + "agent"
			}
			if _, ok := x.cache.providers.Get([2]string{"a", "https://" + which}); !ok {
				gone += which + "provider"
			}
			name := "acme/renamed"
			if which != "" {
				name = "acme/none"
			}
			if _, ok := x.cache.candidates.Get(cacheKey{org: "a", repository: name}); !ok {
				gone += which + "policy"
			}
		}
		if gone != tt.gone {
			t.Errorf("%s: %q is forgotten, want %q", tt.name, gone, tt.gone)
		}
		x.ForgetAll()
		if n := x.cache.agents.Len() + x.cache.providers.Len() + x.cache.candidates.Len(); n != 0 {
			t.Errorf("%d entries are left of all", n)
		}
	}
}
