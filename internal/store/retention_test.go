package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// removeAll removes what is due, two rows at a time, and says how many went.
func (f *fixture) removeAll(t *testing.T, keep *store.Retention) store.Removed {
	t.Helper()
	var removed store.Removed
	for {
		n, more, err := f.RemoveDue(t.Context(), f.org.ID, keep, 2)
		if err != nil {
			t.Fatal(err)
		}
		removed.Add(n)
		if !more {
			return removed
		}
	}
}

func TestUsedTokensAreForgottenWhenTheyHaveExpired(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		var keys []string
		for _, until := range []time.Duration{0, time.Second, 2 * time.Second, time.Minute} {
			g := f.grant()
			g.ReplayUntil = now.Add(until)
			keys = append(keys, g.ReplayKey)
			if err := f.Issue(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		same(t, f.removeAll(t, &store.Retention{UsedTokens: now.Add(time.Minute)}), store.Removed{UsedTokens: 3}, nil)
		for i, want := range []error{nil, nil, nil, store.ErrReplayed} {
			g := f.grant()
			g.ReplayKey = keys[i]
			if err := f.Issue(t.Context(), g); !errors.Is(err, want) {
				t.Errorf("key %d: %v, want %v", i, err, want)
			}
		}
	})
}

// old is an exchange of some time ago, with its event.
func (f *fixture) old(t *testing.T, ago time.Duration, outcome agentidp.Outcome) (decision, event string) {
	t.Helper()
	at := now.Add(-ago)
	g := f.grant()
	id := agentidp.NewID(at)
	g.Decision.ID, g.Decision.At, g.Token.DecisionID, g.PinEvent = id, at, id, nil
	g.Decision.Claims = json.RawMessage(`{"ref":"refs/heads/main"}`)
	g.Token.IssuedAt, g.Token.ExpiresAt, g.ReplayUntil = at.Truncate(time.Second), at.Truncate(time.Second).Add(time.Hour), at.Add(time.Hour)
	e := f.event(agentidp.EventTokenIssued, id)
	e.ID, e.At = id, at
	var err error
	if outcome == agentidp.OutcomeAllowed {
		g.Events = []agentidp.Event{e}
		err = f.Issue(t.Context(), g)
	} else {
		g.Decision.Outcome, g.Decision.Code, g.Decision.TokenID = outcome, agentidp.CodeBranchNotPermitted, ""
		e.ID, e.Type = agentidp.NewID(at.Add(time.Microsecond)), agentidp.EventExchangeDenied
		err = f.Record(t.Context(), &g.Decision, e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id, e.ID
}

// What is left is what each age says, of this organization alone; and every event of a
// grant that is left is found through its decision.
func TestWhatIsOldIsRemoved(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name                      string
		refusals, grants, events  time.Duration // 0: for ever
		decisions, deniedAre, log string        // how many days old what is left is
		removed                   store.Removed
	}{
		{"nothing", 0, 0, 0, "200 100 50", "200 100 50", "200 200 100 100 50 50", store.Removed{}},
		{"refusals after 90 days", 90 * day, 0, 0, "200 100 50", "50", "200 200 100 100 50 50", store.Removed{Decisions: 2}},
		{"refusals after 90 days, and all after 150", 90 * day, 150 * day, 150 * day, "100 50", "50", "100 100 50 50", store.Removed{Decisions: 3, Events: 2}},
		{"events before decisions", 150 * day, 150 * day, 90 * day, "100 50", "100 50", "50 50", store.Removed{Decisions: 2, Events: 4}},
		{"events alone", 0, 0, 90 * day, "200 100 50", "200 100 50", "50 50", store.Removed{Events: 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachEngine(t, func(t *testing.T, f *fixture) {
				other := *f
				other.addOrganization(t, "other")
				for _, ago := range []time.Duration{50 * day, 100 * day, 200 * day} {
					for _, in := range []*fixture{f, &other} {
						in.old(t, ago, agentidp.OutcomeAllowed)
						in.old(t, ago, agentidp.OutcomeDenied)
					}
				}
				before := func(age time.Duration) time.Time {
					if age == 0 {
						return time.Time{}
					}
					return now.Add(-age)
				}
				keep := &store.Retention{Refusals: before(test.refusals), Grants: before(test.grants), Events: before(test.events)}
				same(t, f.removeAll(t, keep), test.removed, nil)
				same(t, f.removeAll(t, keep), store.Removed{}, nil)
				same(t, f.ages(t, agentidp.OutcomeAllowed), test.decisions, nil)
				same(t, f.ages(t, agentidp.OutcomeDenied), test.deniedAre, nil)
				same(t, agesOf(f.allEvents(t), func(e agentidp.Event) time.Time { return e.At }), test.log, nil)
				same(t, other.ages(t, agentidp.OutcomeAllowed)+" "+other.ages(t, agentidp.OutcomeDenied), "200 100 50 200 100 50", nil)
				for _, e := range f.allEvents(t) {
					found, err := f.Events(t.Context(), f.org.ID, &agentidp.EventFilter{Repository: "acme/deploy", Type: agentidp.EventTokenIssued}, "", 10)
					if e.Type == agentidp.EventTokenIssued && (err != nil || !slices.ContainsFunc(found, func(f agentidp.Event) bool { return f.ID == e.ID })) {
						t.Errorf("the event of a grant %s ago is not found by its repository: %v", now.Sub(e.At), err)
					}
				}
			})
		})
	}
}

// What came with the tokens is kept for less long than what was decided about them, and
// never without it.
func TestClaimsGoBeforeTheirDecisionOrWithIt(t *testing.T) {
	const day = 24 * time.Hour
	before := func(age time.Duration) time.Time { return now.Add(-age) }
	for _, test := range []struct {
		name    string
		keep    store.Retention
		claims  string // how many days old what is left is
		removed store.Removed
	}{
		{"nothing is due", store.Retention{}, "200 200 100 100 50 50", store.Removed{}},
		{"before the decision", store.Retention{Claims: before(90 * day), Refusals: before(400 * day), Grants: before(400 * day)}, "50 50", store.Removed{Claims: 4}},
		{"with refusals alone", store.Retention{Refusals: before(90 * day)}, "200 100 50 50", store.Removed{Decisions: 2}},
		{"with decisions of any outcome", store.Retention{Grants: before(90 * day)}, "50 50", store.Removed{Decisions: 4}},
		{"none are to be kept", store.Retention{Claims: now}, "", store.Removed{Claims: 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachEngine(t, func(t *testing.T, f *fixture) {
				other := *f
				other.addOrganization(t, "other")
				for _, ago := range []time.Duration{50 * day, 100 * day, 200 * day} {
					for _, in := range []*fixture{f, &other} {
						in.old(t, ago, agentidp.OutcomeAllowed)
						in.old(t, ago, agentidp.OutcomeDenied)
					}
				}
				same(t, f.removeAll(t, &test.keep), test.removed, nil)
				same(t, f.removeAll(t, &test.keep), store.Removed{}, nil)
				same(t, f.claimsLeft(t), test.claims, nil)
				same(t, other.claimsLeft(t), "200 200 100 100 50 50", nil)
			})
		})
	}
}

// claimsLeft says how many days old the claims are that are kept. Each is found with its
// decision.
func (f *fixture) claimsLeft(t *testing.T) string {
	t.Helper()
	var left []agentidp.Decision
	for _, id := range store.Strings(t, f.DB, "SELECT decision_id FROM recorded_claims WHERE organization_id = $1 ORDER BY decision_id", f.org.ID) {
		d, err := f.Decision(t.Context(), f.org.ID, id)
		if err != nil {
			t.Fatalf("claims without their decision: %v", err)
		}
		same(t, string(d.Claims), `{"ref":"refs/heads/main"}`, nil)
		left = append(left, *d)
	}
	return agesOf(left, func(d agentidp.Decision) time.Time { return d.At })
}

func (f *fixture) ages(t *testing.T, outcome agentidp.Outcome) string {
	t.Helper()
	all, err := f.Decisions(t.Context(), f.org.ID, &agentidp.DecisionFilter{Outcome: outcome}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	return agesOf(all, func(d agentidp.Decision) time.Time { return d.At })
}

func agesOf[T any](items []T, at func(T) time.Time) string {
	var days []string
	for _, item := range items {
		days = append(days, fmt.Sprint(int(now.Sub(at(item)).Hours()/24)))
	}
	return strings.Join(days, " ")
}

// what is kept of access tokens is bounded by those that live.
func TestRecordsOfAccessTokensGoAfterTheyHaveExpired(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for _, ago := range []time.Duration{3 * time.Hour, 2 * time.Hour, 90 * time.Minute, 30 * time.Minute} { // they live an hour
			f.old(t, ago, agentidp.OutcomeAllowed)
		}
		same(t, f.removeAll(t, &store.Retention{AccessTokens: now}), store.Removed{AccessTokens: 3}, nil)
		same(t, len(store.Strings(t, f.DB, "SELECT id FROM access_tokens WHERE organization_id = $1", f.org.ID)), 1, nil)
		same(t, len(store.Strings(t, f.DB, "SELECT id FROM decisions WHERE organization_id = $1", f.org.ID)), 4, nil)
	})
}

