package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// passer is an exchange at a node of its own that is stopped in the midst of its commit:
// it has locked what it rests on, and waits for a subject token that somebody else uses.
type passer struct {
	t      *testing.T
	f      *fixture
	node   *store.DB
	conn   *pgx.Conn
	holder string // process id of the transaction that it waits for
	tx     pgx.Tx
	result chan error
}

func newPasser(t *testing.T, f *fixture) *passer {
	t.Helper()
	config, err := pgx.ParseConfig(f.url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // there may be a pooler between
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &passer{t: t, f: f, node: open(t, f.url), conn: conn}
}

// begin issues the grant.
func (p *passer) begin(g *store.Grant) {
	p.t.Helper()
	var err error
	if p.tx, err = p.conn.Begin(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := p.tx.QueryRow(p.t.Context(), "SELECT CAST(pg_backend_pid() AS text)").Scan(&p.holder); err != nil {
		p.t.Fatal(err)
	}
	of := g.Provider.Name
	if g.Provider.ID != "" {
		of = g.Provider.Issuer
	}
	if _, err := p.tx.Exec(p.t.Context(), "INSERT INTO used_tokens VALUES ($1, $2, $3, 'd', 0)", g.Organization.ID, of, g.ReplayKey); err != nil {
		p.t.Fatal(err)
	}
	p.result = make(chan error, 1)
	go func() { p.result <- p.node.Issue(p.t.Context(), g) }()
}

// holds reports whether it has its locks.
func (p *passer) holds() bool {
	return len(store.Strings(p.t, p.f.DB, "SELECT 'it waits' FROM pg_stat_activity WHERE CAST($1 AS integer) = ANY (pg_blocking_pids(pid))", p.holder)) > 0
}

// end lets it go. It was granted, or what it rests on was ended or is about to be; or the
// machine was so slow that it gave up.
func (p *passer) end() {
	p.t.Helper()
	if err := p.tx.Rollback(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := <-p.result; err != nil && !errors.Is(err, store.ErrStale) && !errors.Is(err, store.ErrUnavailable) {
		p.t.Error(err)
	}
}

// The fence. Exchanges that rest on the same row let each other pass, so there is a stream
// of them in which each has locked it before the one in front of it lets go, and the row is
// never free. Whoever ends it has to wait for those that are under way, and for no other.
func TestARevocationIsNotOvertakenForEver(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	passers := [2]*passer{newPasser(t, f), newPasser(t, f)}
	for name, revoke := range revocations {
		f.forRevocation(t, name)
		front := passers[0]
		front.begin(f.restingOn(name))
		await(t, front.holds)

		locks, written := make(chan struct{}), make(chan error, 1)
		begins := sync.OnceFunc(func() { close(locks) })
		go func() {
			written <- f.Write(t.Context(), func(tx *store.Tx) error {
				begins()
				return revoke(t, f, tx)
			})
		}()
		<-locks
		done := func() bool { return len(written) > 0 }
		fenced := func() bool { return len(store.Strings(t, f.DB, "SELECT row_id FROM fences")) > 0 }
		overtaken := 0
		for ; !done() && overtaken < 100; overtaken++ {
			next := passers[(overtaken+1)%2]
			next.begin(f.restingOn(name))
			await(t, func() bool { return next.holds() || fenced() || done() })
			front.end()
			await(t, func() bool { return next.holds() || done() })
			front = next
		}
		if !done() {
			t.Errorf("%s: %d exchanges were let past it", name, overtaken)
		}
		front.end()
		if err := <-written; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
