package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Listing is how much of a list is printed, and how.
type Listing struct {
	Limit  uint   `placeholder:"N" help:"Print at most N (default: all)."`
	Output string `short:"o" enum:"table,wide,json,id" default:"table" help:"table, as wide as the terminal; wide, with every column, whole; json, one object a line; or id, the first column alone."`
}

// column is one of a table. The first column of each table is what its rows are
// known by.
type column[T any] struct {
	heading string
	value   func(*T) string
}

// printList prints items as they come, a table when all have come. A table that is
// empty but for its headings says that there is nothing: no failure looks like it.
func printList[T any](std *IO, l *Listing, columns []column[T], items iter.Seq2[*T, error]) error {
	var rows [][]string
	var failed error
	n, count := uint(0), newCounter(std, l.Output == "json" || l.Output == "id")
	defer count.done()
	for item, err := range items {
		if failed = err; err != nil {
			break
		}
		switch l.Output {
		case "json":
			if err := writeJSON(std.Out, item); err != nil {
				return err
			}
		case "id":
			fmt.Fprintln(std.Out, printable(columns[0].value(item)))
		default:
			rows = append(rows, cells(columns, item))
		}
		count.add()
		if n++; n == l.Limit {
			break
		}
	}
	if l.Output == "json" || l.Output == "id" || failed != nil && rows == nil {
		return failed
	}
	count.done()
	headings := make([]string, len(columns))
	for i := range columns {
		headings[i] = columns[i].heading
	}
	width := 0
	if l.Output == "table" {
		width = terminalWidth(std.Out)
	}
	return errors.Join(failed, writeTable(std, width, headings, rows))
}

func cells[T any](columns []column[T], item *T) []string {
	row := make([]string, len(columns))
	for i := range columns {
		row[i] = cmp.Or(printable(columns[i].value(item)), "-")
	}
	return row
}

// instant is how text shows one.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// writeJSON prints v for programs: one line.
func writeJSON(out io.Writer, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", escaped(doc))
	return err
}

// writeDocument prints v for people: JSON, indented.
func writeDocument(out io.Writer, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, indent(doc))
	return err
}

// indent is how people are shown a document that may be anything.
func indent(doc []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(doc), "", "  "); err != nil {
		return fmt.Sprintf("(not JSON, %d bytes)", len(doc))
	}
	return string(escaped(out.Bytes()))
}

// escaped takes out of JSON what could command a terminal, and leaves what it says:
// beside its newlines, what is not printable stands in strings alone, where it can be
// written \uXXXX. JSON forbids little of it: not DEL, not the C1 controls, not what
// turns the direction of the text. What is no UTF-8 is what every parser makes of it.
func escaped(doc []byte) []byte {
	out := make([]byte, 0, len(doc))
	for _, r := range string(doc) {
		if r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

// printable takes out of text what could command a terminal: names of repositories
// and branches come from outside.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
