package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp/internal/store"
)

// A database takes all that another holds, row for row, whichever engines they are.
func TestTake(t *testing.T) {
	for _, from := range engines {
		for _, to := range engines {
			t.Run(to.name+" takes "+from.name, func(t *testing.T) {
				t.Parallel()
				source, target := filledIn(t, from.url(t)), open(t, to.url(t))
				if err := target.Take(t.Context(), source); err == nil || !strings.Contains(err.Error(), "migrate both first") {
					t.Errorf("without a schema: %v", err)
				}
				if err := target.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := target.Take(t.Context(), source); err != nil {
					t.Fatal(err)
				}
				for _, table := range store.ContentTables {
					want, got := contentOf(t, source, table), contentOf(t, target, table)
					if diff := cmp.Diff(want, got); diff != "" || len(got) != rowsOfEach {
						t.Errorf("%s: %d rows: %s", table, len(got), diff)
					}
				}
				if err := target.Take(t.Context(), source); !errors.Is(err, store.ErrNotEmpty) {
					t.Errorf("a second time: %v", err)
				}
			})
		}
	}
}

// rowsOfEach are more than one statement brings.
const rowsOfEach = 201

// Every table of the schema is taken over, or is known not to be.
func TestNoTableIsForgotten(t *testing.T) {
	db := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "agentidp.db")).DB
	tables := store.Strings(t, db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	want := slices.Sorted(slices.Values(append([]string{"changes", "fences", "goose_db_version"}, store.ContentTables...)))
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("the tables, and those that a database takes over: %s", diff)
	}
}

// filledIn returns a database with more rows in each table than one statement brings, and
// every column filled with what is not its zero value.
func filledIn(t *testing.T, url string) *store.DB {
	t.Helper()
	db := open(t, url)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range store.ContentTables {
		columns, kinds := store.Columns(t, db, table)
		values, rows := make([]string, len(columns)), make([]string, rowsOfEach)
		for n := range rows {
			for i, kind := range kinds {
				switch kind {
				case "BIGINT", "INT8":
					values[i] = fmt.Sprint(1<<50 + n)
				case "BOOLEAN", "BOOL":
					values[i] = []string{"TRUE", "FALSE"}[n%2]
				case "TEXT":
					values[i] = fmt.Sprintf("'%s %d größe'", columns[i], n)
				default:
					t.Fatalf("%s.%s has the type %s", table, columns[i], kind)
				}
			}
			rows[n] = "(" + strings.Join(values, ", ") + ")"
		}
		store.Exec(t, db, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES "+strings.Join(rows, ", "))
	}
	return db
}

// contentOf returns the rows of a table, as text in one order.
func contentOf(t *testing.T, db *store.DB, table string) []string {
	t.Helper()
	columns, _ := store.Columns(t, db, table)
	slices.Sort(columns)
	for i, c := range columns {
		columns[i] = "coalesce(CAST(" + c + " AS TEXT), 'NULL')"
	}
	rows := store.Strings(t, db, "SELECT "+strings.Join(columns, " || '|' || ")+" FROM "+table)
	for i := range rows { // booleans, as each engine writes them
		rows[i] = strings.NewReplacer("|true", "|1", "|false", "|0").Replace("|" + rows[i])
	}
	slices.Sort(rows)
	return rows
}
