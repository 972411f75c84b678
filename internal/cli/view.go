package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Printing is how one object is printed.
type Printing struct {
	Output string `short:"o" enum:"table,json,id" default:"table" help:"table, a member a line; json, in one line; or id alone."`
}

// section is a part of a view that is more than one line.
type section struct {
	name  string
	lines []string
}

// printOne prints an object. For people its members stand in the order of its JSON,
// under the API's names, but for those that sections tell better; as JSON it is whole.
func printOne(std *IO, p *Printing, id string, v any, sections ...section) error {
	switch p.Output {
	case "json":
		return writeJSON(std.Out, v)
	case "id":
		_, err := fmt.Fprintln(std.Out, printable(id))
		return err
	}
	return writeView(std.Out, v, sections...)
}

func writeView(out io.Writer, v any, sections ...section) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	lines, err := viewObject(doc, func(name string) bool {
		return slices.ContainsFunc(sections, func(s section) bool { return s.name == name })
	})
	if err != nil {
		return err
	}
	for _, s := range sections {
		if len(s.lines) > 0 {
			lines = append(lines, s.name+":")
			lines = append(lines, indented(s.lines)...)
		}
	}
	_, err = io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}

// viewObject returns the lines of a JSON object, its values in one column.
func viewObject(doc []byte, skip func(name string) bool) ([]string, error) {
	type member struct {
		name  string
		value json.RawMessage
	}
	var all []member
	width := 0
	decoder := json.NewDecoder(bytes.NewReader(doc))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: printable(fmt.Sprint(name))}
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		if skip(m.name) {
			continue
		}
		all = append(all, m)
		if isScalar(m.value) {
			width = max(width, len([]rune(m.name)))
		}
	}
	var lines []string
	for _, m := range all {
		value, err := viewValue(m.value)
		switch {
		case err != nil:
			return nil, err
		case isScalar(m.value):
			lines = append(lines, fmt.Sprintf("%-*s %s", width+1, m.name+":", value[0]))
		case len(value) > 0:
			lines = append(lines, m.name+":")
			lines = append(lines, indented(value)...)
		}
	}
	return lines, nil
}

// isScalar reports whether a value is shown in one line: text, a number, or a list of
// these.
func isScalar(value json.RawMessage) bool {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil {
		return !slices.ContainsFunc(list, func(item json.RawMessage) bool { return !isScalar(item) })
	}
	return value[0] != '{'
}

func viewValue(value json.RawMessage) ([]string, error) {
	if value[0] == '{' {
		return viewObject(value, func(string) bool { return false })
	}
	if value[0] != '[' {
		return []string{viewScalar(value)}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, err
	}
	if isScalar(value) {
		words := make([]string, len(list))
		for i := range list {
			words[i] = viewScalar(list[i])
		}
		return []string{strings.Join(words, ", ")}, nil
	}
	var lines []string
	for _, item := range list {
		inner, err := viewValue(item)
		if err != nil {
			return nil, err
		}
		for i, line := range inner {
			lines = append(lines, map[bool]string{true: "- ", false: "  "}[i == 0]+line)
		}
	}
	return lines, nil
}

func viewScalar(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && value[0] == '"' {
		return printable(text)
	}
	return printable(string(value))
}

func indented(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "  " + line
	}
	return out
}
