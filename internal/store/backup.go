package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	agentidp "github.com/sentryagent/agentidp"
)

// ErrNoCopies says that the engine makes copies by itself, with tools of its own.
var ErrNoCopies = errors.New("only an embedded database is copied by this program")

// CopyTo writes what the database holds at one instant into a file that is empty.
// Others read and write meanwhile, from this process or another. The caller makes the
// copy durable. SQLite only: elsewhere ErrNoCopies.
func (db *DB) CopyTo(ctx context.Context, path string) error {
	if db.rowLocks {
		return ErrNoCopies
	}
	_, err := db.write.ExecContext(ctx, "VACUUM INTO $1", path)
	return db.explain(ctx, "copy the database", err)
}

// QuickCheck looks for damage as fast as the engine can. PostgreSQL has no such
// question that it answers in passing: there it is ErrNoCopies.
func (db *DB) QuickCheck(ctx context.Context) error {
	if db.rowLocks {
		return ErrNoCopies
	}
	return intact(ctx, db.reads, "quick_check")
}

// Contents is what a database file holds.
type Contents struct {
	SchemaVersion                              int64
	Organizations, Policies, Agents, Decisions int64
	LatestRecord                               time.Time // of the audit log; zero: there is none
}

// Inspect reads a database file that nobody writes to, whole, and changes nothing
// about it. The error says in a sentence what is wrong with it.
func Inspect(ctx context.Context, path string) (_ *Contents, err error) {
	if err := looksLikeSQLite(path); err != nil {
		return nil, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// immutable: no lock and no companion file, also where the folder is read-only.
	dsn := sqliteFile(path) + "?mode=ro&immutable=1&_error_rc=1&_pragma=trusted_schema(0)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := reads{sqliteDialect, db}
	if err := intact(ctx, r, "integrity_check"); err != nil {
		return nil, err
	}
	return contents(ctx, r)
}

// sqliteMagic is how a SQLite database begins.
const sqliteMagic = "SQLite format 3\x00"

func looksLikeSQLite(path string) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("it cannot be read: permission denied; run this as its owner")
	case err != nil:
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(f, head)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case strings.HasPrefix(string(head[:n]), "PGDMP"):
		return errors.New("it is a dump of PostgreSQL; bring it back with pg_restore, and then run: agentidp restore --mark")
	case string(head[:n]) != sqliteMagic:
		return errors.New("it is no SQLite database")
	}
	return nil
}

// intact runs one of SQLite's checks of a whole database.
func intact(ctx context.Context, r reads, check string) error {
	found, err := list(ctx, r.unprepared(), "check the database", scanValue[string], "PRAGMA "+check+"(1)")
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return fmt.Errorf("it is damaged: %w", e)
	}
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("it is damaged: %s says %s", check, strings.Join(strings.Fields(strings.Join(found, " ")), " "))
	}
	return nil
}

// contents counts rows of the whole installation, so it names no organization.
func contents(ctx context.Context, r reads) (*Contents, error) {
	for _, table := range []string{versionTable, "organizations", "settings"} {
		found, err := one(ctx, r, "look for the schema", scanValue[int], r.catalog, table)
		if err != nil {
			return nil, err
		}
		if *found == 0 {
			return nil, fmt.Errorf("it is a SQLite database of another program: it has no table %s", table)
		}
	}
	scan := func(rows *sql.Rows, c *Contents) error {
		return rows.Scan(&c.SchemaVersion, &c.Organizations, &c.Policies, &c.Agents, &c.Decisions, microsTime{&c.LatestRecord})
	}
	c, err := one(ctx, r, "count what it holds", scan, `
		SELECT (SELECT coalesce(max(version_id), 0) FROM goose_db_version), (SELECT count(*) FROM organizations),
			(SELECT count(*) FROM oidc_trust_policies), (SELECT count(*) FROM agents), (SELECT count(*) FROM decisions),
			(SELECT coalesce(max(at), 0) FROM events)`)
	if err != nil {
		return nil, err
	}
	if want := LatestSchema(); c.SchemaVersion > want {
		return c, understood(ctx, r, c.SchemaVersion, want)
	}
	return c, nil
}

// sqliteFile is a path as the driver takes it. It is escaped, so that ?, # and % in
// it are only characters.
func sqliteFile(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive letter
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath()
}

// RestoredOrganization marks an organization as one of a database that was put back
// to an earlier state, in the transaction that records it. Its revision rises, so
// that no exchange goes on which began before.
func (t *Tx) RestoredOrganization(ctx context.Context, orgID string, at time.Time) (*agentidp.Organization, error) {
	org, err := t.LockOrganization(ctx, orgID)
	if err != nil {
		return nil, err
	}
	if at.After(org.RestoredAt) {
		org.RestoredAt = at
	}
	org.Revision++
	return org, t.UpdateOrganization(ctx, org)
}
