package store

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

var postgresDialect = &dialect{
	goose: goose.DialectPostgres,
	// A dump makes the tables anew, wherever it is brought back, CREATE DATABASE … TEMPLATE
	// the database, and initdb the identifier.
	place: [2]string{
		"SELECT CAST(system_identifier AS TEXT) || " + placeThere + " FROM pg_control_system()",
		"SELECT " + placeThere,
	},
	writable:      "SELECT CASE current_setting('transaction_read_only') WHEN 'on' THEN 0 ELSE 1 END",
	catalog:       "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
	begin:         beginPipeline,
	arrays:        true,
	interruptible: true,
	readTime:      silence,
	rowLocks:      true,
	// A row that is locked by somebody who is about to change it is skipped, and
	// the members that need it try again: one locked row stops no batch.
	shareLock:  " FOR SHARE SKIP LOCKED",
	tryLock:    " FOR UPDATE SKIP LOCKED",
	updateLock: " FOR UPDATE",
	holdLock:   " FOR SHARE",
	// What is left to wait for is an equal key that another node inserts. And a node that
	// hangs, or whose machine is gone, keeps its locks no longer than this: a batch does
	// nothing between its statements, a write decides there.
	beginBatch: "SELECT set_config('lock_timeout', '250', true), set_config('idle_in_transaction_session_timeout', '2000', true)",
	beginWrite: "SET LOCAL idle_in_transaction_session_timeout = 5000",
	// Whoever comes to a table that a migration waits for waits behind it. So it gives up
	// before a batch does, and tries again.
	beginMigration: "SET LOCAL lock_timeout = 100",

	unique: func(err error) bool { return sqlState(err) == "23505" },
	retryable: func(err error) bool {
		switch state := sqlState(err); state {
		case "40001", "40P01": // serialization failure, deadlock
			return true
		default:
			return lostStatement(state)
		}
	},
	waitedTooLong: func(err error) bool { return sqlState(err) == "55P03" }, // lock_timeout
	unconfirmed:   func(error) bool { return false },                        // the server itself ends then
	gone: func(err error) bool {
		state := sqlState(err)
		if state == "" {
			return true // no answer from the server
		}
		if fatal(err) { // the connection has ended: also PgBouncer's 08P01
			return true
		}
		switch state[:2] {
		case "53", "57", "58": // resources, operator, system
			return true
		}
		switch state {
		case "08000", "08003", "08006", // connection; 08P01 is a text with NUL behind a pooler
			"40001", "40P01", // still so after the retries
			"55P03",          // lock_timeout
			onlyReads,        // a standby
			"25P03", "25P04", // the server's own bounds of a transaction's time
			"26000", "42P05": // a pooler, still so after the retries
			return true
		}
		return false
	},
}

// placeThere is where a database is on its server.
const placeThere = "' ' || CAST(CAST('settings' AS regclass) AS oid) || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database())"

// onlyReads is the state of a server that takes no writes, or of a transaction there.
const onlyReads = "25006"

func fatal(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.EqualFold(e.Severity, "FATAL")
}

// ended says that a connection has ended, or was closed, that had been there.
func ended(err error) bool {
	if _, never := errors.AsType[*pgconn.ConnectError](err); never || pgconn.Timeout(err) {
		return false
	}
	_, broken := errors.AsType[*net.OpError](err)
	return broken || fatal(err) || pgconn.SafeToRetry(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// sqlState returns the five characters of the server's error, or "".
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && len(e.Code) == 5 {
		return e.Code
	}
	return ""
}

// Connections for each process: one commits batches, few write, the others read.
// They are apart so that a crowd of readers cannot keep an exchange waiting, and
// so that a write that has to put up a fence always finds a connection for it.
const (
	postgresWriters        = 4
	postgresConnectTimeout = 2 * time.Second
)

// sharesOf divides the connections of a process: so many as the database URL says, or,
// where it says nothing, as many as its processors can keep busy.
func sharesOf(given string) (shares [3]int, err error) {
	if given == "" {
		return [...]int{1, postgresWriters, max(4, 2*runtime.GOMAXPROCS(0))}, nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 3 || n > 1000 {
		return shares, fmt.Errorf("%s is %q and must be a number from 3 to 1000: one connection issues, and at least one writes and one reads", poolParameter, given)
	}
	writers := min(postgresWriters, (n-1)/2)
	return [...]int{1, writers, n - 1 - writers}, nil
}

func (db *DB) openPostgres(url string) error {
	u, err := newUpstream(url)
	if err != nil {
		return err
	}
	db.dialect, db.upstream, db.line = postgresDialect, u, newLine(&u.config, db.log)
	open := func(share int, patient bool) *pool { return u.open(u.connections[share], db.line, patient) }
	db.commit, db.write, db.read = open(0, false), open(1, true), open(2, false)
	return nil
}
