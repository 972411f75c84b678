package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// Where there is no repository, lists say by what a policy, an agent's registration or
// an exchange is known instead.
func TestListsOfCallersWithoutARepository(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	std := &IO{Out: &out}
	table := &Listing{Output: "table"}

	github, cluster := agentidp.TrustPolicy{ID: "p1"}, agentidp.TrustPolicy{ID: "p2"}
	github.Repository, github.Branch, github.Mode = "acme/deploy", "main", agentidp.ModeEnforce
	github.Claims = agentidp.ClaimConditions{"runner_environment": {"github-hosted"}}
	end := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	github.Grade, github.MatchCount, github.LastMatchedAt, github.ExpiresAt = agentidp.GradeC, 12, new(end.Add(-time.Hour)), &end
	cluster.Mode = agentidp.ModeEnforce
	cluster.Claims = agentidp.ClaimConditions{"team": {"dev", "ops"}, "sub": {"build"}}
	if err := printList(std, table, policyColumns, every([]agentidp.TrustPolicy{github, cluster})); err != nil {
		t.Fatal(err)
	}
	agent := agentidp.Agent{AgentID: "a1", RegisteredBy: agentidp.RegisteredBy{Subject: "policy:p2", Provider: "cluster", WorkloadSubject: "build"}}
	if err := printList(std, table, agentColumns, every([]agentidp.Agent{agent})); err != nil {
		t.Fatal(err)
	}
	decision := agentidp.Decision{ID: "d1", Outcome: agentidp.OutcomeAllowed, Provider: "cluster", Subject: "build"}
	own := agentidp.Decision{ID: "d2", Outcome: agentidp.OutcomeAllowed, GrantType: agentidp.GrantClientCredentials, AgentID: "a2", CredentialID: "c2"}
	bearer := agentidp.Decision{ID: "d3", Outcome: agentidp.OutcomeDenied, Code: "x", GrantType: agentidp.GrantJWTBearer, Repository: "acme/deploy", AgentID: "a3"}
	if err := printList(std, table, decisionColumns, every([]agentidp.Decision{decision, own, bearer})); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"p1 acme/deploy - main C bootstrap enforce 2026-12-01T11:00:00Z 12 2026-12-01T12:00:00Z",
		"p2 sub=build team=dev|ops - - - bootstrap enforce - 0 -",
		"a1 - - 0001-01-01T00:00:00Z build",
		"allowed - - - build - - - - - -",
		"allowed - - client_credentials a2 - - - - a2 - c2",
		"denied x - jwt-bearer acme/deploy - - - - a3",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
