package store_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// crowd has many use the database at once, so that connections are shared, and returns what
// went wrong.
func crowd(t *testing.T, f *fixture) (failures []error) {
	t.Helper()
	var mu sync.Mutex
	note := func(err error) {
		if err != nil {
			mu.Lock()
			failures = append(failures, err)
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		grants := make([]*store.Grant, 10)
		for i := range grants {
			grants[i] = f.grant()
		}
		wg.Go(func() {
			for _, g := range grants {
				note(f.Issue(t.Context(), g))
				_, err := f.Policy(t.Context(), f.org.ID, f.policy.ID)
				note(err)
				note(f.Write(t.Context(), func(tx *store.Tx) error { return tx.SetSetting(t.Context(), g.Token.ID, "x") }))
			}
		})
	}
	wg.Wait()
	return failures
}

// A transaction pooler runs each transaction over another connection, which knows no
// statement that was prepared before. It is recognized when it is first met.
func TestBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	url := pgtest.Pooled(t, pgtest.Start(t))
	f := newFixture(t, url)
	if n := store.Strings(t, f.DB, "SELECT CAST(count(*) AS TEXT) FROM pg_prepared_statements"); n[0] != "0" {
		t.Errorf("%s statements were prepared before the pooler was recognized", n[0])
	}
	other := &fixture{DB: open(t, url), org: f.org, provider: f.provider, policy: f.policy, agent: f.agent}
	for _, node := range []*fixture{f, other} {
		if failures := crowd(t, node); len(failures) > 0 {
			t.Errorf("%d failures, the first: %v", len(failures), failures[0])
		}
	}
	// Who says how queries are sent gets what he says: that shows what the others were spared.
	told := &fixture{DB: open(t, url+"&default_query_exec_mode=cache_statement"), org: f.org, provider: f.provider, policy: f.policy, agent: f.agent}
	failures := crowd(t, told)
	if len(failures) == 0 || !strings.Contains(failures[0].Error(), "prepared statement") {
		t.Errorf("with prepared statements: %v, want the pooler's failures", failures)
	}
}

// A pooler that cannot be recognized shows when a prepared statement is gone: nothing was
// done, so it is done again without.
func TestPreparedStatementsThatAreGone(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*testing.T, *fixture) error{
		"a read": func(t *testing.T, f *fixture) error {
			_, err := f.Policy(t.Context(), f.org.ID, f.policy.ID)
			return err
		},
		"a grant": func(t *testing.T, f *fixture) error { return f.Issue(t.Context(), f.grant()) },
		"a write": func(t *testing.T, f *fixture) error {
			return f.Write(t.Context(), func(tx *store.Tx) error { return tx.SetSetting(t.Context(), "s", "x") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, pgtest.Start(t)+"&pool_max_conns=3") // one connection of each kind
			for range 2 {
				if err := do(t, f); err != nil {
					t.Error(err)
				}
				store.ForgetPrepared(t, f.DB)
			}
		})
	}
}
