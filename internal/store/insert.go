package store

import (
	"strconv"
	"strings"
)

// sizes are how many rows one INSERT of the committer carries. Few sizes mean
// few statements to prepare; with these, any batch is the sum of at most three.
var sizes = [...]int{64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1}

// inserter is the INSERT of one table: with a place for each value, in each size, or
// with an array for each column.
type inserter struct {
	columns  []string
	values   [len(sizes)]string // ?, ?, …
	unnested string             // unnest($1::text[], $2::bigint[], …)
}

// newInserter takes the columns as SQL lists them, and what follows the values.
//
// To be able to undo an INSERT that fails at one of its rows, SQLite copies each page
// before it writes to it. Here nobody goes on after one that failed, so the rows before
// that one may stay until the transaction is rolled back: OR FAIL, and nothing is copied.
//
// PostgreSQL reads, keeps and binds a statement of a thousand places at a cost for each;
// with arrays there is one text for any number of rows. They are inserted in their order.
func newInserter(table, columns, suffix string) *inserter {
	in := &inserter{columns: strings.Split(columns, ", ")}
	into := "INTO " + table + " (" + columns + ") "
	for i, size := range sizes {
		in.values[i] = "INSERT OR FAIL " + into + "VALUES " + tuples(size, len(in.columns), true) + suffix
	}
	arrays := make([]string, len(in.columns))
	for i, column := range in.columns {
		arrays[i] = "$" + strconv.Itoa(i+1) + "::text[]"
		if isNumber(column) {
			arrays[i] = "$" + strconv.Itoa(i+1) + "::bigint[]"
		}
	}
	in.unnested = "INSERT " + into + "SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")" + suffix
	return in
}

// isNumber reports whether a column is a BIGINT: instants are, and nothing else that ends
// in at. All others are TEXT.
func isNumber(column string) bool {
	return column == "at" || strings.HasSuffix(column, "_at") || column == "depth"
}

// each calls do with the statements and arguments that insert the rows, in their
// order. The arguments are valid until do returns; arrays are so as long as the rows are.
func (in *inserter) each(d *dialect, rows [][]any, do func(text string, args []any) error) error {
	if len(rows) == 0 {
		return nil
	}
	if d.arrays {
		return do(in.unnested, in.arrays(rows))
	}
	args := make([]any, 0, min(len(rows), sizes[0])*len(in.columns))
	for i, size := range sizes {
		for len(rows) >= size {
			args = args[:0]
			for _, row := range rows[:size] {
				args = append(args, row...)
			}
			if err := do(in.values[i], args); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
}

// arrays returns the columns of the rows.
func (in *inserter) arrays(rows [][]any) []any {
	arrays := make([]any, len(in.columns))
	for i, name := range in.columns {
		if isNumber(name) {
			arrays[i] = numbers{column{rows, i}}
		} else {
			arrays[i] = texts{column{rows, i}}
		}
	}
	return arrays
}

// tuples returns "($1, $2), ($3, $4)" for two tuples of two columns, or, unnamed,
// "(?, ?), (?, ?)".
func tuples(n, columns int, unnamed bool) string {
	var b strings.Builder
	for i := range n * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		if unnamed {
			b.WriteString("?")
		} else {
			b.WriteString("$" + strconv.Itoa(i+1))
		}
	}
	return b.String() + ")"
}
