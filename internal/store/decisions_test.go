package store_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// record writes a decision of the fixture's usual run, made at the given time and
// changed by change, with one event, and returns its id.
func (f *fixture) record(t testing.TB, at time.Time, change func(*agentidp.Decision, *agentidp.Event)) string {
	t.Helper()
	d := f.grant().Decision
	e := f.event(agentidp.EventTokenIssued, "")
	d.ID, d.At, e.At = agentidp.NewID(at), at, at
	if change != nil {
		change(&d, &e)
	}
	e.ID, e.DecisionID = d.ID, d.ID
	if err := f.Record(t.Context(), &d, e); err != nil {
		t.Fatal(err)
	}
	return d.ID
}

func decisionID(d agentidp.Decision) string { return d.ID }
func eventID(e agentidp.Event) string       { return e.ID }

// idsOf returns the ids of what a list has.
func idsOf[T any](t testing.TB, items []T, err error, id func(T) string) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, item := range items {
		all = append(all, id(item))
	}
	return all
}

// deny makes the decision a denial.
func deny(code string) func(*agentidp.Decision, *agentidp.Event) {
	return func(d *agentidp.Decision, e *agentidp.Event) {
		d.Outcome, d.Code, d.TokenID, e.Type = agentidp.OutcomeDenied, code, "", agentidp.EventExchangeDenied
	}
}

func TestDecisionsAreFiltered(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		usual := f.record(t, now, nil)
		branch := f.record(t, now.Add(time.Second), deny(agentidp.CodeBranchNotPermitted))
		scope := f.record(t, now.Add(2*time.Second), deny(agentidp.CodeInvalidScope))
		renamed := f.record(t, now.Add(3*time.Second), func(d *agentidp.Decision, _ *agentidp.Event) { d.Repository = "acme/ship" })
		bootstrap := f.record(t, now.Add(4*time.Second), func(d *agentidp.Decision, _ *agentidp.Event) {
			d.AgentID, d.PolicyID, d.RepositoryID = "", "p", "75"
		})
		own := *f
		f.addOrganization(t, "other")
		f.record(t, now, nil)

		for _, test := range []struct {
			name   string
			filter agentidp.DecisionFilter
			want   []string
		}{
			{"nothing asked", agentidp.DecisionFilter{}, []string{bootstrap, renamed, scope, branch, usual}},
			{"a name in another case", agentidp.DecisionFilter{Repository: "ACME/deploy"}, []string{bootstrap, scope, branch, usual}},
			{"a name that was taken later", agentidp.DecisionFilter{Repository: "acme/ship"}, []string{renamed}},
			{"an id, whatever the name", agentidp.DecisionFilter{RepositoryID: "74"}, []string{renamed, scope, branch, usual}},
			{"an agent", agentidp.DecisionFilter{AgentID: own.agent.AgentID}, []string{renamed, scope, branch, usual}},
			{"another organization's agent", agentidp.DecisionFilter{AgentID: f.agent.AgentID}, []string{}},
			{"a policy", agentidp.DecisionFilter{PolicyID: "p"}, []string{bootstrap}},
			{"a code", agentidp.DecisionFilter{Code: agentidp.CodeInvalidScope}, []string{scope}},
			{"what was denied", agentidp.DecisionFilter{Outcome: agentidp.OutcomeDenied}, []string{scope, branch}},
			{"what was allowed", agentidp.DecisionFilter{Outcome: agentidp.OutcomeAllowed}, []string{bootstrap, renamed, usual}},
			{"a code, and what was allowed", agentidp.DecisionFilter{Code: agentidp.CodeInvalidScope, Outcome: agentidp.OutcomeAllowed}, []string{}},
			{"a name and an id", agentidp.DecisionFilter{Repository: "acme/deploy", RepositoryID: "75"}, []string{bootstrap}},
			{"from an instant on, itself included", agentidp.DecisionFilter{Since: now.Add(3 * time.Second)}, []string{bootstrap, renamed}},
			{"a microsecond later", agentidp.DecisionFilter{Since: now.Add(3*time.Second + time.Microsecond)}, []string{bootstrap}},
			{"until an instant, itself excluded", agentidp.DecisionFilter{Until: now.Add(time.Second)}, []string{usual}},
			{"until a microsecond later", agentidp.DecisionFilter{Until: now.Add(time.Second + time.Microsecond)}, []string{branch, usual}},
			{"between, and denied", agentidp.DecisionFilter{Since: now, Until: now.Add(2 * time.Second), Outcome: agentidp.OutcomeDenied}, []string{branch}},
			{"all at once", agentidp.DecisionFilter{
				Repository: "acme/Deploy", RepositoryID: "74", AgentID: own.agent.AgentID, PolicyID: own.policy.ID, Code: agentidp.CodeInvalidScope,
				Outcome: agentidp.OutcomeDenied, Since: now, Until: now.Add(time.Hour),
			}, []string{scope}},
		} {
			decisions, err := f.Decisions(t.Context(), own.org.ID, &test.filter, "", 10)
			if got := idsOf(t, decisions, err, decisionID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
		}
	})
}

