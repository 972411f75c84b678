package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// proxy stands before PostgreSQL and can cut the line at a COMMIT.
type proxy struct {
	socket   string // of the server
	cut      atomic.Int32
	spared   atomic.Int32 // how many more COMMITs pass before that
	answered atomic.Bool  // the last word was the server's
	turns    atomic.Int64 // how often the client spoke after that
}

const (
	cutNothing      int32 = iota
	cutBeforeCommit       // the server never sees it
	cutAfterCommit        // the client never sees the answer
	cutWithAnError        // and is told an error instead, as poolers do
)

// poolerError is what PgBouncer says of a server that it has lost, as an error that leaves
// the connection.
var poolerError = func() []byte {
	fields := "SERROR\x00VERROR\x00C08P01\x00Mserver conn crashed?\x00\x00"
	return append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fields))), fields...)
}()

// prepared finds the name under which COMMIT is prepared.
var prepared = regexp.MustCompile("(stmtcache_[a-z0-9]+)\x00commit\x00")

// newProxy returns a proxy and the URL that leads through it.
func newProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	p := &proxy{socket: filepath.Join(query.Get("host"), ".s.PGSQL.5432")}
	folder := t.TempDir()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go p.serve(client)
		}
	}()
	query.Set("host", folder)
	u.RawQuery = query.Encode()
	return p, u.String()
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	answers := make(chan struct{})
	var silent atomic.Bool
	go func() {
		defer close(answers)
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if silent.Load() {
				return // the answer to the COMMIT: it is done
			}
			if n > 0 {
				p.answered.Store(true)
				if _, err := client.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	name := []byte("commit\x00")
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 && p.answered.Swap(false) {
			p.turns.Add(1)
		}
		said := bytes.ToLower(buffer[:n])
		if (bytes.Contains(said, name) || bytes.Contains(said, []byte("commit\x00"))) && p.spared.Add(-1) < 0 {
			switch cut := p.cut.Swap(cutNothing); cut {
			case cutBeforeCommit:
				return
			case cutAfterCommit, cutWithAnError:
				silent.Store(true)
				_, _ = server.Write(buffer[:n])
				<-answers
				if cut == cutWithAnError {
					_, _ = client.Write(poolerError)
				}
				return
			}
		}
		if found := prepared.FindSubmatch(said); found != nil {
			name = append(bytes.Clone(found[1]), 0)
		}
		if n > 0 {
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = server.Close()
				<-answers
			}
			return
		}
	}
}

// The line breaks at COMMIT: nobody knows whether it happened, so nobody tries
// again, and the subject token counts as used.
func TestACommitWhoseOutcomeIsUnknownIsNeverRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		cut     int32
		written bool
	}{
		"the commit did not arrive": {cutBeforeCommit, false},
		"its answer did not arrive": {cutAfterCommit, true},
		"an error arrived instead":  {cutWithAnError, true},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, dsn := newProxy(t, pgtest.Start(t))
			f := newFixture(t, dsn)
			if err := f.Issue(t.Context(), f.grant()); err != nil {
				t.Fatal(err)
			}
			grants := []*store.Grant{f.grant(), f.grant()}
			for i, err := range f.inOneBatch(t, grants, func() {
				proxy.spared.Store(1) // of the batch before
				proxy.cut.Store(test.cut)
			}) {
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%v, want ErrUnavailable", err)
				}
				if f.issued(t, grants[i]) != test.written {
					t.Errorf("issued %t, want %t", !test.written, test.written)
				}
			}
			if err := f.Issue(t.Context(), f.grant()); err != nil {
				t.Errorf("the next exchange: %v", err)
			}
			runs := 0
			proxy.cut.Store(test.cut)
			err := f.Write(t.Context(), func(tx *store.Tx) error { runs++; return tx.PutSetting(t.Context(), "s", "x") })
			if !errors.Is(err, store.ErrUnavailable) || runs != 1 {
				t.Errorf("Write: %v after %d runs, want ErrUnavailable after 1", err, runs)
			}
			if _, err := f.Setting(t.Context(), "s"); (err == nil) != test.written {
				t.Errorf("Write: the setting is there: %t, want %t", err == nil, test.written)
			}
		})
	}
}

