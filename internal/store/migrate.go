package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/sentryagent/agentidp/internal/failpoint"
)

const versionTable = goose.DefaultTablename

const (
	// otherMigrates bounds how long one migration of another program is waited for. A
	// migration that fails here for a reason of its own is told so much later.
	otherMigrates = 5 * time.Second
	// lockedTime bounds how long a migration is tried again because somebody uses what it
	// changes.
	lockedTime = time.Minute
	// lockedPause lies between two tries. Servers wait while one waits (see
	// dialect.beginMigration), so it is several times as long.
	lockedPause = 400 * time.Millisecond
)

// Migrate brings the schema up to what this program knows. Each migration is one
// transaction, so a program that is killed leaves a schema that the next one
// continues from. Several programs may migrate at once: each migration commits
// in one of them, and the others go on from there. Servers may run meanwhile, of the
// version before too: none waits for a migration for longer than it takes.
//
// A schema newer than the program stays as it is, and is refused only if this program
// would misread something.
func (db *DB) Migrate(ctx context.Context) error {
	for began := time.Now(); ; { // each round begins at a later version than the one before, or ends with lockedTime
		have, want, err := db.SchemaVersion(ctx)
		if err != nil {
			return err
		}
		if have > want {
			if err := db.Understood(ctx); err != nil {
				return fmt.Errorf("%w, or restore a backup from before the upgrade", err)
			}
			db.log.InfoContext(ctx, "a newer agentidp has migrated the database, and this one can work with it", "schema", have, "known", want)
			return nil
		}
		if have == want {
			return nil
		}
		if have == 0 {
			if err := db.NobodyElses(ctx); err != nil {
				return err
			}
		}
		err = db.migrateUp(ctx)
		switch {
		case err == nil:
			return nil
		case db.retryable(err) || db.waitedTooLong(err):
			if time.Since(began) < lockedTime && sleep(ctx, lockedPause+rand.N(lockedPause/2)) { //nolint:gosec // jitter
				continue
			}
			err = fmt.Errorf("%w (something uses a table for long, such as pg_dump or a session that was left in a transaction; try again when it has ended: nothing was changed, and servers that run go on)", err)
		case ctx.Err() == nil && db.migratedElsewhere(ctx, have):
			continue
		}
		return fmt.Errorf("migrate the database from schema version %d to %d: %w", have, want, mayMake(err))
	}
}

// NobodyElses refuses a database file that holds the tables of another program: one that
// was named by mistake is not to be written to.
func (db *DB) NobodyElses(ctx context.Context) error {
	if db.tables == "" {
		return nil
	}
	var n, ours int
	err := db.write.QueryRowContext(ctx, db.tables).Scan(&n)
	if err == nil { // looked for last: another server may be making a new database
		err = db.write.QueryRowContext(ctx, db.catalog, versionTable).Scan(&ours)
	}
	if err != nil {
		return db.explain(ctx, "look for other tables", err)
	}
	if n > 0 && ours == 0 {
		return errors.New("it is a SQLite database of another program; name another file in the database URL")
	}
	return nil
}

// migratedElsewhere reports whether the schema moves on from version, for which it
// waits for some seconds: our failure may have come before the other's commit, and
// how long that takes is up to the other's machine.
func (db *DB) migratedElsewhere(ctx context.Context, version int64) bool {
	ctx, cancel := context.WithTimeout(ctx, otherMigrates)
	defer cancel()
	for {
		if have, _, err := db.SchemaVersion(ctx); err == nil && have > version {
			return true
		}
		if !sleep(ctx, time.Duration(50+rand.IntN(50))*time.Millisecond) { //nolint:gosec // jitter
			return false
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// migrateUp runs the migrations that are missing. No session lock: that would be an
// advisory lock, which neither a transaction pooler nor every
// PostgreSQL-compatible engine can be trusted with.
func (db *DB) migrateUp(ctx context.Context) error {
	steps := make([]*goose.Migration, len(db.schema))
	for i, m := range db.schema {
		steps[i] = goose.NewGoMigration(m.version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error { return db.migrateOnce(ctx, tx, m.text) }}, nil)
	}
	provider, err := goose.NewProvider(db.goose, db.write.DB, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return db.broken.look(db.dialect, err)
}

// migrateOnce runs one migration in its transaction, in which its version is noted next.
func (db *DB) migrateOnce(ctx context.Context, tx *sql.Tx, text string) error {
	if err := failpoint.Hit(failpoint.BeforeMigration); err != nil {
		return err
	}
	if db.beginMigration != "" {
		if _, err := tx.ExecContext(ctx, db.beginMigration); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return err
	}
	return failpoint.Hit(failpoint.AfterMigration)
}
