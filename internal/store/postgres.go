package store

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

var postgresDialect = &dialect{
	goose:         goose.DialectPostgres,
	catalog:       "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
	interruptible: true,
	rowLocks:      true,
	// A row that is locked by somebody who is about to change it is skipped, and
	// the members that need it try again: one locked row stops no batch.
	shareLock:  " FOR SHARE SKIP LOCKED",
	tryLock:    " FOR UPDATE SKIP LOCKED",
	updateLock: " FOR UPDATE",
	holdLock:   " FOR SHARE",
	// What is left to wait for is an equal key that another node inserts.
	beginBatch: "SET LOCAL lock_timeout = 250",

	unique: func(err error) bool { return sqlState(err) == "23505" },
	retryable: func(err error) bool {
		switch sqlState(err) {
		case "40001", "40P01": // serialization failure, deadlock
			return true
		}
		return false
	},
	waitedTooLong: func(err error) bool { return sqlState(err) == "55P03" }, // lock_timeout
	unconfirmed:   func(error) bool { return false },                        // the server itself ends then
	gone: func(err error) bool {
		state := sqlState(err)
		if state == "" {
			return true // no answer from the server
		}
		switch state[:2] {
		case "53", "57", "58": // resources, operator, system
			return true
		}
		switch state {
		case "08000", "08003", "08006", // connection; 08P01 is a text with NUL behind a pooler
			"40001", "40P01", // still so after the retries
			"55P03", // lock_timeout
			"25006": // a standby, which only reads
			return true
		}
		return false
	},
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
	postgresConnectTimeout = 5 * time.Second
)

func (db *DB) openPostgres(url string) error {
	config, err := pgx.ParseConfig(url) // its errors leave the password out
	if err != nil {
		return fmt.Errorf("read the database URL: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = postgresConnectTimeout
	}
	open := func(connections int) *pool {
		p := stdlib.OpenDB(*config)
		p.SetMaxOpenConns(connections)
		p.SetMaxIdleConns(connections)
		p.SetConnMaxIdleTime(5 * time.Minute)
		return newPool(p, false)
	}
	db.dialect = postgresDialect
	db.commit, db.write, db.read = open(1), open(postgresWriters), open(max(4, 2*runtime.GOMAXPROCS(0)))
	return nil
}
