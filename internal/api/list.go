package api

import (
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
)

// Page holds the query parameters of every list; exported because huma looks only
// into exported embedded fields.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Items a page."`
	Cursor string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
}

// Resolve refuses what would otherwise be passed over in silence, and make a list
// longer than was asked for.
func (p *Page) Resolve(hc huma.Context) []error {
	u := hc.URL()
	return found("query", unclear(u.RawQuery))
}

// unclear returns what does not say one thing about each parameter. An empty
// cursor does: it is where a loop over pages begins.
func unclear(rawQuery string) (bad []agentidp.FieldError) {
	if rawQuery == "" {
		return nil
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, value, ok := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		_, valueErr := url.QueryUnescape(value)
		switch {
		case err != nil || name == "" || strings.Contains(pair, ";"):
			bad = append(bad, agentidp.FieldError{Field: "query", Reason: "must be name=value, joined by &, with other characters percent-encoded"})
		case valueErr != nil:
			bad = append(bad, agentidp.FieldError{Field: name, Reason: "is not percent-encoded; write % as %25"})
		case !ok || value == "" && name != "cursor":
			bad = append(bad, agentidp.FieldError{Field: name, Reason: "is empty; give a value or leave it out"})
		case seen[name]:
			bad = append(bad, agentidp.FieldError{Field: name, Reason: "is given more than once; give it once"})
		}
		seen[name] = true
	}
	return bad
}

func (p *Page) page() agentidp.Page { return agentidp.Page{Cursor: p.Cursor, Limit: p.Limit} }

// list is the body of every list.
type list[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Give it as cursor for the next page; absent on the last."`
}

type listAnswer[T any] struct{ Body list[T] }

// answerList makes an empty list of a missing one: clients loop over it.
func answerList[T any](items []T, next string, err error) (*listAnswer[T], error) {
	if err != nil {
		return nil, err
	}
	if items == nil {
		items = []T{}
	}
	return &listAnswer[T]{list[T]{items, next}}, nil
}

// oneOf documents a query parameter whose values are a list in the code; whoever
// reads it checks it.
func oneOf[T ~string](name, doc string, values []T) *huma.Param {
	schema := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		schema.Enum = append(schema.Enum, string(v))
	}
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: schema}
}
