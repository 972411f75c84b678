package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrDamaged says that the database file is damaged.
var ErrDamaged = errors.New("the file is damaged")

// records are the tables of which the audit log is made. They can be long, and no
// exchange reads them.
var records = map[string]bool{"decisions": true, "events": true, "recorded_claims": true}

// Sound looks for damage for as long as ctx allows, table by table: first at what
// exchanges are decided by, at last at the records. whole: it came to the end. SQLite
// only: elsewhere ErrNoCopies.
func (db *DB) Sound(ctx context.Context) (whole bool, err error) {
	if db.rowLocks {
		return false, ErrNoCopies
	}
	r := db.unprepared()
	tables, err := list(ctx, r, "list the tables", scanValue[string], "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	if err != nil {
		return false, err
	}
	for _, last := range []bool{false, true} {
		for _, table := range tables {
			if records[table] != last {
				continue
			}
			found, err := list(ctx, r, "check the database", scanValue[string], "SELECT quick_check FROM pragma_quick_check($1) LIMIT 1", table)
			switch {
			case ctx.Err() != nil:
				return false, nil //nolint:nilerr // its time is over
			case err != nil:
				return false, err
			case len(found) != 1 || found[0] != "ok":
				return false, fmt.Errorf("%w: in the table %s, %s", ErrDamaged, table, strings.Join(strings.Fields(strings.Join(found, " ")), " "))
			}
		}
	}
	return true, nil
}
