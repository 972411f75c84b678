package store_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// said changes a decision to one about a run, whose claims are kept.
func said(provider, repository, repositoryID, agentID string) func(*agentidp.Decision, *agentidp.Event) {
	return func(d *agentidp.Decision, _ *agentidp.Event) {
		d.Provider, d.Repository, d.RepositoryID, d.AgentID = provider, repository, repositoryID, agentID
		d.Claims = json.RawMessage(`{"repository":"` + repository + `"}`)
	}
}

func TestThePastThatAPolicyIsAbout(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		at := now
		made := func(change ...func(*agentidp.Decision, *agentidp.Event)) string {
			at = at.Add(time.Second)
			return f.record(t, at, func(d *agentidp.Decision, e *agentidp.Event) {
				for _, c := range change {
					c(d, e)
				}
			})
		}
		first := made(said("github", "Acme/Deploy", "74", "a"))
		bootstrap := made(said("github", "acme/deploy", "74", ""))
		made(said("ghes", "acme/deploy", "74", "a"))
		other := made(said("github", "acme/deploy", "74", "b"))
		refused := made(said("github", "acme/deploy", "74", "a"), deny(agentidp.CodeBranchNotPermitted))
		made(said("github", "acme/deploy", "74", "a"), deny(agentidp.CodeInvalidToken))
		made(said("github", "acme/deploy", "74", "a"), deny(agentidp.CodeInvalidDPoPProof))
		renamed := made(said("github", "acme/ship", "74", "a"))
		imposter := made(said("github", "acme/deploy", "99", "a"))
		workload := made(said("cluster", "", "", "a"))
		registrar := made(said("cluster", "", "", ""))
		without := made(said("cluster", "", "", "a"), func(d *agentidp.Decision, _ *agentidp.Event) { d.Claims = nil })
		own := f.org.ID
		f.addOrganization(t, "other")
		made(said("github", "acme/deploy", "74", "a"))

		for _, test := range []struct {
			name  string
			past  store.Past
			limit int
			want  []string
			more  bool
		}{
			{"of a name and an agent", store.Past{Provider: "github", Repository: "ACME/deploy", AgentID: "a"}, 10, []string{imposter, refused, first}, false},
			{"of a name and of the id that it is pinned to", store.Past{Provider: "github", Repository: "acme/deploy", RepositoryID: "74", AgentID: "a"}, 10, []string{imposter, renamed, refused, first}, false},
			{"the newest of them", store.Past{Provider: "github", Repository: "acme/deploy", RepositoryID: "74", AgentID: "a"}, 2, []string{imposter, renamed}, true},
			{"just as many as there are", store.Past{Provider: "github", Repository: "acme/deploy", RepositoryID: "74", AgentID: "a"}, 4, []string{imposter, renamed, refused, first}, false},
			{"of another agent", store.Past{Provider: "github", Repository: "acme/deploy", AgentID: "b"}, 10, []string{other}, false},
			{"of bootstrap", store.Past{Provider: "github", Repository: "acme/deploy", RepositoryID: "74"}, 10, []string{bootstrap}, false},
			{"since an instant", store.Past{Provider: "github", Repository: "acme/deploy", AgentID: "a", Since: now.Add(5 * time.Second)}, 10, []string{imposter, refused}, false},
			{"of a provider without repositories", store.Past{Provider: "cluster", AgentID: "a"}, 10, []string{without, workload}, false},
			{"of its bootstrap", store.Past{Provider: "cluster"}, 10, []string{registrar}, false},
			{"of a provider with repositories, and of none of these", store.Past{Provider: "github", AgentID: "a"}, 10, []string{}, false},
		} {
			found, more, err := f.Recorded(t.Context(), own, &test.past, test.limit)
			if got := idsOf(t, found, err, decisionID); !slices.Equal(got, test.want) || more != test.more {
				t.Errorf("%s: %v and more %v, want %v and %v", test.name, got, more, test.want, test.more)
			}
			for _, d := range found {
				if kept := string(d.Claims); (d.ID == without) != (kept == "") || kept != "" && kept != `{"repository":"`+d.Repository+`"}` {
					t.Errorf("%s: of %s the claims %q are kept", test.name, d.ID, kept)
				}
			}
		}
	})
}

