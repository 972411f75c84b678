package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// DB is an open database. Its methods may be called by many goroutines.
type DB struct {
	reads
	clock func() time.Time
	log   *slog.Logger

	// commit is the committer's connection, write is for Write, read for reads.
	// On SQLite the first two are one pool of one connection.
	commit, write, read *pool
	upstream            *upstream // of PostgreSQL; nil on SQLite
	line                *line     // to PostgreSQL; nil: another engine

	schema    []migration
	committer committer
	written   written
	broken    broken
	changed   chan struct{} // see Changed
	closing   sync.Once
	closeErr  error
}

// Options are what a DB needs beside its address. The zero value works.
type Options struct {
	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard
	// Committed, when set, is told how many exchanges shared each commit of the
	// committer and how long it took. The next one waits for it.
	Committed func(members int, took time.Duration)
}

// Open opens "sqlite:<path>" or "postgres://…" and makes sure that it answers.
// The path is taken as it is; the file is created, with mode 0600, in a folder
// that exists. Open changes no schema: see Migrate.
func Open(ctx context.Context, url string, opt Options) (*DB, error) {
	db := &DB{clock: opt.Clock, log: opt.Logger, schema: schema(), written: newWritten(), broken: broken{since: make(chan struct{})}, changed: make(chan struct{}, 1)}
	db.committer.committed = opt.Committed
	if db.clock == nil {
		db.clock = time.Now
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok && path != "" {
		err = db.openSQLite(path)
	} else if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		err = db.openPostgres(url)
	} else {
		err = errors.New(`the database URL must be "sqlite:<path>" or "postgres://<user>@<host>/<database>"`)
	}
	if err != nil {
		return nil, err
	}
	db.q = db.read
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", withRemedy(err)), db.closePools())
	}
	db.line.start()
	db.committer.start(db)
	return db, nil
}

// Ping asks the database for an answer, over the connection that issues. One that only
// reads is none to issue at, and no connection to it is used again: behind a pooler, or
// where a primary was told to refuse writes, nothing else says so before the next write,
// and what is read there meanwhile may be old.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.broken.err(); err != nil {
		return err
	}
	writable, err := one(ctx, reads{db.dialect, db.commit}, "ping", scanValue[int], cmp.Or(db.writable, "SELECT 1"))
	if err == nil && *writable == 0 {
		db.upstream.turn.Add(1)
		return fmt.Errorf("ping: PostgreSQL only reads: %w", ErrUnavailable)
	}
	return err
}

// Close lets the waiting exchanges finish, writes the counters and closes the
// connections. What comes after gets ErrUnavailable. Those of a broken database stay
// open until the program ends.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.committer.stop()
		if db.broken.err() == nil { // SQLite's last connection would write what the log holds into the file, and remove the log
			db.closeErr = db.closePools()
		}
	})
	return db.closeErr
}

func (db *DB) closePools() error {
	db.line.stop()
	err := errors.Join(db.read.Close(), db.write.Close())
	if db.commit != db.write {
		err = errors.Join(err, db.commit.Close())
	}
	return err
}
