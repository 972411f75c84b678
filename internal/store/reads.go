package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// reads are the queries, the same on a DB and within a Tx. Every one names the
// organization whose rows it reads; what has no organization says so.
type reads struct {
	*dialect
	q queryer
}

// queryer is a *pool or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// unprepared returns reads that keep no statement: for texts that are many and
// seldom the same.
func (r reads) unprepared() reads {
	if p, ok := r.q.(*pool); ok {
		r.q = p.DB
	}
	return r
}

// list returns what scan makes of each row, and never nil. A query that lost a race with a
// transaction is asked again, as it may under SERIALIZABLE; within a transaction that is up
// to whoever began it, and where a writer has the whole database, it was waited for.
func list[T any](ctx context.Context, r reads, doing string, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	_, within := r.q.(*sql.Tx)
	once := within || !r.rowLocks
	for try := 0; ; try++ {
		all, err := listOnce(ctx, r, doing, scan, query, args...)
		if err == nil || once || try == maxRetries || !r.retryable(err) || !pause(ctx, try) {
			return all, err
		}
	}
}

func listOnce[T any](ctx context.Context, r reads, doing string, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	own := ctx
	if _, alone := r.q.(*pool); alone && r.readTime > 0 {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, r.readTime)
		defer cancel()
	}
	rows, err := r.q.QueryContext(own, query, args...)
	if err != nil {
		return nil, r.explain(ctx, doing, err)
	}
	defer func() { _ = rows.Close() }() // Err has told
	all := []T{}
	for rows.Next() {
		var item T
		if err := scan(rows, &item); err != nil && rows.Err() == nil {
			return nil, fmt.Errorf("%s: understand the row: %w", doing, err)
		}
		all = append(all, item)
	}
	if err := rows.Err(); err != nil {
		return nil, r.explain(ctx, doing, err)
	}
	return all, nil
}

// one returns what scan makes of the only row, or ErrNotFound.
func one[T any](ctx context.Context, r reads, doing string, scan func(*sql.Rows, *T) error, query string, args ...any) (*T, error) {
	all, err := list(ctx, r, doing, scan, query, args...)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", doing, ErrNotFound)
	}
	return &all[0], nil
}

func scanValue[T any](rows *sql.Rows, v *T) error { return rows.Scan(v) }

// micros is how an instant is stored. The zero time, which means "never" or "not
// yet", is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// microsTime scans what micros wrote.
type microsTime struct{ t *time.Time }

func (m microsTime) Scan(v any) error {
	n, ok := v.(int64)
	switch {
	case !ok:
		return fmt.Errorf("an instant is stored as %T", v)
	case n == 0:
		*m.t = time.Time{}
	default:
		*m.t = time.UnixMicro(n).UTC()
	}
	return nil
}

// optionalTime is microsTime for a pointer that is nil when there is none.
type optionalTime struct{ t **time.Time }

func (o optionalTime) Scan(v any) error {
	var t time.Time
	if err := (microsTime{&t}).Scan(v); err != nil {
		return err
	}
	*o.t = nil
	if !t.IsZero() {
		*o.t = &t
	}
	return nil
}

// jsonText returns v as JSON. The types that are stored so (lists and maps of
// strings, checks) cannot fail.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T as JSON: %v", v, err))
	}
	return string(text)
}

// listText is jsonText for the most frequent type; nil and empty are alike.
func listText(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	return jsonText(list)
}

// jsonColumn scans what jsonText wrote into the value at v, which an empty list
// or map leaves nil.
type jsonColumn struct{ v any }

func (j jsonColumn) Scan(v any) error {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return fmt.Errorf("JSON is stored as %T", v)
	}
	switch text {
	case "", "[]", "{}", "null":
		return nil
	}
	return json.Unmarshal([]byte(text), j.v)
}