func TestADecisionInAListIsTheOneThatIsReadButForItsChecks(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		id := f.record(t, now, deny(agentidp.CodeBranchNotPermitted))
		list, err := f.Decisions(t.Context(), f.org.ID, &agentidp.DecisionFilter{}, "", 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		read, err := f.Decision(t.Context(), f.org.ID, id)
		if err != nil || len(read.Checks) != 3 {
			t.Fatalf("%v, %v", read, err)
		}
		read.Checks = nil
		same(t, &list[0], read, nil)
	})
}

func TestEventsAreFiltered(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		made := func(after time.Duration, typ agentidp.EventType, agentID, policyID, repository, code string) string {
			return f.record(t, now.Add(after), func(d *agentidp.Decision, e *agentidp.Event) {
				d.AgentID, d.PolicyID, d.Repository = agentID, policyID, repository
				e.Type, e.AgentID, e.PolicyID, e.Data = typ, agentID, policyID, map[string]string{"repository": repository, "code": code}
				if typ == agentidp.EventTokenIssued { // as the exchange writes it
					e.Data = nil
				} else {
					d.Outcome, d.Code = agentidp.OutcomeDenied, agentidp.CodeTrustPolicyViolation
				}
			})
		}
		const branch = agentidp.CodeBranchNotPermitted
		issued := made(0, agentidp.EventTokenIssued, "a", "p", "Acme/Deploy", "")
		denied := made(1*time.Second, agentidp.EventExchangeDenied, "a", "q", "acme/deploy", branch)
		deleted := made(2*time.Second, agentidp.EventPolicyDeleted, "b", "p", "ACME/deploy", "")
		later := made(3*time.Second, agentidp.EventTokenIssued, "a", "q", "acme/ship", "")
		org := f.org.ID
		f.addOrganization(t, "other")
		made(4*time.Second, agentidp.EventTokenIssued, "a", "p", "acme/deploy", "")
		made(5*time.Second, agentidp.EventExchangeDenied, "a", "q", "acme/deploy", branch)

		for _, test := range []struct {
			name   string
			filter agentidp.EventFilter
			want   []string
		}{
			{"nothing asked", agentidp.EventFilter{}, []string{later, deleted, denied, issued}},
			{"an agent", agentidp.EventFilter{AgentID: "a"}, []string{later, denied, issued}},
			{"a policy", agentidp.EventFilter{PolicyID: "p"}, []string{deleted, issued}},
			{"a repository, in whatever case", agentidp.EventFilter{Repository: "acme/DEPLOY"}, []string{deleted, denied, issued}},
			{"a repository, and what is frequent", agentidp.EventFilter{Repository: "acme/deploy", Type: agentidp.EventTokenIssued}, []string{issued}},
			{"a repository, and what is not", agentidp.EventFilter{Repository: "acme/deploy", Type: agentidp.EventExchangeDenied}, []string{denied}},
			{"a code", agentidp.EventFilter{Code: branch}, []string{denied}},
			{"a code that only the decision has", agentidp.EventFilter{Code: agentidp.CodeTrustPolicyViolation}, []string{}},
			{"a code, of what has none", agentidp.EventFilter{Code: branch, Type: agentidp.EventTokenIssued}, []string{}},
			{"a code, an agent and a repository", agentidp.EventFilter{Code: branch, AgentID: "a", Repository: "acme/deploy"}, []string{denied}},
			{"an agent and a repository", agentidp.EventFilter{AgentID: "a", Repository: "acme/ship"}, []string{later}},
			{"an agent, from an instant on", agentidp.EventFilter{AgentID: "a", Since: now.Add(time.Second)}, []string{later, denied}},
			{"a repository, until an instant", agentidp.EventFilter{Repository: "acme/deploy", Until: now.Add(2 * time.Second)}, []string{denied, issued}},
			{"what is frequent", agentidp.EventFilter{Type: agentidp.EventTokenIssued}, []string{later, issued}},
			{"what is not", agentidp.EventFilter{Type: agentidp.EventPolicyDeleted}, []string{deleted}},
			{"an agent and a policy", agentidp.EventFilter{AgentID: "a", PolicyID: "p"}, []string{issued}},
			{"from an instant on", agentidp.EventFilter{Since: now.Add(time.Second)}, []string{later, deleted, denied}},
			{"until an instant", agentidp.EventFilter{Until: now.Add(time.Second)}, []string{issued}},
			{"what nothing is", agentidp.EventFilter{AgentID: "b", Type: agentidp.EventTokenIssued}, []string{}},
		} {
			events, err := f.Events(t.Context(), org, &test.filter, "", 10)
			if got := idsOf(t, events, err, eventID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
			got := []string{} // one to a page, it is the same
			for cursor := ""; ; cursor = got[len(got)-1] {
				events, err := f.Events(t.Context(), org, &test.filter, cursor, 1)
				page := idsOf(t, events, err, eventID)
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s, in pages: %v, want %v", test.name, got, test.want)
			}
		}
	})
}

