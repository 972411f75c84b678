package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sentryagent/agentidp/internal/limit"
)

// Limits of one transaction.
const (
	// maxRetries is after the first try. Where nodes write at once under SERIALIZABLE, three
	// were too few: PostgreSQL ends one of two that read what the other wrote nearby.
	maxRetries = 7
	retryTime  = time.Second      // that and no less: see spent
	txTimeout  = 10 * time.Second // with all its tries; whoever asked may have left long before
)

// Tx is a transaction of DB.Write. It reads its own writes.
type Tx struct {
	reads
	db     *DB
	tx     *sql.Tx
	locked map[rowKey]bool
	events [][]any // that were appended
	told   bool    // of a change that nodes may remember otherwise
	fences []rowKey
	holder string // of the fences
}

// Write runs fn in one transaction and commits it. When fn fails nothing is
// written and Write returns fn's error. A transaction that lost a race with
// another (serialization failure, deadlock, busy file) is run again as a whole,
// at most seven times: fn may therefore run more than once and must keep its
// effects within the Tx. A commit whose outcome is unknown is ErrUnavailable and
// never run again.
//
// Within fn, use the Tx: on SQLite, a Write, Issue or Record of the DB would wait
// for this transaction to end. After an error from a method of the Tx, other than ErrNotFound, ErrStale and
// the ErrExists of a Create method, fn must return.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), txTimeout)
	defer cancel()
	for try, began := 0, time.Now(); ; try++ {
		err := db.broken.look(db.dialect, db.writeOnce(ctx, own, fn))
		if err == nil || !db.retryable(err) || db.spent(err, try, began) || own.Err() != nil || !pause(ctx, try) {
			return err
		}
	}
}

// spent reports whether a transaction that ended with err has been tried often enough and,
// where it lost a race, for long enough. Under SERIALIZABLE, PostgreSQL takes what was
// committed since the oldest transaction began that still runs, in any of its databases, for
// no older than that one: until it ends, the same conflict may come back try after try.
func (d *dialect) spent(err error, try int, began time.Time) bool {
	return try >= maxRetries && (!d.retryable(err) || time.Since(began) > retryTime)
}

// writeOnce begins on a context of its own: a caller that leaves during the
// commit must not turn a known outcome into an unknown one.
func (db *DB) writeOnce(ctx, own context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := db.broken.err(); err != nil {
		return err
	}
	limit.Waits(ctx)
	tx, err := db.write.BeginTx(own, nil)
	if err != nil {
		return db.explain(ctx, "begin", err)
	}
	t := &Tx{reads: reads{db.dialect, tx}, db: db, tx: tx, locked: make(map[rowKey]bool)}
	defer t.removeFences(own)
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if db.beginWrite != "" {
		if _, err := tx.ExecContext(own, db.beginWrite); err != nil {
			return db.explain(ctx, "begin", err)
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("before the commit: %w", err)
	}
	if err := finishCommit(tx.Commit()); err != nil {
		return err
	}
	db.written.add(t.events)
	if t.told {
		signal(db.changed)
	}
	return nil
}

// finishCommit gives an error of COMMIT its meaning: the engine says that the
// transaction lost and did nothing, which is retryable, or nobody knows.
func finishCommit(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("commit: %w: %w", ErrUnavailable, err)
}

// pause waits a few milliseconds, more after each try, so that two transactions
// that collided do not do so again in step. False: ctx ended.
func pause(ctx context.Context, try int) bool {
	wait := time.Duration(1+rand.IntN(4<<min(try, 5))) * time.Millisecond //nolint:gosec // jitter
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// exec runs one statement and returns how many rows it touched.
func (t *Tx) exec(ctx context.Context, doing, query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, t.explain(ctx, doing, err)
	}
	n, err := result.RowsAffected()
	return n, t.explain(ctx, doing, err)
}

// insert runs an INSERT … ON CONFLICT DO NOTHING. A conflict is ErrExists, and
// the transaction goes on: a failed statement would end it on PostgreSQL.
func (t *Tx) insert(ctx context.Context, doing, query string, args ...any) error {
	n, err := t.exec(ctx, doing, query, args...)
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", doing, ErrExists)
	}
	return err
}

// update runs an UPDATE of the one row that still has the revision before this.
func (t *Tx) update(ctx context.Context, doing, query string, args ...any) error {
	n, err := t.exec(ctx, doing, query, args...)
	if err == nil && n != 1 {
		return fmt.Errorf("%s: %w", doing, ErrStale)
	}
	return err
}
