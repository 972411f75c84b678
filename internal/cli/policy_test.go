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
		"p1 acme/deploy main C enforce - bootstrap 2026-12-01T11:00:00Z 12 2026-12-01T12:00:00Z",
		"p2 sub=build team=dev|ops - - enforce - bootstrap - 0 -",
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

// A grade alone says that a policy grants: whoever sees it sees the mode, on a terminal of
// 80 columns too, whatever the policy says.
func TestTheModeOfAPolicyFitsWhereItsGradeDoes(t *testing.T) {
	t.Parallel()
	p := agentidp.TrustPolicy{ID: anID, MatchCount: 1_000_000, LastMatchedAt: new(time.Now())}
	p.Repository, p.Tag, p.RepositoryID, p.AgentID = strings.Repeat("organization/", 9), strings.Repeat("release-", 9)+"*", "1234567890123", anID
	p.Grade, p.Mode = agentidp.GradeF, agentidp.ModeDisabled
	for _, width := range []int{80, 120} {
		headings, row := make([]string, len(policyColumns)), make([]string, len(policyColumns))
		for i, c := range policyColumns {
			headings[i], row[i] = c.heading, c.value(&p)
		}
		var out strings.Builder
		if err := writeTable(&IO{Out: &out, Err: new(strings.Builder)}, width, headings, [][]string{row}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, " GRADE MODE ") || !strings.Contains(got, " F disabled") {
			t.Errorf("%d columns:\n%s", width, out.String())
		}
	}
}