// Whoever walks the pages while exchanges go on meets each record once.
func TestPagesStandStillWhileRecordsAreAdded(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		var want []string
		for i := range 7 {
			want = append(want, f.record(t, now.Add(time.Duration(i)*time.Millisecond), nil))
		}
		slices.Reverse(want)
		later := now.Add(time.Second)
		for _, until := range []time.Time{later, {}} {
			var decisions, events []string
			for cursor := ""; ; cursor = decisions[len(decisions)-1] {
				ds, err := f.Decisions(t.Context(), f.org.ID, &agentidp.DecisionFilter{AgentID: f.agent.AgentID, Until: until}, cursor, 2)
				page := idsOf(t, ds, err, decisionID)
				es, err := f.Events(t.Context(), f.org.ID, &agentidp.EventFilter{PolicyID: f.policy.ID, Until: until}, cursor, 2)
				events = append(events, idsOf(t, es, err, eventID)...)
				if len(page) == 0 {
					break
				}
				decisions = append(decisions, page...)
				f.record(t, later, nil)
			}
			same(t, decisions[len(decisions)-len(want):], want, nil)
			same(t, events, decisions, nil)
		}
	})
}

// A list that is narrowed by one thing reads what it shows, however much the
// organization has done.
func TestFiltersAreServedByIndexesInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, test := range []struct {
		index  string
		filter agentidp.DecisionFilter
	}{
		{"sqlite_autoindex_decisions_1", agentidp.DecisionFilter{}},
		{"sqlite_autoindex_decisions_1", agentidp.DecisionFilter{Outcome: agentidp.OutcomeAllowed}},
		{"decisions_denied", agentidp.DecisionFilter{Outcome: agentidp.OutcomeDenied}},
		{"decisions_code", agentidp.DecisionFilter{Code: "c"}},
		{"decisions_code", agentidp.DecisionFilter{Code: "c", Outcome: agentidp.OutcomeDenied}},
		{"decisions_repository", agentidp.DecisionFilter{Repository: "a/b"}},
		{"decisions_repository", agentidp.DecisionFilter{Repository: "a/b", Outcome: agentidp.OutcomeAllowed}},
		{"decisions_repository", agentidp.DecisionFilter{Repository: "a/b", Outcome: agentidp.OutcomeDenied}},
		{"decisions_repository", agentidp.DecisionFilter{Repository: "a/b", Code: "c"}},
		{"decisions_repository_id", agentidp.DecisionFilter{RepositoryID: "1"}},
		{"decisions_repository_id", agentidp.DecisionFilter{RepositoryID: "1", Repository: "a/b"}},
		{"decisions_agent", agentidp.DecisionFilter{AgentID: "a"}},
		{"decisions_agent", agentidp.DecisionFilter{AgentID: "a", Repository: "a/b", Code: "c"}},
		{"decisions_policy", agentidp.DecisionFilter{PolicyID: "p"}},
		{"decisions_policy", agentidp.DecisionFilter{PolicyID: "p", AgentID: "a", RepositoryID: "1", Repository: "a/b", Code: "c", Outcome: agentidp.OutcomeDenied}},
	} {
		for _, times := range [][2]time.Time{{}, {now, now.Add(time.Hour)}} {
			test.filter.Since, test.filter.Until = times[0], times[1]
			text, args := store.DecisionsQuery(f.org.ID, &test.filter, newID(), 10)
			usesIndex(t, f, test.index, text, args)
		}
	}
	for _, test := range []struct {
		indexes string // of each part, the first that is read first
		filter  agentidp.EventFilter
	}{
		{"sqlite_autoindex_events_1", agentidp.EventFilter{}},
		{"sqlite_autoindex_events_1", agentidp.EventFilter{Type: agentidp.EventTokenIssued}},
		{"events_type", agentidp.EventFilter{Type: agentidp.EventPolicyDeleted}},
		{"events_code", agentidp.EventFilter{Code: "c"}},
		{"events_code", agentidp.EventFilter{Code: "c", Type: agentidp.EventExchangeDenied}},
		{"events_repository", agentidp.EventFilter{Repository: "a/b", Code: "c"}},
		{"events_repository", agentidp.EventFilter{Repository: "a/b", Type: agentidp.EventPolicyDeleted}},
		{"events_agent", agentidp.EventFilter{AgentID: "a", Repository: "a/b", Code: "c"}},
		{"events_policy", agentidp.EventFilter{PolicyID: "p", AgentID: "a", Type: agentidp.EventPolicyDeleted}},
		{"sqlite_autoindex_events_1 decisions_agent", agentidp.EventFilter{AgentID: "a", Type: agentidp.EventTokenIssued}},
		{"sqlite_autoindex_events_1 decisions_repository", agentidp.EventFilter{Repository: "a/b", Type: agentidp.EventTokenIssued}},
		{"events_agent sqlite_autoindex_events_1 decisions_agent", agentidp.EventFilter{AgentID: "a"}},
		{"events_policy sqlite_autoindex_events_1 decisions_policy", agentidp.EventFilter{PolicyID: "p", Repository: "a/b"}},
		{"events_repository sqlite_autoindex_events_1 decisions_repository", agentidp.EventFilter{Repository: "a/b"}},
	} {
		for _, times := range [][2]time.Time{{}, {now, now.Add(time.Hour)}} {
			test.filter.Since, test.filter.Until = times[0], times[1]
			text, args := store.EventsQuery(f.org.ID, &test.filter, newID(), 10)
			usesIndexes(t, f, test.indexes, text, args)
		}
	}
}

