package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
)

// column is one of some rows, which travels to PostgreSQL as an array. It is encoded here:
// pgx would ask for the type of each value, and grow what they are written to again and
// again, which was a fifth of all bytes that an exchange allocated. As text, for a
// connection that may not ask for the types of a statement, pgx encodes it.
type column struct {
	rows [][]any
	i    int
}

// Columns of the two types that there are.
type (
	texts   struct{ column }
	numbers struct{ column }
)

// registerColumns teaches a connection to send columns.
func registerColumns(types *pgtype.Map) {
	types.RegisterDefaultPgType(texts{}, "_text")
	types.RegisterDefaultPgType(numbers{}, "_int8")
	for _, oid := range []uint32{pgtype.TextArrayOID, pgtype.Int8ArrayOID} {
		known, _ := types.TypeForOID(oid)
		types.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: columnCodec{known.Codec}})
	}
}

// columnCodec is the codec of an array that can also be a column.
type columnCodec struct{ pgtype.Codec }

// PlanEncode implements pgtype.Codec.
func (c columnCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case texts:
			return textsPlan{}
		case numbers:
			return numbersPlan{}
		}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

type (
	textsPlan   struct{}
	numbersPlan struct{}
)

// Encode implements pgtype.EncodePlan.
func (textsPlan) Encode(value any, b []byte) ([]byte, error) {
	c := value.(texts)
	b = c.begin(b, pgtype.TextOID)
	for _, row := range c.rows {
		s, ok := row[c.i].(string)
		if !ok {
			return nil, c.strange()
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) //nolint:gosec // a statement has less than a GB
	}
	return b, nil
}

// Encode implements pgtype.EncodePlan.
func (numbersPlan) Encode(value any, b []byte) ([]byte, error) {
	c := value.(numbers)
	b = c.begin(b, pgtype.Int8OID)
	for _, row := range c.rows {
		n, ok := row[c.i].(int64)
		if !ok {
			return nil, c.strange()
		}
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(n)) //nolint:gosec // the same bits
	}
	return b, nil
}

// begin appends the head of an array of one dimension, without NULLs, as array_send of
// PostgreSQL has it. The first of the columns makes room for all.
func (c column) begin(b []byte, element uint32) []byte {
	if c.i == 0 {
		b = slices.Grow(b, encodedSize(c.rows))
	}
	for _, word := range [...]uint32{1, 0, element, uint32(len(c.rows)), 1} { //nolint:gosec // at most some hundreds
		b = binary.BigEndian.AppendUint32(b, word)
	}
	return b
}

func encodedSize(rows [][]any) (n int) {
	for _, row := range rows {
		for _, value := range row {
			n += 4 + 8
			if s, ok := value.(string); ok {
				n += len(s) - 8
			}
		}
	}
	return n + 5*4*len(rows[0])
}

func (c column) strange() error {
	return fmt.Errorf("column %d of %d rows has a value of another type", c.i, len(c.rows))
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