// removals are the tables that grow, and the index that old rows are found by.
var removals = []struct{ table, which, id, sqlite, postgres string }{
	{"events", "", "id", "sqlite_autoindex_events_1", "events_pkey"},
	{"recorded_claims", "", "decision_id", "sqlite_autoindex_recorded_claims_1", "recorded_claims_pkey"},
	{"decisions", "", "id", "sqlite_autoindex_decisions_1", "decisions_pkey"},
	{"decisions", " AND outcome = 'denied'", "id", "decisions_denied", "decisions_denied"},
}

func TestWhatIsOldIsFoundByAnIndexInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, test := range removals {
		choose, remove := store.OldestQuery(test.table, test.which)
		for _, text := range []string{choose, remove} {
			args := []any{f.org.ID, newID(), 100}[:strings.Count(text, "$")]
			plan := strings.Join(store.Plan(t, f.DB, text, args...), "; ")
			if !strings.Contains(plan, "INDEX "+test.sqlite+" (organization_id=? AND "+test.id+"<?)") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s\n%s\nwant %s", text, plan, test.sqlite)
			}
		}
	}
	for _, which := range []string{"", " AND outcome = 'denied'"} {
		text := store.ClaimsOfQuery(which)
		plan := strings.Join(store.Plan(t, f.DB, text, f.org.ID, newID()), "; ")
		if !strings.Contains(plan, "sqlite_autoindex_recorded_claims_1 (organization_id=? AND decision_id=?)") || !strings.Contains(plan, "(organization_id=? AND id<?)") {
			t.Errorf("%s\n%s", text, plan)
		}
	}
}

