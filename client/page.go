package client

import (
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp"
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

// all goes through every page of a list, from the first. After an error there is
// nothing more.
func all[T any](page func(ListOptions) (*Page[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		opts := ListOptions{Limit: agentidp.MaxLimit}
		for {
			p, err := page(opts)
			if err == nil && p.NextCursor != "" && p.NextCursor == opts.Cursor {
				err = fmt.Errorf("the list does not go on: the server names the page of cursor %q as the next one to itself", opts.Cursor)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range p.Items {
				if !yield(&p.Items[i], nil) {
					return
				}
			}
			if opts.Cursor = p.NextCursor; opts.Cursor == "" {
				return
			}
		}
	}
}
