package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// copied returns a copy of a database that has its work cut out for it.
func copied(t *testing.T) (f *fixture, file string) {
	t.Helper()
	f = newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "agentidp.db"))
	for range 20 {
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(t.TempDir(), "copy.db")
	if err := f.CopyTo(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return f, file
}

func TestACopyHoldsWhatWasCommitted(t *testing.T) {
	f, file := copied(t)
	if err := f.Issue(t.Context(), f.grant()); err != nil { // after the copy
		t.Fatal(err)
	}
	got, err := store.Inspect(t.Context(), file)
	want := &store.Contents{SchemaVersion: store.LatestSchema(), Organizations: 1, Policies: 1, Agents: 1, Decisions: 20, LatestRecord: now}
	same(t, got, want, err)
	if others, err := filepath.Glob(file + "-*"); err != nil || len(others) > 0 {
		t.Errorf("looking into it left %v, %v", others, err)
	}
	if err := f.CopyTo(t.Context(), file); err == nil {
		t.Error("a copy was written over another")
	}
}

func TestPostgreSQLMakesItsOwnCopies(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if strings.HasPrefix(f.url, "sqlite:") {
			if err := f.QuickCheck(t.Context()); err != nil {
				t.Error(err)
			}
			return
		}
		if err := f.CopyTo(t.Context(), filepath.Join(t.TempDir(), "copy.db")); !errors.Is(err, store.ErrNoCopies) {
			t.Error(err)
		}
		if err := f.QuickCheck(t.Context()); !errors.Is(err, store.ErrNoCopies) {
			t.Error(err)
		}
	})
}

// what is no backup, or no whole one, is told so in a sentence.
func TestFilesThatAreNoBackup(t *testing.T) {
	_, file := copied(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	zeroed := bytes.Clone(whole)
	clear(zeroed[3*4096 : 4*4096])
	flipped := bytes.Clone(whole)
	flipped[2*4096] = 'x' // what sort of page it is
	sql := func(statements ...string) []byte { return rewritten(t, whole, statements...) }
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"an empty file", nil, "it is empty"},
		{"a page of text", []byte("-- PostgreSQL database dump\n"), "it is no SQLite database"},
		{"a few bytes of one", whole[:10], "it is no SQLite database"},
		{"its header alone", whole[:100], "it is damaged: "},
		{"its first half", whole[:len(whole)/2], "it is damaged: "},
		{"all but the last page", whole[:len(whole)-4096], "it is damaged: "},
		{"a page of zeros", zeroed, "it is damaged: integrity_check says "},
		{"a page that is another", flipped, "it is damaged: "},
		{"an archive of pg_dump", []byte("PGDMP\x01\x0e"), "it is a dump of PostgreSQL; bring it back with pg_restore, and then run: agentidp restore --mark"},
		{"another program's", sql("DROP TABLE organizations"), "it is a SQLite database of another program: it has no table organizations"},
		{"one without a schema", sql("DROP TABLE goose_db_version"), "it has no table goose_db_version"},
		{"a newer program's", sql("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)", "UPDATE organizations SET needs_schema = 9999"), "schema version 9999 holds what this program, which knows "},
	} {
		path := filepath.Join(t.TempDir(), "file.db")
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := store.Inspect(t.Context(), path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", test.name, c, err, test.want)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, test.content) {
			t.Errorf("%s: the file was changed (%v)", test.name, err)
		}
	}
	if _, err := store.Inspect(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil || err.Error() != "there is no such file" {
		t.Error(err)
	}
}

// rewritten returns a database file after some SQL.
func rewritten(t *testing.T, file []byte, statements ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "changed.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		store.Exec(t, db, s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func TestARestoredOrganization(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := context.WithoutCancel(t.Context())
		mark := func(at time.Time) {
			t.Helper()
			f.write(t, func(tx *store.Tx) error {
				_, err := tx.RestoredOrganization(ctx, f.org.ID, at)
				return err
			})
		}
		mark(now)
		if err := f.Issue(ctx, f.grant()); !errors.Is(err, store.ErrStale) {
			t.Errorf("an exchange that began before: %v", err)
		}
		org, err := f.Organization(ctx, "default")
		if err != nil || !org.RestoredAt.Equal(now) || org.Revision != f.org.Revision+1 {
			t.Fatalf("%+v, %v", org, err)
		}
		mark(now.Add(-time.Hour)) // by a clock that is behind
		if org, err = f.Organization(ctx, "default"); err != nil || !org.RestoredAt.Equal(now) {
			t.Errorf("%+v, %v", org, err)
		}
		org.Status, org.Revision = agentidp.OrganizationClosed, org.Revision+1
		f.write(t, func(tx *store.Tx) error { return tx.UpdateOrganization(ctx, org) })
		if org, err = f.Organization(ctx, "default"); err != nil || !org.RestoredAt.Equal(now) {
			t.Errorf("after another change: %+v, %v", org, err)
		}
		f.addOrganization(t, "again")
		if org, err = f.Organization(ctx, "again"); err != nil || !org.RestoredAt.Equal(now) {
			t.Errorf("one that is made after a restore: %+v, %v", org, err)
		}
	})
}
