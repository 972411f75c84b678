package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestASQLitePathMayHaveOddCharacters(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "a?b.db", "a#b.db", "a%b.db", "100%20.db", "a&b=c.db", "a+b.db", "ä:ö.db", "mode=ro?mode=ro.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			f := newFixture(t, "sqlite:"+filepath.Join(folder, name))
			if err := f.Issue(t.Context(), f.grant()); err != nil {
				t.Fatal(err)
			}
			files, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if !strings.HasPrefix(file.Name(), name) {
					t.Errorf("%q is not the file that was named", file.Name())
				}
				if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v, %v; want 0600", file.Name(), info.Mode(), err)
				}
			}
		})
	}
}

func TestARelativeSQLitePath(t *testing.T) {
	t.Chdir(t.TempDir())
	open(t, "sqlite:here.db")
	if _, err := os.Stat("here.db"); err != nil {
		t.Error(err)
	}
}

func TestSQLiteRunsAsDurablyAsPromised(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "pragmas.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "2500", "trusted_schema": "0", "query_only": "1"} {
		if got := store.Strings(t, f.DB, "PRAGMA "+pragma); len(got) != 1 || got[0] != want {
			t.Errorf("%s = %v, want %s", pragma, got, want)
		}
	}
}

func TestOpenRefusesWithARemedy(t *testing.T) {
	folder := t.TempDir()
	notADatabase := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(notADatabase, []byte(strings.Repeat("these are notes\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ url, want string }{
		"no scheme":                            {"agentidp.db", `must be "sqlite:<path>" or "postgres://`},
		"another engine":                       {"mysql://root:secret@localhost/x", `must be "sqlite:<path>" or "postgres://`},
		"no path":                              {"sqlite:", `must be "sqlite:<path>"`},
		"a folder that is not there":           {"sqlite:" + filepath.Join(folder, "none", "x.db"), "none does not exist: create it"},
		"a file that is no database":           {"sqlite:" + notADatabase, "file is not a database"},
		"a folder":                             {"sqlite:" + folder, "unable to open database file"},
		"a PostgreSQL URL that does not parse": {"postgres://user:secret@host:port/x", "read the database URL"},
		"a PostgreSQL that is not there":       {"postgres://user:secret@127.0.0.1:1/x?sslmode=disable", "cannot be used"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(t.Context(), test.url, store.Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v\nwant %q, and no password", err, test.want)
			}
		})
	}
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if err := f.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		have, want, err := f.SchemaVersion(t.Context())
		if err != nil || have != want || want == 0 {
			t.Errorf("have %d, want %d, %v", have, want, err)
		}
	})
}

func TestManyMigratorsAtOnceAllEndWell(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			url := engine.url(t)
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				db := open(t, url)
				if have, _, err := db.SchemaVersion(t.Context()); err != nil || have != 0 {
					t.Fatalf("an empty database has version %d, %v", have, err)
				}
				wg.Go(func() {
					<-start
					if err := db.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			wg.Wait()
			f := newFixture(t, url)
			if err := f.Issue(t.Context(), f.grant()); err != nil {
				t.Error(err)
			}
			versions := store.Strings(t, f.DB, "SELECT version_id FROM goose_db_version ORDER BY version_id")
			files, err := os.ReadDir("migrations")
			if err != nil {
				t.Fatal(err)
			}
			if have, _, err := f.SchemaVersion(t.Context()); err != nil || len(versions) != len(files)+1 || versions[len(files)] != strconv.FormatInt(have, 10) {
				t.Errorf("version %d by the steps %v, %v; want each once", have, versions, err)
			}
		})
	}
}

// A migration that fails here may be under way elsewhere: its commit is waited for,
// longer than a busy machine takes.
func TestAMigrationThatAnotherProgramDoesIsWaitedFor(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		have, _, err := f.SchemaVersion(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		store.Exec(t, f.DB, "DELETE FROM goose_db_version WHERE version_id = $1", have) // its tables are there already
		commit := time.AfterFunc(time.Second, func() {
			store.Exec(t, f.DB, "INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, $2)", have, true)
		})
		defer commit.Stop()
		if err := f.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsThatTheServerClosedAreReplaced(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	store.Strings(t, f.DB, "SELECT CAST(pg_terminate_backend(pid) AS TEXT) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	if err := f.Ping(t.Context()); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the first to notice: %v, want ErrUnavailable at worst", err)
	}
	if err := f.Issue(t.Context(), f.grant()); err != nil {
		t.Errorf("the next: %v", err)
	}
}

func TestAfterCloseEverythingIsUnavailable(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		_, read := f.Policy(t.Context(), f.org.ID, f.policy.ID)
		d := f.grant().Decision
		for name, err := range map[string]error{
			"ping": f.Ping(t.Context()), "read": read, "record": f.Record(t.Context(), &d),
			"write": f.Write(t.Context(), func(*store.Tx) error { return nil }),
		} {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnavailable", name, err)
			}
		}
	})
}