// However much a repository does for other agents, a look at its past ends.
func TestALookAtThePastIsBounded(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		const rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) "
		at := now.Add(time.Hour)
		oldest := f.record(t, now, said("github", "acme/deploy", "74", "a"))
		store.Exec(t, f.DB, `INSERT INTO decisions (organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id,
				ref, event, run_id, agent_id, policy_id, token_id, checks, repository_folded)
			`+rows+`SELECT $1, $3 || (100000 + i), '', $4, 'allowed', '', '', 'github', 'acme/deploy', '', '', '', '', '', 'b', '', '', '[]', 'acme/deploy' FROM n`,
			f.org.ID, store.MaxPast, agentidp.FirstID(at)[:30], at.UnixMicro())
		found, more, err := f.Recorded(t.Context(), f.org.ID, &store.Past{Provider: "github", Repository: "acme/deploy", AgentID: "a"}, 10)
		if err != nil || len(found) != 0 || !more {
			t.Errorf("%d found and more %v, %v", len(found), more, err)
		}
		found, more, err = f.Recorded(t.Context(), f.org.ID, &store.Past{Provider: "github", Repository: "acme/deploy", RepositoryID: "74", AgentID: "a"}, 10)
		if ids := idsOf(t, found, err, decisionID); !slices.Equal(ids, []string{oldest}) || !more {
			t.Errorf("by its id %v are found and more %v", ids, more)
		}
	})
}

// pasts are what a past can be led by, and the index that each reads.
var pasts = []struct{ column, value, sqlite, postgres string }{
	{"repository_folded", "o/r7", "decisions_repository", "decisions_repository"},
	{"repository_id", "7", "decisions_repository_id", "decisions_repository_id"},
	{"agent_id", "a7", "decisions_agent", "decisions_agent"},
	{"agent_id", "", "sqlite_autoindex_decisions_1", "decisions_pkey"},
}

func TestThePastIsServedByIndexesInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, test := range pasts {
		text, args := store.PastQuery(f.org.ID, &store.Past{Provider: "p", AgentID: "a7", Since: now}, test.column, test.value, newID())
		plan := strings.Join(store.Plan(t, f.DB, text, args...), "; ")
		if !strings.Contains(plan, "USING INDEX "+test.sqlite+" ") || !strings.Contains(plan, "sqlite_autoindex_recorded_claims_1 (organization_id=? AND decision_id=?)") ||
			strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "SCAN decisions") {
			t.Errorf("%s\n%s\nwant %s", text, plan, test.sqlite)
		}
	}
}

func TestThePastIsServedByIndexesInPostgreSQL(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	const rows = "FROM generate_series(1, 20000) g"
	store.Exec(t, f.DB, `INSERT INTO decisions (organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id,
			ref, event, run_id, agent_id, policy_id, token_id, checks, repository_folded)
		SELECT $1, lpad(g::text, 8, '0'), '', g, 'allowed', '', '', 'p' || g % 10, '', g % 1000, '', '', '', '', 'a' || g % 1000, '', '', '[]', 'o/r' || g % 1000 `+rows, f.org.ID)
	store.Exec(t, f.DB, `INSERT INTO recorded_claims (organization_id, decision_id, claims) SELECT $1, lpad(g::text, 8, '0'), '{}' `+rows, f.org.ID)
	store.Exec(t, f.DB, "ANALYZE")
	for _, test := range pasts {
		text, args := store.PastQuery(f.org.ID, &store.Past{Provider: "p7", AgentID: "a7"}, test.column, test.value, "00015000")
		plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, args...), "\n")
		if !strings.Contains(plan, "using "+test.postgres+" on decisions") || !strings.Contains(plan, "using recorded_claims_pkey") || strings.Contains(plan, "Sort") {
			t.Errorf("%s\n%s\nwant %s", text, plan, test.postgres)
		}
	}
}
