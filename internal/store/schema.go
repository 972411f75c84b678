package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A migration is one file of the folder migrations, one text for both engines, and one
// transaction. It only adds, so that servers of the version before go on beside it: what
// is allowed stands in migration_rules_test.go.
type migration struct {
	version int64
	text    string
}

// schema is what this program knows: its migrations, in their order.
var schema = sync.OnceValue(func() []migration { return readMigrations(migrationFiles()) })

// readMigrations panics where a file is no migration: it would fail in every program.
func readMigrations(files fs.FS) (all []migration) {
	names, err := fs.Glob(files, "*.sql")
	for _, name := range names {
		number, _, _ := strings.Cut(filepath.Base(name), "_")
		var m migration
		if m.version, err = strconv.ParseInt(number, 10, 64); err != nil {
			break
		}
		var text []byte
		if text, err = fs.ReadFile(files, name); err != nil {
			break
		}
		m.text = string(text)
		all = append(all, m)
	}
	if err != nil {
		panic(fmt.Sprintf("store: read the migrations: %v", err))
	}
	slices.SortFunc(all, func(a, b migration) int { return int(a.version - b.version) })
	return all
}

// latest is the schema version to which migrations lead.
func latest(all []migration) int64 { return all[len(all)-1].version }

// LatestSchema is the version of the schema that this program works with.
func LatestSchema() int64 { return latest(schema()) }

// SchemaVersion returns the version of the database's schema, 0 when it has
// none, and the one that this program knows.
func (db *DB) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	want = latest(db.schema)
	exists, err := db.hasTable(ctx, versionTable)
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

// A newer program adds to the schema what this one need not know of, and this one serves
// on, and may be started again. What it must not overlook (a condition that a policy has
// in a column that is new) is said in the organizations that have it: needs_schema is the
// schema version of the oldest program that may work with the organization, and every
// transaction that raises it raises the revision. So it holds at every node from then on,
// like any change of an organization: an older program grants nothing more in it, reads
// nothing of it and does not start.

// Understood returns nil where this program may work with a database whose schema has a
// newer version than it knows.
func (db *DB) Understood(ctx context.Context) error {
	have, want, err := db.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	return understood(ctx, db.reads, have, want)
}

func understood(ctx context.Context, r reads, have, want int64) error {
	needs, err := one(ctx, r, "read which schema is needed", scanValue[int64], "SELECT coalesce(max(needs_schema), 0) FROM organizations")
	if err != nil {
		return err
	}
	if *needs > want {
		return fmt.Errorf("schema version %d holds what this program, which knows %d, would misread: a newer agentidp wrote it; run that one", have, want)
	}
	return nil
}

// misread is of an organization of which this program would misread something.
func misread(slug string, needs int64) error {
	return fmt.Errorf("the organization %s needs schema version %d and this program knows %d: a newer agentidp wrote it; run that one", slug, needs, LatestSchema())
}
