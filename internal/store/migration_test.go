package store_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// fillIn runs what a migration does to rows that are there, and leaves its tables and
// indexes as they are.
func (f *fixture) fillIn(t *testing.T, migration string) {
	t.Helper()
	text, err := os.ReadFile("migrations/" + migration)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if i := max(strings.Index(statement, "UPDATE "), strings.Index(statement, "INSERT INTO ")); i >= 0 {
			store.Exec(t, f.DB, statement[i:])
			ran++
		}
	}
	if ran == 0 {
		t.Fatal("it fills in nothing")
	}
}

// Events of before there were filters for them are found by them too.
func TestOldEventsAreFoundByRepositoryAndCode(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		write := func(after time.Duration, typ agentidp.EventType, change func(*agentidp.Decision, *agentidp.Event)) *agentidp.Event {
			at := now.Add(after)
			d, e := f.grant().Decision, f.event(typ, "")
			d.ID, d.At = agentidp.NewID(at), at
			e.ID, e.At, e.DecisionID, e.Data = agentidp.NewID(at.Add(time.Millisecond)), at.Add(time.Millisecond), d.ID, nil
			change(&d, &e)
			if err := f.Record(t.Context(), &d, e); err != nil {
				t.Fatal(err)
			}
			return &e
		}
		issued := write(0, agentidp.EventTokenIssued, func(*agentidp.Decision, *agentidp.Event) {})
		denied := write(time.Second, agentidp.EventExchangeDenied, func(d *agentidp.Decision, _ *agentidp.Event) {
			d.Outcome, d.Code, d.TokenID = agentidp.OutcomeDenied, agentidp.CodeBranchNotPermitted, ""
		})
		created := write(2*time.Second, agentidp.EventPolicyCreated, func(_ *agentidp.Decision, e *agentidp.Event) { e.DecisionID = "" })
		deleted := write(3*time.Second, agentidp.EventPolicyDeleted, func(_ *agentidp.Decision, e *agentidp.Event) { e.PolicyID, e.DecisionID = "gone", "" })
		f.fillIn(t, "00013_event_filters.sql")
		for _, test := range []struct {
			name   string
			filter agentidp.EventFilter
			want   []string
		}{
			{"all", agentidp.EventFilter{}, []string{deleted.ID, created.ID, denied.ID, issued.DecisionID}},
			{"a repository", agentidp.EventFilter{Repository: "acme/deploy"}, []string{created.ID, denied.ID, issued.DecisionID}},
			{"a code", agentidp.EventFilter{Code: agentidp.CodeBranchNotPermitted}, []string{denied.ID}},
			{"an agent", agentidp.EventFilter{AgentID: f.agent.AgentID}, []string{deleted.ID, created.ID, denied.ID, issued.DecisionID}},
			{"the time of the decision", agentidp.EventFilter{Until: now.Add(time.Microsecond)}, []string{issued.DecisionID}},
		} {
			events, err := f.Events(t.Context(), f.org.ID, &test.filter, "", 10)
			if got := idsOf(t, events, err, eventID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
		}
	})
}

// An agent of before its issuer was recorded gets that of its provider, unless somebody
// else has that name now; and a token that was used stays used.
func TestOldAgentsAndUsedTokensAreTheirIssuers(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		old := func(provider string, registered time.Time) *agentidp.Agent {
			a := newAgent(f.org.ID, newID()+"@acme.example")
			a.RegisteredBy.Provider, a.RegisteredBy.Issuer, a.CreatedAt = provider, "", registered
			f.createAgent(t, a)
			return a
		}
		at := f.provider.CreatedAt
		agents := map[string]*agentidp.Agent{
			"the provider's":            old("ghes", at),
			"its predecessor's":         old("ghes", at.Add(-time.Microsecond)),
			"of the configuration":      old("github", at),
			"of one that is gone":       old("gone", at),
			"an administrator's":        old("", at),
			"of another organization's": nil,
		}
		other := *f
		other.addOrganization(t, "acme")
		other.write(t, func(tx *store.Tx) error { return tx.DeleteProvider(ctx, other.provider) })
		stranger := newAgent(other.org.ID, "x@acme.example")
		stranger.RegisteredBy.Provider, stranger.RegisteredBy.Issuer = "ghes", ""
		other.createAgent(t, stranger)
		agents["of another organization's"] = stranger

		again := f.grant()
		again.Provider = f.provider
		store.Exec(t, f.DB, "INSERT INTO used_tokens VALUES ('"+f.org.ID+"', 'ghes', '"+again.ReplayKey+"', 'd', 1)")
		builtIn := f.grant()
		store.Exec(t, f.DB, "INSERT INTO used_tokens VALUES ('"+f.org.ID+"', 'github', '"+builtIn.ReplayKey+"', 'd', 1)")

		f.fillIn(t, "00017_issuers.sql")
		for name, a := range agents {
			want := ""
			if name == "the provider's" {
				want = f.provider.Issuer
			}
			got, err := f.Agent(ctx, a.OrganizationID, a.AgentID)
			if err != nil || got.RegisteredBy.Issuer != want {
				t.Errorf("%s: %q, want %q; %v", name, got.RegisteredBy.Issuer, want, err)
			}
		}
		for _, g := range []*store.Grant{again, builtIn} {
			if err := f.Issue(ctx, g); !errors.Is(err, store.ErrReplayed) {
				t.Errorf("a token of %s that was used before: %v, want ErrReplayed", g.Provider.Name, err)
			}
		}
	})
}

// A policy of before each had counters is found as one that has granted nothing, and
// what was counted stays.
func TestOldPoliciesThatGrantedNothingAreFound(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		f.createPolicy(t, newPolicy(f.org.ID, "acme/other", "a"))
		unused := newPolicy(f.org.ID, "acme/deploy", "b")
		f.createPolicy(t, unused)
		store.Exec(t, f.DB, "UPDATE policy_usage SET match_count = 7 WHERE policy_id = $1", f.policy.ID)
		store.Exec(t, f.DB, "DELETE FROM policy_usage WHERE policy_id = $1", unused.ID)
		list := func(want ...string) {
			t.Helper()
			policies, err := f.Policies(t.Context(), f.org.ID, &agentidp.PolicyFilter{NeverMatched: true}, "", 10)
			if got := idsOf(t, policies, err, func(p agentidp.TrustPolicy) string { return p.Repository }); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		list("acme/other")
		f.fillIn(t, "00022_policy_lists.sql")
		list("acme/other", "acme/deploy")
		p, err := f.Policy(t.Context(), f.org.ID, f.policy.ID)
		same(t, p.MatchCount, 7, err)
	})
}
