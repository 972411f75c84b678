package cli

import (
	"errors"
	"iter"
	"strings"
	"testing"
)

// thing is what a list of a test has.
type thing struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

var thingColumns = []column[thing]{
	{"ID", func(t *thing) string { return t.ID }},
	{"NAME", func(t *thing) string { return t.Name }},
}

// things is a list that may end with an error. It counts what was asked for.
func things(asked *int, last error, items ...thing) iter.Seq2[*thing, error] {
	return func(yield func(*thing, error) bool) {
		for i := range items {
			if *asked++; !yield(&items[i], nil) {
				return
			}
		}
		if last != nil {
			yield(nil, last)
		}
	}
}

func TestListsArePrinted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		listing Listing
		last    error
		want    string
		asked   int
	}{
		{"a table, and nothing in it commands the terminal", Listing{Output: "table"}, nil, "ID       NAME\n1        plain\n2        -\nlong-id  a?[2Jb?c?\n", 3},
		{"JSON, one object a line", Listing{Output: "json"}, nil, `{"id":"1","name":"plain"}` + "\n" + `{"id":"2","name":""}` + "\n" + `{"id":"long-id","name":"a\u001b[2Jb\tc\u202e"}` + "\n", 3},
		{"ids alone", Listing{Output: "id"}, nil, "1\n2\nlong-id\n", 3},
		{"not more than asked for", Listing{Output: "id", Limit: 2}, nil, "1\n2\n", 2},
		{"what came before an error, and the error", Listing{Output: "table"}, errors.New("gone"), "ID       NAME\n1        plain\n2        -\nlong-id  a?[2Jb?c?\n", 3},
	} {
		var out strings.Builder
		asked := 0
		err := printList(&IO{Out: &out}, &tt.listing, thingColumns,
			things(&asked, tt.last, thing{"1", "plain"}, thing{"2", ""}, thing{"long-id", "a\x1b[2Jb\tc\u202e"}))
		if out.String() != tt.want || !errors.Is(err, tt.last) || asked != tt.asked {
			t.Errorf("%s: after %d items, want %d, %v:\n%q\nwant\n%q", tt.name, asked, tt.asked, err, out.String(), tt.want)
		}
	}
}

// Headings alone say that there is nothing; a failure never looks like it.
func TestAnEmptyTableIsAnAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		last error
		want string
	}{
		{nil, "ID  NAME\n"},
		{errors.New("refused"), ""},
	} {
		var out strings.Builder
		err := printList(&IO{Out: &out}, &Listing{Output: "table"}, thingColumns, things(new(int), tt.last))
		if out.String() != tt.want || !errors.Is(err, tt.last) {
			t.Errorf("%v: %v, %q, want %q", tt.last, err, out.String(), tt.want)
		}
	}
}
