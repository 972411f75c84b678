package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sentryagent/agentidp/internal/pgtest"
)

// engine is a kind of database.
type engine struct {
	name   string
	server *postgres // nil: SQLite
}

// newEngine takes sqlite, postgres (a server that is started for the run) or the URL of a
// PostgreSQL, where databases are made and removed again.
func newEngine(ctx context.Context, name string) (*engine, error) {
	switch {
	case name == "sqlite":
		return &engine{name: "SQLite"}, nil
	case name == "postgres":
		cluster, err := startCluster(ctx)
		if err != nil {
			return nil, err
		}
		e, err := connectEngine(ctx, cluster.URL("postgres"))
		if err != nil {
			return nil, err
		}
		e.server.cluster = cluster
		return e, nil
	case strings.HasPrefix(name, "postgres://"), strings.HasPrefix(name, "postgresql://"):
		return connectEngine(ctx, name)
	}
	return nil, fmt.Errorf("-on: %q is none of sqlite, postgres and postgres://USER@HOST/DATABASE", name)
}

func connectEngine(ctx context.Context, at string) (*engine, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, errors.New("-on: the URL of PostgreSQL cannot be read") // what is wrong with it may have its password
	}
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	p := &postgres{url: u, conn: conn}
	if err := conn.QueryRow(ctx, "SHOW server_version_num").Scan(&p.version); err != nil {
		return nil, err
	}
	return &engine{name: "PostgreSQL", server: p}, nil
}

// version is the engine's own.
func (e *engine) version() string {
	if e.server == nil {
		return "SQLite " + sqlite3.SQLITE_VERSION
	}
	return "PostgreSQL " + e.server.conn.PgConn().ParameterStatus("server_version")
}

// postgres is a PostgreSQL that may be used.
type postgres struct {
	url     *url.URL
	conn    *pgx.Conn
	version string          // such as 150018
	made    int             // databases
	cluster *pgtest.Cluster // it lives as long as somebody knows it
}

// createDatabase makes an empty database and returns its URL.
func (p *postgres) createDatabase(ctx context.Context) (string, error) {
	p.made++
	name := fmt.Sprintf("agentidp_bench_%d_%d", os.Getpid(), p.made)
	if _, err := p.conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	u := *p.url
	u.Path = "/" + name
	return u.String(), nil
}

func (p *postgres) dropDatabase(ctx context.Context, at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	_, err = p.conn.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+strings.TrimPrefix(u.Path, "/")+" WITH (FORCE)")
	return err
}

// walSyncs is how often the server has synchronized its log, as far as its connections
// have told.
func (p *postgres) walSyncs(ctx context.Context) (n int64, err error) {
	query := "SELECT wal_sync FROM pg_stat_wal"
	if p.version >= "180000" { // all have six digits
		query = "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"
	}
	return n, p.conn.QueryRow(ctx, query).Scan(&n)
}

// analyze has the server count what a database holds.
func (p *postgres) analyze(ctx context.Context, at string) error {
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ANALYZE")
	return errors.Join(err, conn.Close(ctx))
}

// size is what a database takes on the disk, in bytes.
func (p *postgres) size(ctx context.Context, at string) (n int64, err error) {
	u, err := url.Parse(at)
	if err != nil {
		return 0, err
	}
	return n, p.conn.QueryRow(ctx, "SELECT pg_database_size($1)", strings.TrimPrefix(u.Path, "/")).Scan(&n)
}

// startCluster starts a PostgreSQL with durable commits, which ends with this process.
func startCluster(ctx context.Context) (*pgtest.Cluster, error) {
	h := &host{ctx: ctx}
	var cluster *pgtest.Cluster
	done := make(chan struct{})
	go func() {
		defer close(done)
		cluster = pgtest.NewCluster(h, "shared_buffers=128MB")
	}()
	<-done
	return cluster, h.err
}

// host is what a cluster asks of a test, where there is none. What else a test can do is
// not asked for.
type host struct {
	testing.TB
	ctx context.Context //nolint:containedctx // as a test has one
	err error
}

func (h *host) Helper()                  {}
func (h *host) Context() context.Context { return h.ctx }
func (h *host) Cleanup(func())           {} // the cluster's watchdog does it when this process ends

func (h *host) Fatal(args ...any) {
	h.err = errors.New(fmt.Sprint(args...))
	runtime.Goexit() // as a test's does
}

func (h *host) Fatalf(format string, args ...any) { h.Fatal(fmt.Sprintf(format, args...)) }
func (h *host) Skipf(format string, args ...any)  { h.Fatal(fmt.Sprintf(format, args...)) }
