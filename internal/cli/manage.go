package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"unicode"

	"github.com/sentryagent/agentidp/client"
)

// Managing is what a command needs that manages a server through its API.
type Managing struct {
	Server string `required:"" env:"AGENTIDP_SERVER" placeholder:"URL" help:"The server's public URL, with /o/SLUG for another organization than the default."`
}

// client authenticates with the access token in AGENTIDP_TOKEN; there is no flag for
// it, because the process list shows flags.
func (m *Managing) client() (*client.Client, error) {
	server, err := serverURL(m.Server)
	if err != nil {
		return nil, err
	}
	token := os.Getenv("AGENTIDP_TOKEN")
	if token == "" {
		return nil, usageError{errors.New("AGENTIDP_TOKEN is empty: export AGENTIDP_TOKEN=$(agentidp admin token)")}
	}
	return &client.Client{BaseURL: server, Token: token}, nil
}

// Listing is how much of a list is printed, and how.
type Listing struct {
	Limit  uint   `placeholder:"N" help:"Print at most N (default: all)."`
	Output string `short:"o" enum:"table,json,id" default:"table" help:"table; json, one object a line; or id, the ids alone."`
}

// pageSize is the most that the API gives at once.
const pageSize = 200

// all goes through every page of a list. After an error there is nothing more.
func all[T any](page func(client.ListOptions) (*client.Page[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		opts := client.ListOptions{Limit: pageSize}
		for {
			p, err := page(opts)
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

// column is one of a table. The first column of each table is the id.
type column[T any] struct {
	heading string
	value   func(*T) string
}

// printList prints items as they come, a table when all have come.
func printList[T any](std *IO, l *Listing, columns []column[T], items iter.Seq2[*T, error]) error {
	enc := json.NewEncoder(std.Out)
	var rows [][]string
	var failed error
	n := uint(0)
	for item, err := range items {
		if failed = err; err != nil {
			break
		}
		switch l.Output {
		case "json":
			if err := enc.Encode(item); err != nil {
				return err
			}
		case "id":
			fmt.Fprintln(std.Out, columns[0].value(item))
		default:
			rows = append(rows, cells(columns, item))
		}
		if n++; n == l.Limit {
			break
		}
	}
	if l.Output != "table" {
		return failed
	}
	headings := make([]string, len(columns))
	for i := range columns {
		headings[i] = columns[i].heading
	}
	return errors.Join(failed, writeTable(std.Out, headings, rows))
}

func cells[T any](columns []column[T], item *T) []string {
	row := make([]string, len(columns))
	for i := range columns {
		row[i] = printable(columns[i].value(item))
	}
	return row
}

// printable takes out what could command a terminal: names of repositories and
// branches come from outside.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
