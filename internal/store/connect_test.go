package store_test

import (
	"errors"
	"sync"
	"testing"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
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
}

// However the URL has queries sent beside the usual, grants and writes find the types of what they write.
func TestEachWayToSendQueries(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t)
	f := newFixture(t, url)
	for _, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		told := &fixture{DB: open(t, url+"&default_query_exec_mode="+mode), org: f.org, provider: f.provider, policy: f.policy, agent: f.agent}
		grants := []*store.Grant{told.grant(), told.grant(), told.grant()}
		grants[1].Decision.Reason = `it's "{NULL,\` + "\n}"
		grants[2].ReplayKey = grants[0].ReplayKey
		for i, err := range told.inOneBatch(t, grants, nil) {
			if want := []error{nil, nil, store.ErrReplayed}[i]; !errors.Is(err, want) {
				t.Errorf("%s: member %d: %v, want %v", mode, i, err, want)
			}
			if told.issued(t, grants[i]) != (err == nil) {
				t.Errorf("%s: member %d: issued %t", mode, i, err != nil)
			}
		}
		if d, err := told.Decision(t.Context(), f.org.ID, grants[1].Decision.ID); err != nil || d.Reason != grants[1].Decision.Reason {
			t.Errorf("%s: %v, %v", mode, d, err)
		}
		told.write(t, func(tx *store.Tx) error { return tx.Append(t.Context(), f.event(agentidp.EventAgentRegistered, "")) })
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

// Of the servers that the URL names, the one that takes writes is used: a standby that was
// promoted is followed, and a primary that only reads from now on is left, by readers too.
func TestTheServerThatTakesWritesIsUsed(t *testing.T) {
	t.Parallel()
	first := pgtest.NewCluster(t)
	first.CreateDatabase("followed")
	second := first.Standby("second", true)
	for name, url := range map[string]string{"the standby alone": second.URL("followed"), "at first the standby": both(second, first), "at first the primary": both(first, second)} {
		db, err := store.Open(t.Context(), url, store.Options{})
		if alone := name == "the standby alone"; (err == nil) == alone {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = db.Close()
		}
	}
	f := newFixture(t, both(first, second))
	kept := f.grant()
	if err := f.Issue(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	port := func() string {
		return "127.0.0.1:" + store.Strings(t, f.DB, "SELECT CAST(inet_server_port() AS TEXT)")[0]
	}
	if at := port(); at != first.Address() {
		t.Fatalf("a read at %s, want %s", at, first.Address())
	}
	first.Exec("ALTER SYSTEM SET default_transaction_read_only = on") // as who fails over by hand does
	first.Exec("SELECT pg_reload_conf()")
	second.Promote()
	pace.Eventually(t, "grants at the new primary", func() bool { return f.Issue(t.Context(), f.grant()) == nil })
	if at := port(); at != second.Address() {
		t.Errorf("afterwards, a read at %s, want %s", at, second.Address())
	}
	if err := f.Issue(t.Context(), &store.Grant{Organization: f.org, Provider: github, ReplayKey: kept.ReplayKey, ReplayUntil: kept.ReplayUntil, Token: f.grant().Token, Decision: f.grant().Decision}); !errors.Is(err, store.ErrReplayed) {
		t.Errorf("what was used at the old primary: %v, want ErrReplayed", err)
	}
}

// A server that was told to refuse writes, and behind a pooler one that has become a
// standby, answers readers as before. Whoever asks whether a server of ours is ready is
// told, and nothing is read there any more, though nobody writes.
func TestAServerThatOnlyReadsFromNowOnIsLeftWithoutAWrite(t *testing.T) {
	t.Parallel()
	server := pgtest.NewCluster(t)
	f := newFixture(t, server.CreateDatabase("abandoned"))
	if err := f.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Exec("ALTER SYSTEM SET default_transaction_read_only = on")
	server.Exec("SELECT pg_reload_conf()")
	pace.Eventually(t, "it is not ready", func() bool { return errors.Is(f.Ping(t.Context()), store.ErrUnavailable) })
	if _, err := f.Policy(t.Context(), f.org.ID, f.policy.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read: %v, want ErrUnavailable", err)
	}
	server.Exec("ALTER SYSTEM RESET default_transaction_read_only")
	server.Exec("SELECT pg_reload_conf()")
	pace.Eventually(t, "it is ready again", func() bool { return f.Ping(t.Context()) == nil })
}

// both is the URL of two servers.
func both(a, b *pgtest.Cluster) string {
	return "postgres://postgres@" + a.Address() + "," + b.Address() + "/followed?sslmode=disable"
}
