package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// otherMigrates bounds how long one migration of another program is waited for. A
// migration that fails here for a reason of its own is told so much later.
const otherMigrates = 5 * time.Second

// Migrate brings the schema up to what this program knows. Each migration is one
// transaction, so a program that is killed leaves a schema that the next one
// continues from. Several programs may migrate at once: each migration commits
// in one of them, and the others go on from there.
//
// A schema newer than the program is refused.
func (db *DB) Migrate(ctx context.Context) error {
	for { // each round begins at a later version than the one before, so they end
		have, want, err := db.SchemaVersion(ctx)
		if err != nil {
			return err
		}
		if have > want {
			return fmt.Errorf("the database has schema version %d and this program knows %d: a newer agentidp wrote it; run that one, or restore a backup from before the upgrade", have, want)
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
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !db.migratedElsewhere(ctx, have) {
			return fmt.Errorf("migrate the database from schema version %d to %d: %w", have, want, mayMake(err))
		}
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
		err = db.write.QueryRowContext(ctx, db.catalog, goose.DefaultTablename).Scan(&ours)
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
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Duration(50+rand.IntN(50)) * time.Millisecond): //nolint:gosec // jitter
		}
	}
}

func (db *DB) migrateUp(ctx context.Context) error {
	provider, err := db.migrations()
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return db.broken.look(db.dialect, err)
}

// migrations returns the embedded migrations. No session lock: that would be an
// advisory lock, which neither a transaction pooler nor every
// PostgreSQL-compatible engine can be trusted with.
func (db *DB) migrations() (*goose.Provider, error) {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(db.goose, db.write.DB, folder, goose.WithDisableGlobalRegistry(true))
}

// SchemaVersion returns the version of the database's schema, 0 when it has
// none, and the one that this program works with.
func (db *DB) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	provider, err := db.migrations()
	if err != nil {
		return 0, 0, err
	}
	for _, source := range provider.ListSources() {
		want = max(want, source.Version)
	}
	exists, err := db.hasTable(ctx, goose.DefaultTablename)
	if err != nil || !exists {
		return 0, want, err
	}
	err = db.write.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&have)
	return have, want, db.explain(ctx, "read the schema version", err)
}

// hasTable asks the engine's catalog: the one question that has no portable text.
func (db *DB) hasTable(ctx context.Context, name string) (bool, error) {
	var n int
	err := db.write.QueryRowContext(ctx, db.catalog, name).Scan(&n)
	return n > 0, db.explain(ctx, "look for the schema", err)
}