func TestWhatIsOldIsFoundByAnIndexInPostgreSQL(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	const rows = "FROM generate_series(1, 20000) g"
	store.Exec(t, f.DB, `INSERT INTO decisions (organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id,
			ref, event, run_id, agent_id, policy_id, token_id, checks)
		SELECT $1, lpad(g::text, 8, '0'), '', 0, CASE WHEN g % 10 = 0 THEN 'denied' ELSE 'allowed' END, '', '', '', '', '', '', '', '', '', '', '', '', '[]' `+rows, f.org.ID)
	store.Exec(t, f.DB, `INSERT INTO events (organization_id, id, at, type, actor, agent_id, policy_id, token_id, decision_id, request_id, data)
		SELECT $1, lpad(g::text, 8, '0'), 0, 'token_issued', '', '', '', '', '', '', '{}' `+rows, f.org.ID)
	store.Exec(t, f.DB, `INSERT INTO recorded_claims (organization_id, decision_id, claims) SELECT $1, lpad(g::text, 8, '0'), '{}' `+rows, f.org.ID)
	store.Exec(t, f.DB, "ANALYZE")
	for _, which := range []string{"", " AND outcome = 'denied'"} {
		text := store.ClaimsOfQuery(which)
		plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, f.org.ID, "00000250"), "\n")
		if !strings.Contains(plan, "recorded_claims_pkey") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s\n%s", text, plan)
		}
	}
	for _, test := range removals {
		choose, remove := store.OldestQuery(test.table, test.which)
		for text, args := range map[string][]any{choose: {f.org.ID, "00015000", 250}, remove: {f.org.ID, "00000250"}} {
			plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, args...), "\n")
			if !strings.Contains(plan, test.postgres) || strings.Contains(plan, "Sort") {
				t.Errorf("%s\n%s\nwant %s", text, plan, test.postgres)
			}
		}
	}
}

