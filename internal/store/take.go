package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// contentTables are those whose rows another database takes over. Fences are not among
// them, nor what nodes tell each other of changes: both are of servers that run.
var contentTables = []string{
	"organizations", "settings", "signing_keys", "oidc_providers", "key_sets", "oidc_trust_policies", "policy_usage", "pins", "agents",
	"credentials", "credential_usage", "used_tokens", "access_tokens", "decisions", "recorded_claims", "events",
}

// taken is how many rows one statement brings: PostgreSQL takes 65,535 parameters.
const taken = 200

// ErrNotEmpty says that a database holds something, and does not take another's rows.
var ErrNotEmpty = errors.New("the database is not empty")

// Take copies all that another database holds into this one, whichever engines they are,
// in one transaction. Both have the same schema, this one has no rows, and nobody writes to
// the other meanwhile. All organizations are meant.
func (db *DB) Take(ctx context.Context, from *DB) (err error) {
	theirs, _, err := from.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if ours, _, err := db.SchemaVersion(ctx); err != nil || ours != theirs {
		return errors.Join(err, fmt.Errorf("the databases have schema versions %d and %d; migrate both first", ours, theirs))
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return db.explain(ctx, "begin", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rolledBack(tx))
		}
	}()
	for _, table := range contentTables {
		var there bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&there); err != nil {
			return db.explain(ctx, "look into "+table, err)
		}
		if there {
			return ErrNotEmpty
		}
	}
	for _, table := range contentTables {
		if err := takeTable(ctx, tx, from, table); err != nil {
			return db.explain(ctx, "copy the rows of "+table, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return db.explain(ctx, "commit", err)
	}
	// Nothing is counted yet, and plans for empty tables are slow with full ones.
	_, err = db.write.ExecContext(ctx, "ANALYZE")
	return db.explain(ctx, "count what is there", err)
}

func rolledBack(tx *sql.Tx) error {
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}

// takeTable copies one table, some rows at a time, by the names of its columns.
func takeTable(ctx context.Context, tx *sql.Tx, from *DB, table string) (err error) {
	rows, err := from.read.DB.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec // one of contentTables
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	columns := make([]string, len(types))
	for i, c := range types {
		columns[i] = c.Name()
	}
	var values []any
	for rows.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, c := range types {
			if n, is := row[i].(int64); is && c.DatabaseTypeName() == "BOOLEAN" { // SQLite has none of its own
				row[i] = n != 0
			}
		}
		if values = append(values, row...); len(values) == taken*len(columns) {
			if err := putRows(ctx, tx, table, columns, values); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	if err := rows.Err(); err != nil || len(values) == 0 {
		return err
	}
	return putRows(ctx, tx, table, columns, values)
}

func putRows(ctx context.Context, tx *sql.Tx, table string, columns []string, values []any) error {
	text := "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + tuples(len(values)/len(columns), len(columns), false) //nolint:gosec // one of contentTables, and its columns
	_, err := tx.ExecContext(ctx, text, values...)
	return err
}
