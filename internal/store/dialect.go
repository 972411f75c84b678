package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
)

// What a caller can do something about. Test with errors.Is.
var (
	// ErrNotFound: no such row in this organization.
	ErrNotFound = errors.New("no such row")
	// ErrExists: a name or key that must be unique is taken.
	ErrExists = errors.New("already exists")
	// ErrStale: a row is no longer as the caller saw it. Read again.
	ErrStale = errors.New("the row is no longer as it was seen")
	// ErrReplayed: the subject token was exchanged before.
	ErrReplayed = errors.New("the subject token was used before")
	// ErrUnavailable: the storage cannot be reached, or the outcome is unknown.
	ErrUnavailable = errors.New("the storage cannot be reached, or the outcome is unknown")
)

// dialect is all that differs between the engines.
type dialect struct {
	goose   goose.Dialect
	catalog string // counts the tables named $1
	tables  string // counts all, where a database is one program's; "": others may have theirs in it

	// begin begins a transaction of the committer.
	begin func(context.Context, *pool) (transaction, error)
	// prepare says that statements are worth preparing by hand. pgx keeps its
	// own cache for each connection, and can do without one behind a pooler.
	prepare bool
	// place tells the database from a copy of it; the second is for a server that does not
	// say what the first asks.
	place [2]string
	// writable asks a server whether it takes writes: 1 or 0. "": what answers does.
	writable string
	// unnamed says that long statements take ? rather than $1: SQLite looks each
	// name up in a list, which is quadratic.
	unnamed bool
	// arrays says that the rows of an INSERT travel as an array for each column.
	arrays bool
	// interruptible says that cancelling a context is cheap. On SQLite it costs
	// a goroutine for each statement and buys little: a local file answers, and
	// a lock is waited for no longer than busy_timeout.
	interruptible bool
	// readTime bounds a read outside of a transaction, with the time in which it waits for a
	// connection: where they are slow, those who wait are told so, and those who are left
	// get through. 0: only its context does.
	readTime time.Duration
	// rowLocks says that rows are locked one by one: writers then have to take
	// the locks below. Where a writer has the whole database they are empty.
	rowLocks   bool
	shareLock  string // of rows that issuing compares; never waits
	tryLock    string // of a row about to change, if it is free
	updateLock string // of a row about to change
	holdLock   string // of a row that must stay as it is, beside others who want that
	// beginBatch is run first in each batch, and beginWrite in each Write, if not empty.
	beginBatch, beginWrite string
	// beginMigration likewise, in each migration.
	beginMigration string

	unique    func(error) bool // a unique constraint refused it
	retryable func(error) bool // lost a race with another transaction; nothing was done
	gone      func(error) bool // the engine, not the statement, is at fault
	// waitedTooLong is the part of gone that is about one row.
	waitedTooLong func(error) bool
	// unconfirmed says that the disk did not confirm what was written (fsync failed).
	unconfirmed func(error) bool
}

// explain wraps an error of the engine: with the sentinel that callers know, if
// there is one, and with what was being done.
func (d *dialect) explain(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case isSentinel(err):
		return fmt.Errorf("%s: %w", doing, err)
	case d.unique(err):
		return fmt.Errorf("%s: %w: %w", doing, ErrExists, err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", doing, err) // the caller left
	case d.gone(err):
		return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func isSentinel(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) || errors.Is(err, ErrStale) ||
		errors.Is(err, ErrReplayed) || errors.Is(err, ErrUnavailable)
}
