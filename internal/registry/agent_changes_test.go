package registry

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// An auditor finds every delegate that was ever named, however many there were at once;
// what cannot be listed whole says how much is left out.
func TestAnAgentsChangesAreListedWithinABound(t *testing.T) {
	var delegates []string
	for range maxDelegates {
		delegates = append(delegates, agentidp.NewID(time.Unix(1_800_000_000, 0)))
	}
	var audiences, capabilities []string
	for i := range maxAudiences {
		audiences = append(audiences, fmt.Sprintf("https://%s.example/%02d", strings.Repeat("a", maxAudienceLength-19), i))
	}
	for i := range maxCapabilities {
		capabilities = append(capabilities, fmt.Sprintf("deploy:%03d", i))
	}
	full := agentidp.AgentSpec{Name: "a@ci.example", Version: "2", Capabilities: capabilities, Audiences: audiences, MayDelegateTo: delegates}
	empty := agentidp.AgentSpec{Name: "a@ci.example"}
	bounded := strings.Join(audiences[:maxListed/(maxAudienceLength+1)], " ") + " (and 5 more)"
	for name, tt := range map[string]struct {
		old, spec agentidp.AgentSpec
		want      map[string]string
	}{
		"nothing": {full, full, map[string]string{}},
		"all came": {empty, full, map[string]string{
			"changed":             "version capabilities audiences mayDelegateTo",
			"capabilities.added":  strings.Join(capabilities, " "),
			"audiences.added":     bounded,
			"mayDelegateTo.added": strings.Join(delegates, " "),
		}},
		"all went": {full, empty, map[string]string{
			"changed":               "version capabilities audiences mayDelegateTo",
			"capabilities.removed":  strings.Join(capabilities, " "),
			"audiences.removed":     bounded,
			"mayDelegateTo.removed": strings.Join(delegates, " "),
		}},
		"another order": {
			agentidp.AgentSpec{Audiences: []string{"urn:a", "urn:b"}}, agentidp.AgentSpec{Audiences: []string{"urn:b", "urn:a"}},
			map[string]string{"changed": "audiences"},
		},
	} {
		if got := agentChanges(&tt.old, &tt.spec); !maps.Equal(got, tt.want) {
			t.Errorf("%s:\n %v, want\n %v", name, got, tt.want)
		}
	}
}
