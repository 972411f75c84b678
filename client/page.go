package client

import (
	"net/url"
	"strconv"
	"time"
)

// ListOptions select a page of a list.
type ListOptions struct {
	Limit  int    // at most this many, up to 200; 0: the server's default, 50
	Cursor string // NextCursor of the page before; empty: the first page
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return q
}

// setText and setTime leave out of a query what is not asked for.
func setText[T ~string](q url.Values, name string, value T) {
	if value != "" {
		q.Set(name, string(value))
	}
}

func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}

// Page is one page of a list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty"` // empty on the last page
}