// The time that an exchange takes is the server's distance, times the turns that they take
// in speaking: the rows are compared; the pin is, and the token used up; all is written and
// committed. The first of each kind also asks what the statements take.
func TestAnExchangeTakesThreeRoundTrips(t *testing.T) {
	proxy, dsn := newProxy(t, pgtest.Start(t))
	f := newFixture(t, dsn)
	turns := func(do func() error) int64 {
		var least int64
		for i := range 5 { // a connection is looked after now and then
			before := proxy.turns.Load()
			if err := do(); err != nil {
				t.Fatal(err)
			}
			if n := proxy.turns.Load() - before; i == 0 || n < least {
				least = n
			}
		}
		return least
	}
	same(t, turns(func() error { return f.Issue(t.Context(), f.grant()) }), 3, nil)
	same(t, turns(func() error { d := f.grant().Decision; return f.Record(t.Context(), &d) }), 1, nil)
}

// Another node has inserted the same subject token and does not commit: who
// brings it too waits no longer than for any row that is held, and the others of its batch
// are issued.
func TestAHungNodeHarmsOnlyItsOwnSubjectTokens(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, f.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "INSERT INTO used_tokens VALUES ($1, 'github', 'hung', 'd', 0)", f.org.ID); err != nil {
		t.Fatal(err)
	}
	grants := []*store.Grant{f.grant(), f.grant(), f.grant()}
	grants[1].ReplayKey = "hung"
	began := time.Now()
	errs := f.inOneBatch(t, grants, nil)
	for i, want := range []error{nil, store.ErrUnavailable, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("member %d: %v, want %v", i, errs[i], want)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Issue(ctx, grants[1]); err != nil {
		t.Errorf("after the other node has given up: %v", err)
	}
}

// A node that only takes long to commit is waited for: what it brought about is known then.
func TestASlowNodeIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Start(t))
	ctx := context.WithoutCancel(t.Context())
	for name, test := range map[string]struct {
		end  func(pgx.Tx) error
		want error
	}{
		"gives up": {func(tx pgx.Tx) error { return tx.Rollback(ctx) }, nil},
		"commits":  {func(tx pgx.Tx) error { return tx.Commit(ctx) }, store.ErrReplayed},
	} {
		conn, err := pgx.Connect(ctx, f.url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(ctx) }()
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		g := f.grant()
		if _, err := tx.Exec(ctx, "INSERT INTO used_tokens VALUES ($1, 'github', $2, 'd', 0)", pgx.QueryExecModeExec, f.org.ID, g.ReplayKey); err != nil {
			t.Fatal(err)
		}
		result, waits := make(chan error, 1), f.Stats().Waits
		go func() { result <- f.Issue(ctx, g) }()
		await(t, func() bool { return len(result) > 0 || f.Stats().Waits > waits })
		if err := test.end(tx); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, test.want) {
			t.Errorf("a node that has the same subject token %s: %v, want %v", name, err, test.want)
		}
	}
}

// A node that hangs in the midst of a write, or whose machine is gone, keeps nobody from
// the rows that it has locked for longer than some seconds. Nothing of it is done.
func TestAHungWriterIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Start(t))
	err := f.Write(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutSetting(t.Context(), "s", "x"); err != nil {
			return err
		}
		if _, err := tx.LockPolicy(t.Context(), f.org.ID, f.policy.ID); err != nil {
			return err
		}
		await(t, func() bool { return f.Issue(t.Context(), f.grant()) == nil })
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrTxDone) {
		t.Errorf("%v, want ErrUnavailable, and not because it gave up itself", err)
	}
	if _, err := f.Setting(t.Context(), "s"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what it wrote: %v, want ErrNotFound", err)
	}
}

func TestABatchThatGetsNoAnswerInTimeIsUnavailable(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	store.SetBatchTimeout(f.DB, 100*time.Millisecond)
	release := store.HoldCommitter(t, f.DB) // no connection
	g := f.grant()
	if err := f.Issue(t.Context(), g); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	release()
	if f.issued(t, g) {
		t.Error("it was issued all the same")
	}
}
