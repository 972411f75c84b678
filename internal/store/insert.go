package store

import (
	"strconv"
	"strings"
)

// sizes are how many rows one INSERT of the committer carries. Few sizes mean
// few statements to prepare; with these, any batch is the sum of at most three.
var sizes = [...]int{64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1}

// inserter is the INSERT of one table in each size.
type inserter struct {
	columns  int
	numbered [len(sizes)]string // $1, $2, …
	unnamed  [len(sizes)]string // ?, ?, …
}

// newInserter takes the columns as SQL lists them, and what follows the values.
//
// To be able to undo an INSERT that fails at one of its rows, SQLite copies each page
// before it writes to it. Here nobody goes on after one that failed, so the rows before
// that one may stay until the transaction is rolled back: OR FAIL, and nothing is copied.
func newInserter(table, columns, suffix string) *inserter {
	in := &inserter{columns: strings.Count(columns, ",") + 1}
	for i, size := range sizes {
		rest := "INTO " + table + " (" + columns + ") VALUES "
		in.numbered[i] = "INSERT " + rest + tuples(size, in.columns, false) + suffix
		in.unnamed[i] = "INSERT OR FAIL " + rest + tuples(size, in.columns, true) + suffix
	}
	return in
}

// each calls do with the statements and arguments that insert the rows, in their
// order. The arguments are valid until do returns.
func (in *inserter) each(d *dialect, rows [][]any, do func(text string, args []any) error) error {
	texts := &in.numbered
	if d.unnamed {
		texts = &in.unnamed
	}
	args := make([]any, 0, min(len(rows), sizes[0])*in.columns)
	for i, size := range sizes {
		for len(rows) >= size {
			args = args[:0]
			for _, row := range rows[:size] {
				args = append(args, row...)
			}
			if err := do(texts[i], args); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
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