var planned = regexp.MustCompile(`^SEARCH (?:events|decisions) USING INDEX (\w+) \(organization_id=\? AND .*(?:id<\?|id\)<\(\?,\?\)|id=\?)`)

// usesIndexes is usesIndex for a query of several parts, each of which is bounded by
// ids. What is read of tables otherwise would be a scan.
func usesIndexes(t *testing.T, f *fixture, want, text string, args []any) {
	t.Helper()
	var got []string
	plan := store.Plan(t, f.DB, text, args...)
	for _, step := range plan {
		if index := planned.FindStringSubmatch(step); index != nil {
			got = append(got, index[1])
		} else if strings.Contains(step, "SCAN") && step != "SCAN others" || strings.HasPrefix(step, "SEARCH") {
			t.Errorf("%s: %s", text, step)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%s: %q, want %s", text, plan, want)
	}
}

func usesIndex(t *testing.T, f *fixture, index, text string, args []any) {
	t.Helper()
	plan := store.Plan(t, f.DB, text, args...)
	if len(plan) != 1 || !strings.Contains(plan[0], "USING INDEX "+index+" ") || !strings.Contains(plan[0], "id<?") && !strings.Contains(plan[0], "id)<(?,?)") {
		t.Errorf("%s: %q", text, plan)
	}
}
