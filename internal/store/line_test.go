package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// network stands between a store and PostgreSQL. It can lose all that is sent, on the
// connections that there are or on all, deliver it late, and break them off.
type network struct {
	mu      sync.Mutex
	conns   []net.Conn        // of clients
	lose    chan struct{}     // while not closed, nothing is delivered; nil: all is
	old     map[net.Conn]bool // connections that are dead for good
	refuses bool
	late    time.Duration
	opened  int
}

// throughNetwork returns a fixture whose connections lead through a network, and what it
// logs.
func throughNetwork(t *testing.T) (*network, *fixture, *logs) {
	t.Helper()
	dsn := pgtest.Start(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	query, folder := u.Query(), t.TempDir()
	socket := filepath.Join(query.Get("host"), ".s.PGSQL.5432")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	n := &network{old: make(map[net.Conn]bool)}
	t.Cleanup(func() { _ = listener.Close(); n.heal(); n.breakOff() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go n.serve(client, socket)
		}
	}()
	query.Set("host", folder)
	u.RawQuery = query.Encode()

	said := new(logs)
	db, err := store.Open(t.Context(), u.String(), store.Options{Logger: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{DB: db, url: u.String(), direct: dsn}
	f.addOrganization(t, "default")
	return n, f, said
}

func (n *network) serve(client net.Conn, socket string) {
	defer client.Close()
	n.mu.Lock()
	refuses := n.refuses
	n.conns = append(n.conns, client)
	n.opened++
	n.mu.Unlock()
	if refuses {
		return
	}
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	go n.carry(client, server, client)
	n.carry(client, client, server)
}

// carry delivers what is sent in one direction of a client's connection.
func (n *network) carry(client, to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		k, err := from.Read(buffer)
		n.mu.Lock()
		lose, late, dead := n.lose, n.late, n.old[client]
		n.mu.Unlock()
		if dead && err == nil {
			continue
		}
		if lose != nil {
			<-lose
		}
		if from != client {
			time.Sleep(late)
		}
		if _, werr := to.Write(buffer[:k]); err != nil || werr != nil {
			return
		}
	}
}

// silence loses all from now on, until heal.
func (n *network) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = make(chan struct{})
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lose != nil {
		close(n.lose)
	}
	n.lose, n.refuses, n.late = nil, false, 0
}

// forget loses what is sent on the connections that there are, and no other.
func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		n.old[c] = true
	}
}

// breakOff closes the connections that there are.
func (n *network) breakOff() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

func (n *network) set(refuses bool, late time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuses, n.late = refuses, late
}

func (n *network) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opened
}

// ways are what a node does with the database: by each pool.
func (f *fixture) ways(t *testing.T) map[string]func() error {
	return map[string]func() error{
		"an exchange": func() error { return f.Issue(t.Context(), f.grant()) },
		"a change": func() error {
			return f.Write(t.Context(), func(tx *store.Tx) error { return tx.PutSetting(t.Context(), newID(), "x") })
		},
		"a read": func() error { _, err := f.Organizations(t.Context()); return err },
		"a ping": func() error { return f.Ping(t.Context()) },
	}
}

// warm has each pool open its connections.
func (f *fixture) warm(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for what, do := range f.ways(t) {
		for range 8 {
			wg.Go(func() {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
	}
	wg.Wait()
}

// patience is what any request waits for a server that is gone, and three seconds for a busy
// machine: without what is tested here it would be ten, or for ever.
const patience = 2*time.Second + 3*time.Second

// nothing that is sent arrives. Whoever has begun is told so within two seconds,
// whoever comes later at once, and soon after it is over all is well, without a restart.
func TestNobodyWaitsForAServerThatIsSilent(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	f.warm(t)
	n.silence()
	var wg sync.WaitGroup
	for what, do := range f.ways(t) {
		for range 32 { // more than there are connections
			wg.Go(func() {
				began := time.Now()
				if err := do(); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", what, err)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("%s: it took %v", what, took)
				}
			})
		}
	}
	wg.Wait()
	opened, began := n.connections(), time.Now()
	for range 200 {
		for what, do := range f.ways(t) {
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("%s: %v, want ErrUnavailable", what, err)
			}
		}
	}
	if took := time.Since(began); took > patience {
		t.Errorf("800 refusals took %v", took)
	}
	if more := n.connections() - opened; more > 2 {
		t.Errorf("%d connections were opened for 800 refusals", more)
	}
	n.heal()
	pace.Eventually(t, "the line is up again", func() bool { return f.Ping(t.Context()) == nil })
	f.warm(t)
	if text := said.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("the log says %s", text)
	}
}

