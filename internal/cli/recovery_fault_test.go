//go:build failpoints

package cli

import (
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

// PostgreSQL is copied while servers write, and brought back on another one, which
// servers of another host use then. All that was answered before the copy is there, no
// subject token of before is taken, and no access token of before is good. What came from
// a dump is noticed, and does not serve before that was seen to.
func TestR21PostgresIsBroughtBackElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		noticed bool
		copy    func(t *testing.T, from *pgtest.Cluster, meanwhile func()) (url string)
	}{
		{"from a dump", true, func(t *testing.T, from *pgtest.Cluster, meanwhile func()) string {
			from.Run("pg_dump", "-Fc", "-f", "dump", "-d", from.URL("agentidp"))
			meanwhile()
			to := pgtest.NewCluster(t)
			url := to.CreateDatabase("agentidp")
			to.Run("pg_restore", "-d", url, from.Path("dump"))
			return url
		}},
		{"from a base backup and the archive, as it was at a point in time", false, func(_ *testing.T, from *pgtest.Cluster, meanwhile func()) string {
			to := from.BaseBackup()
			from.Exec("SELECT pg_create_restore_point('then')")
			meanwhile()
			from.Stop("fast") // and archive the rest
			to.Recover(from, "then")
			return to.URL("agentidp")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			from := pgtest.NewCluster(t, pgtest.Archiving...)
			i := newInstallation(t, onThis(from.CreateDatabase("agentidp"))...)
			i.start()
			before := newLedger(i, i.program("admin", "token"))
			before.whileServing(t)()
			after := newLedger(i, before.admin.Token)
			ended := after.whileServing(t)
			url := tt.copy(t, from, func() { ended(); after.whileServing(t)(); i.kill() })

			elsewhere := i.beside("AGENTIDP_DATABASE_URL=" + url)
			if tt.noticed {
				elsewhere.doesNotStart("run: agentidp restore --mark")
			}
			elsewhere.program("restore", "--mark")
			elsewhere.start()
			before.broughtBack(t, elsewhere)
			after.usedNoMore(t, elsewhere)
		})
	}
}

// broughtBack holds the ledger against a server whose database was brought back.
func (l *ledger) broughtBack(t *testing.T, i *installation) {
	t.Helper()
	admin := i.client(i.program("admin", "token"))
	admin.MaxRetries = -1
	for id, last := range l.policies {
		if p, err := admin.GetTrustPolicy(t.Context(), id); err != nil || termsOf(p) != last {
			t.Errorf("policy %s was %v: %v, %v", id, last, p, err)
		}
	}
	for id, status := range l.agents {
		if a, err := admin.GetAgent(t.Context(), id); err != nil || a.Status != status {
			t.Errorf("agent %s was %s: %v, %v", id, status, a, err)
		}
	}
	for _, g := range l.grants {
		d, err := admin.GetDecision(t.Context(), g.decision)
		if err != nil || d.Outcome != agentidp.OutcomeAllowed {
			t.Errorf("decision %s was a grant: %v, %v", g.decision, d, err)
		}
	}
	l.usedNoMore(t, i)
	if len(l.policies) == 0 || len(l.agents) == 0 || len(l.grants) == 0 {
		t.Error("there was nothing to lose")
	}
}

// usedNoMore presents again what grants took and gave, of which the database may know
// nothing any more.
func (l *ledger) usedNoMore(t *testing.T, i *installation) {
	t.Helper()
	anyone := i.client("")
	anyone.MaxRetries = -1
	for _, g := range l.grants {
		_, err := anyone.Exchange(t.Context(), client.ExchangeRequest{Token: g.subject, AgentID: g.agent})
		if _, reason := refusal(err); reason != agentidp.ReasonTokenTooOld {
			t.Errorf("the subject token of decision %s: the server %s", g.decision, said(err))
		}
		_, err = i.client(g.access).ListAgents(t.Context(), agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
		if code, _ := refusal(err); code != agentidp.CodeInvalidToken {
			t.Errorf("the access token of decision %s: the server %s", g.decision, said(err))
		}
	}
}
