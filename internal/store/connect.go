package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// upstream makes the connections to PostgreSQL: to the server that takes writes, among
// those that the database URL names, and through a pooler if one stands between.
type upstream struct {
	config      pgx.ConnConfig
	connections [3]int // of commit, write and read

	// given says that the URL chooses how queries are sent: default_query_exec_mode.
	given bool
	// unprepared says that a statement that was prepared over a connection may be
	// unknown there at its next use.
	unprepared atomic.Bool
	// turn counts how often all connections were given up, those in use at their return:
	// because a server said that it only reads, so that what it tells may be old and lack
	// a revocation; or because their statements get lost.
	turn atomic.Int64
}

// poolParameter says in the URL how many connections this program may have, as it does
// for pgxpool.
const poolParameter = "pool_max_conns"

func newUpstream(url string) (*upstream, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %s", unreadable(err))
	}
	plain, err := pgconn.ParseConfig(url) // knows which of pgx's own parameters are given
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %s", unreadable(err))
	}
	u := &upstream{config: *config}
	// A password ends at its first "@". What follows is no host then, and no error names it.
	// After a slash in place of the colon, it is no database.
	if slices.ContainsFunc(u.attempts(), func(to *pgconn.FallbackConfig) bool { return strings.LastIndex(to.Host, "@") > 0 }) ||
		strings.Contains(config.Database, "@") && !strings.Contains(url, "%40") {
		return nil, errors.New("read the database URL: " + mustBe)
	}
	_, u.given = plain.RuntimeParams["default_query_exec_mode"]
	if u.connections, err = sharesOf(config.RuntimeParams[poolParameter]); err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	delete(config.RuntimeParams, poolParameter)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "agentidp"
	}
	if u.config.ConnectTimeout == 0 {
		u.config.ConnectTimeout = postgresConnectTimeout
	}
	u.config.ValidateConnect = u.fit
	u.config.OnPgError = u.heard
	return u, nil
}

// open returns a pool of at most so many connections of a line. patient ones may be silent
// for as long as a statement of theirs waits for a row.
func (u *upstream) open(connections int, l *line, patient bool) *pool {
	config := u.config
	config.DialFunc = l.dial(patient)
	p := stdlib.OpenDB(config, stdlib.OptionBeforeConnect(u.connecting), stdlib.OptionAfterConnect(u.connected),
		stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }), // the line does
		stdlib.OptionResetSession(func(ctx context.Context, conn *pgx.Conn) error {
			if err := u.reused(ctx, conn); err != nil {
				return err
			}
			return l.sound(ctx, conn)
		}))
	p.SetMaxOpenConns(connections)
	p.SetMaxIdleConns(connections)
	p.SetConnMaxIdleTime(5 * time.Minute)
	return newPool(p, false)
}

// What is known of a connection beside pgx's own, in its CustomData.
const (
	pooledKey = "pooled" // there is a pooler between
	turnKey   = "turn"   // upstream.turn when it was made
)

// fit looks at a server that was just reached; an error sends pgx to the next one that
// the URL names. It takes one round trip.
func (u *upstream) fit(ctx context.Context, conn *pgconn.PgConn) error {
	turn := u.turn.Load()
	if err := fitVersion(conn.ParameterStatus("server_version")); err != nil {
		return err
	}
	if err := fitEncoding(conn.ParameterStatus("server_encoding")); err != nil {
		return err
	}
	results, err := conn.Exec(ctx, "SELECT pg_backend_pid(), current_setting('transaction_read_only'), current_setting('transaction_isolation')").ReadAll()
	if err != nil {
		return err
	}
	row := results[0].Rows[0]
	if string(row[1]) == "on" {
		return errOnlyReads
	}
	if err := fitIsolation(string(row[2])); err != nil {
		return err
	}
	// Whoever stands between shares few servers among many clients: he gives each client
	// a number of his own to cancel by, and PostgreSQL gives the number of its process.
	conn.CustomData()[pooledKey] = string(row[0]) != strconv.FormatUint(uint64(conn.PID()), 10)
	conn.CustomData()[turnKey] = turn
	return nil
}

// connecting has a connection prepare no statements where they would get lost. Their
// descriptions are kept instead, and each statement is parsed at each use.
func (u *upstream) connecting(_ context.Context, config *pgx.ConnConfig) error {
	if u.unprepared.Load() {
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	return nil
}

// connected gives a connection up that would prepare statements at a pooler: the next one
// does not. A transaction pooler may run each transaction over another connection, which
// knows nothing of what was prepared before.
func (u *upstream) connected(ctx context.Context, conn *pgx.Conn) error {
	registerColumns(conn.TypeMap())
	pooled, _ := conn.PgConn().CustomData()[pooledKey].(bool)
	if !pooled || u.given || conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil
	}
	u.unprepared.Store(true)
	_ = conn.Close(ctx) // nothing was done over it
	return driver.ErrBadConn
}

// reused gives a connection up that was made before all were given up.
func (u *upstream) reused(_ context.Context, conn *pgx.Conn) error {
	if turn, _ := conn.PgConn().CustomData()[turnKey].(int64); turn != u.turn.Load() {
		return driver.ErrBadConn
	}
	return nil
}

// heard says whether a connection can be used after an error of the server.
func (u *upstream) heard(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	switch {
	case err.Code == onlyReads:
		u.turn.Add(1)
		return false
	case lostStatement(err.Code) && !u.given:
		u.unprepared.Store(true) // a pooler that passes the server's number on
		u.turn.Add(1)
		return false
	}
	return !strings.EqualFold(err.Severity, "FATAL")
}

// lostStatement says that a prepared statement is not there, or is there already, which
// nobody else but a pooler can bring about. Nothing was done.
func lostStatement(state string) bool { return state == "26000" || state == "42P05" }
