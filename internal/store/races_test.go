package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// loses makes PostgreSQL end the next transactions that write an event, so many of them, as
// it does when two cannot both go on. A sequence counts: it is not rolled back.
func (f *fixture) loses(t *testing.T, times int, state string, atCommit bool) {
	t.Helper()
	when := ""
	if atCommit {
		when = "DEFERRABLE INITIALLY DEFERRED"
	}
	for _, statement := range []string{
		"CREATE SEQUENCE losses",
		fmt.Sprintf(`CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('losses') <= %d THEN RAISE EXCEPTION 'lost' USING ERRCODE = '%s'; END IF;
			RETURN NULL; END $$`, times, state),
		"CREATE CONSTRAINT TRIGGER loser AFTER INSERT ON events " + when + " FOR EACH ROW EXECUTE FUNCTION lose()",
	} {
		store.Exec(t, f.DB, statement)
	}
}

// what PostgreSQL ended because of a deadlock, or because it cannot be serialized,
// did nothing, also if that is the answer to COMMIT: it is done again, seven times and for a
// second at least, and in the end it is done once or not at all.
func TestR12WhatPostgreSQLEndsIsTriedAgain(t *testing.T) {
	t.Parallel()
	const always = 1_000_000
	for _, test := range []struct {
		name, state string
		atCommit    bool
		times       int
	}{
		{"a deadlock", "40P01", false, 7},
		{"a deadlock that stays", "40P01", false, always},
		{"a serialization failure", "40001", false, 7},
		{"a serialization failure at COMMIT", "40001", true, 7},
		{"one at COMMIT that stays", "40001", true, always},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for doing, do := range map[string]func(*fixture, string) error{
				"a grant": func(f *fixture, id string) error {
					g := f.grant()
					g.Events[0].ID, g.Decision.ID, g.Token.DecisionID = id, id, id
					return f.Issue(t.Context(), g)
				},
				"a write": func(f *fixture, id string) error {
					e := f.event(agentidp.EventTokenIssued, "")
					e.ID = id
					return f.Write(t.Context(), func(tx *store.Tx) error { return tx.Append(t.Context(), e) })
				},
			} {
				f := newFixture(t, pgtest.Start(t))
				f.loses(t, test.times, test.state, test.atCommit)
				id, want := newID(), 0
				began := time.Now()
				switch err := do(f, id); {
				case test.times == always && (!errors.Is(err, store.ErrUnavailable) || time.Since(began) < time.Second):
					t.Errorf("%s: %v, want to be told to come again", doing, err)
				case test.times < always && err != nil:
					t.Errorf("%s: %v", doing, err)
				case test.times < always:
					want = 1
				}
				if events := store.Strings(t, f.DB, "SELECT id FROM events WHERE id = $1", id); len(events) != want {
					t.Errorf("%s: it was done %d times, want %d", doing, len(events), want)
				}
			}
		})
	}
}

// where every transaction is SERIALIZABLE, those that PostgreSQL ends are run again,
// each thing is done once, and whoever could not be served is told to come again.
func TestR12WhatCannotBeSerializedIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t, "fsync=off")
	url := c.CreateDatabase("serializable")
	pgtest.Serializable(t, url)
	f := newFixture(t, url)
	nodes := []*fixture{f}
	for range 2 {
		nodes = append(nodes, &fixture{DB: open(t, url), org: f.org, provider: f.provider, policy: f.policy, agent: f.agent})
	}
	const races, rounds = 60, 50
	var mu sync.Mutex
	granted, unavailable, lost := make(map[string]int, races), 0, 0
	for round := 0; round < rounds && lost == 0; round++ { // PostgreSQL decides by chance whom it ends
		var wg sync.WaitGroup
		for _, node := range nodes {
			for range 4 {
				wg.Go(func() {
					for race := range races {
						g := f.grant()
						g.ReplayKey = fmt.Sprint("race ", race, " of round ", round)
						err := node.Issue(t.Context(), g)
						mu.Lock()
						switch {
						case err == nil:
							granted[g.ReplayKey]++
						case errors.Is(err, store.ErrUnavailable):
							unavailable++
						case !errors.Is(err, store.ErrReplayed):
							t.Errorf("%v, want nil, ErrReplayed or ErrUnavailable", err)
						}
						mu.Unlock()
						err = node.Write(t.Context(), func(tx *store.Tx) error {
							return tx.Append(t.Context(), f.event(agentidp.EventTokenIssued, ""))
						})
						switch {
						case errors.Is(err, store.ErrUnavailable):
							mu.Lock()
							unavailable++
							mu.Unlock()
						case err != nil:
							t.Errorf("a write: %v", err)
						}
					}
				})
			}
		}
		wg.Wait()
		lost = c.Logged("could not serialize access")
	}
	for key, n := range granted {
		if n != 1 {
			t.Errorf("%s was granted %d times", key, n)
		}
	}
	used := store.Strings(t, f.DB, "SELECT CAST(count(*) AS TEXT) FROM used_tokens")
	if tokens := store.Strings(t, f.DB, "SELECT CAST(count(*) AS TEXT) FROM access_tokens"); used[0] != tokens[0] {
		t.Errorf("%s subject tokens are used up, and %s access tokens are recorded", used[0], tokens[0])
	}
	if lost == 0 || 4*unavailable > lost { // each was tried more often than that
		t.Errorf("PostgreSQL ended %d transactions, and %d callers were told to come again", lost, unavailable)
	}
	t.Logf("%d races granted, PostgreSQL ended %d transactions, %d were told to come again", len(granted), lost, unavailable)
}
