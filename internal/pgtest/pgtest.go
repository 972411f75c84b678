// Package pgtest gives tests a real PostgreSQL: one throw-away server for each
// test process, one fresh database for each call of Start.
//
// It owns finding the binaries, initdb, the server process and its end. It knows
// nothing of AgentIdP; only tests and measurements import it.
//
// Where all that tests print is searched for secrets (test/secretscan), so is the log of
// the server, with every statement and its parameters.
//
// The server listens on a Unix socket in its own folder and on no TCP port. It
// runs with fsync off: a test may kill clients as it likes, but a test of what a
// restart or a power cut leaves needs a server of its own, a Cluster.
//
// AGENTIDP_POSTGRES=pooled has all tests reach it through a pooler (see Pooled), and
// AGENTIDP_POSTGRES=serializable has their databases run every transaction SERIALIZABLE.
//
// No server outlives its test process, however that ends (return, panic,
// time-out, kill -9): a shell holds the other end of a pipe from the process,
// and when the pipe closes it stops the server and removes its folder. So there
// is nothing to call at the end, and no TestMain to write.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds initdb and the start of the server together.
const startTimeout = 90 * time.Second

var (
	shared    = sync.OnceValues(startServer)
	databases atomic.Int64
)

// Start returns the URL of a new, empty database; the test's end drops it. A
// machine without PostgreSQL skips the test, unless AGENTIDP_REQUIRE_POSTGRES=1
// makes that a failure.
func Start(t testing.TB) string {
	t.Helper()
	s, err := shared()
	skipWithout(t, err)
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := s.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
		s.hand(t)
	})
	switch as := os.Getenv("AGENTIDP_POSTGRES"); as {
	case "":
	case "pooled":
		return Pooled(t, s.url(name))
	case "serializable":
		Serializable(t, s.url(name))
	default:
		t.Fatalf("AGENTIDP_POSTGRES is %q and must be pooled, serializable or empty", as)
	}
	return s.url(name)
}

// Serializable has every transaction of a database run SERIALIZABLE that does not ask for
// something else, of connections that are made from now on.
func Serializable(t testing.TB, url string) {
	t.Helper()
	if err := run(t.Context(), url, `DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
	END $$`); err != nil {
		t.Fatal(err)
	}
}

// skipWithout ends the test where something of PostgreSQL is missing, or failed.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	if missing, ok := errors.AsType[*notInstalledError](err); ok {
		if os.Getenv("AGENTIDP_REQUIRE_POSTGRES") == "1" {
			t.Fatalf("PostgreSQL is not installed: %v", missing)
		}
		t.Skipf("PostgreSQL is not installed: %v", missing)
	}
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// url returns the URL of one database of the server.
func (s *server) url(database string) string {
	query := url.Values{"host": {s.folder}}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// exec runs one statement in the database that every server has.
func (s *server) exec(ctx context.Context, statement string) error {
	return run(ctx, s.url("postgres"), statement)
}

func run(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