// A token is judged by those that it came from, so their records must be there as long as
// its own: the one that it was got for never ends before it.
func TestATokensParentIsKeptAsLongAsIt(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		parents := map[string]string{}
		var ends []time.Time
		for i := range 6 {
			end := now.Truncate(time.Second).Add(time.Duration(i/2) * 10 * time.Second)
			parent := f.token(t, func(a *agentidp.AccessToken) { a.ExpiresAt = end })
			for _, earlier := range []time.Duration{10 * time.Second, time.Second, 0} {
				child := f.token(t, func(a *agentidp.AccessToken) { a.ParentID, a.Depth, a.ExpiresAt = parent, 1, end.Add(-earlier) })
				parents[child], ends = parent, append(ends, end.Add(-earlier))
			}
		}
		slices.SortFunc(ends, time.Time.Compare)
		kept := func(id string) bool {
			_, err := f.Token(t.Context(), f.org.ID, id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil
		}
		for _, end := range slices.CompactFunc(ends, time.Time.Equal) {
			f.removeAll(t, &store.Retention{AccessTokens: end.Add(time.Microsecond)})
			for child, parent := range parents {
				if kept(child) && !kept(parent) {
					t.Errorf("%v later a token is there and the one that it was got for is not", end.Sub(now))
				}
			}
		}
		for child := range parents {
			if kept(child) {
				t.Error("one that has expired is left")
			}
		}
	})
}

func TestCredentialsGoLongAfterTheyHaveEnded(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ago := func(d time.Duration) *time.Time { return new(now.Add(-d)) }
		var kept []string
		for _, c := range []struct {
			expires, revoked *time.Time
			kept             bool
		}{
			{nil, nil, true},
			{ago(-time.Hour), nil, true},
			{ago(time.Hour), nil, true},
			{nil, ago(time.Hour), true},
			{ago(3 * time.Hour), nil, false},
			{nil, ago(3 * time.Hour), false},
			{ago(-time.Hour), ago(3 * time.Hour), false},
			{ago(3 * time.Hour), ago(time.Hour), false}, // it had ended before it was revoked
			{ago(3 * time.Hour), ago(4 * time.Hour), false},
		} {
			made := f.newCredential(t, func(m *agentidp.Credential) { m.ExpiresAt, m.RevokedAt = c.expires, c.revoked })
			store.Exec(t, f.DB, "INSERT INTO credential_usage (organization_id, credential_id, last_used_at) VALUES ($1, $2, 1)", f.org.ID, made.CredentialID)
			if c.kept {
				kept = append(kept, made.CredentialID)
			}
		}
		same(t, f.removeAll(t, &store.Retention{}), store.Removed{}, nil)
		same(t, f.removeAll(t, &store.Retention{Credentials: now.Add(-2 * time.Hour)}), store.Removed{Credentials: 5}, nil)
		for _, query := range []string{"SELECT id FROM credentials ORDER BY id", "SELECT credential_id FROM credential_usage ORDER BY credential_id"} {
			same(t, store.Strings(t, f.DB, query), kept, nil)
		}
	})
}
