package store

import (
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
)

// column is one of some rows, which travels to PostgreSQL as an array: pgx reads the
// values where they are.
type column struct {
	rows [][]any
	i    int
}

// Columns of the two types that there are.
type (
	texts   struct{ column }
	numbers struct{ column }
)

// registerColumns tells a connection that may not ask for the types of a statement.
func registerColumns(types *pgtype.Map) {
	types.RegisterDefaultPgType(texts{}, "_text")
	types.RegisterDefaultPgType(numbers{}, "_int8")
}

// Dimensions implements pgtype.ArrayGetter.
func (c column) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(c.rows)), LowerBound: 1}} //nolint:gosec // at most some hundreds
}

// Index implements pgtype.ArrayGetter.
func (c column) Index(row int) any { return c.rows[row][c.i] }

// IndexType implements pgtype.ArrayGetter: each value tells its own.
func (c column) IndexType() any { return nil }

// GoString keeps the values out of what pgx says of one that it cannot send.
func (c column) GoString() string { return "a column of " + strconv.Itoa(len(c.rows)) + " rows" }