// The connections that there are lead nowhere any more, as after a firewall forgot them;
// new ones do. What was idle costs a request its time, and no request its answer.
func TestConnectionsThatLeadNowhereAreReplaced(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	f.warm(t)
	time.Sleep(1100 * time.Millisecond) // longer than a connection is trusted
	n.forget()
	for what, do := range f.ways(t) {
		began := time.Now()
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("%s: it took %v", what, took)
		}
	}
	if said.Len() > 0 {
		t.Errorf("the log says %s", said)
	}
}

// the server has closed all connections, as when it was restarted, and nobody was
// asking it anything: by the first request that finds out it is known.
func TestConnectionsThatEndedAreReplaced(t *testing.T) {
	t.Parallel()
	n, f, _ := throughNetwork(t)
	f.warm(t)
	n.breakOff()
	var failed []error
	for range 3 {
		for what, do := range f.ways(t) {
			if err := do(); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", what, err))
			}
		}
	}
	if err := errors.Join(failed...); len(failed) > 1 || err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%d requests failed: %v", len(failed), err)
	}
}

// Whatever begins then is begun over another connection, also where the one that ended was
// in use a moment before: nothing was done.
func TestWhatBeginsOverAConnectionThatEndedIsBegunAgain(t *testing.T) {
	t.Parallel()
	n, f, _ := throughNetwork(t)
	for _, what := range []string{"an exchange", "a change"} {
		for range 5 {
			f.warm(t)
			n.breakOff()
			if err := f.ways(t)[what](); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// An end that refuses connections is asked by the line alone.
func TestAServerThatRefusesConnectionsIsAskedNowAndThen(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	n.set(true, 0)
	n.breakOff()
	pace.Eventually(t, "the line is down", func() bool { _ = f.Ping(t.Context()); return said.Len() > 0 })
	opened, began := n.connections(), time.Now()
	for time.Since(began) < time.Second {
		for what, do := range f.ways(t) {
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("%s: %v, want ErrUnavailable", what, err)
			}
		}
	}
	if more := n.connections() - opened; more > 10 {
		t.Errorf("%d connections were tried in a second", more)
	}
	n.heal()
	pace.Eventually(t, "the line is up again", func() bool { return f.Ping(t.Context()) == nil })
}

// a server that is slow, or a statement that waits, is no server that is gone.
func TestSlowIsNotGone(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	f.warm(t)
	var wg sync.WaitGroup
	wg.Go(func() { store.Exec(t, f.DB, "SELECT pg_sleep(2.5)") }) // as a change that waits for a row
	n.set(false, 700*time.Millisecond)                            // so that a look takes longer than it may
	for range 3 {
		if _, err := f.Organizations(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if said.Len() > 0 {
		t.Errorf("the log says %s", said)
	}
}

// Whoever leaves in the midst of a statement costs its connection, and nobody else
// anything.
func TestACallerThatLeavesIsNoLoss(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	f.warm(t)
	n.set(false, 50*time.Millisecond)
	opened, losses := n.connections(), store.Losses(f.DB)
	for range 10 {
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := f.Organizations(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		leave()
	}
	time.Sleep(100 * time.Millisecond)
	n.set(false, 0)
	if more := store.Losses(f.DB) - losses; more > 0 {
		t.Errorf("%d times all other connections were in doubt", more)
	}
	f.warm(t)
	if more := n.connections() - opened; more > 25 { // a new one, and one that cancels, for each
		t.Errorf("%d connections were opened", more)
	}
	if said.Len() > 0 {
		t.Errorf("the log says %s", said)
	}
}

// Close ends the watching, whatever the server does.
func TestCloseWhileTheServerIsGone(t *testing.T) {
	t.Parallel()
	n, f, said := throughNetwork(t)
	n.silence()
	if err := f.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	began := time.Now()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
	if strings.Contains(said.String(), "answers again") {
		t.Errorf("the log says %s", said)
	}
}

// logs is a log that a test reads while it is written.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) Len() int { return len(l.String()) }
