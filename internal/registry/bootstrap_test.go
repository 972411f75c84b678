package registry

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Each field of a bootstrap policy either goes to the policies of its agents or is
// known to be about bootstrap alone; one that is added later goes there, and if it
// may not, the result is no valid policy and this fails.
func TestThePolicyOfARegisteredAgentSaysAllThatItsBootstrapPolicySays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	kind := &agentidp.ProviderKind{Name: "github", DefaultEvents: []string{"push"}}
	end := now.Add(time.Hour)
	said := agentidp.TrustPolicySpec{
		Provider: "github", Repository: "Acme/Deploy", Branch: "main", RepositoryID: "74", RepositoryOwnerID: "65", Events: []string{"push", "schedule"},
		TokenTTLSeconds: 60, MaxAgents: 3, AgentNamePattern: "*@ci.acme.example", TrustRegisteredAgents: true, Mode: agentidp.ModeEnforce,
		ExpiresAt: &end, Description: "lets acme register",
	}
	tagged := said
	tagged.Branch, tagged.Tag = "", "v*"
	agent := &agentidp.Agent{AgentID: agentidp.NewID(now), AgentSpec: agentidp.AgentSpec{Name: "deployer@ci.acme.example"}}
	changed := []string{"AgentID", "TokenTTLSeconds", "MaxAgents", "AgentNamePattern", "TrustRegisteredAgents", "Description"}
	used := map[string]bool{"Scopes": true, "Audiences": true} // which no bootstrap policy has
	for _, bootstrap := range []agentidp.TrustPolicySpec{said, tagged} {
		if bad := policy.Validate(&bootstrap, kind, now); len(bad) > 0 {
			t.Fatalf("the test's own policy: %v", bad)
		}
		got := policyOf(agent, &agentidp.TrustPolicy{ID: "p1", TrustPolicySpec: bootstrap})
		if bad := policy.Validate(&got, kind, now); len(bad) > 0 || got.Bootstrap() {
			t.Errorf("%+v: %v", got, bad)
		}
		from, to := reflect.ValueOf(bootstrap), reflect.ValueOf(got)
		for i := range from.NumField() {
			name := from.Type().Field(i).Name
			if same := reflect.DeepEqual(from.Field(i).Interface(), to.Field(i).Interface()); same == slices.Contains(changed, name) {
				t.Errorf("%s: %v became %v", name, from.Field(i), to.Field(i))
			}
			if !from.Field(i).IsZero() || name == "AgentID" {
				used[name] = true
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[agentidp.TrustPolicySpec]()) {
		if !used[field.Name] {
			t.Errorf("the test leaves %s empty", field.Name)
		}
	}
}
