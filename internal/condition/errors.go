package condition

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"

	"github.com/sentryagent/agentidp"
)

// Error is what is wrong with an expression, and where.
type Error struct {
	Line, Column int    // both from 1; a column is a character
	Near         string // the text from there on, cut short
	Message      string // with the remedy
}

// Error implements error.
func (e *Error) Error() string {
	if e.Near == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
	}
	return fmt.Sprintf("line %d, column %d, at `%s`: %s", e.Line, e.Column, e.Near, e.Message)
}

// legible refuses text in which something cannot be seen: an expression must be what its
// readers take it for.
func legible(text string) error {
	if len(text) > MaxLength {
		return &Error{1, 1, "", fmt.Sprintf("is longer than %d bytes. Make several policies of it.", MaxLength)}
	}
	if strings.TrimSpace(text) == "" {
		return &Error{1, 1, "", "is empty. Leave it out, or write an expression."}
	}
	line, column := 1, 1
	for _, c := range text {
		switch {
		case c == '\n':
			line, column = line+1, 0
		case c == '\t':
		case c == utf8.RuneError:
			return &Error{line, column, "", "is not valid UTF-8 there. Save it anew."}
		case unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == '\u2028' || c == '\u2029':
			return &Error{line, column, "", fmt.Sprintf("has a character that cannot be seen (U+%04X). Remove it, or write it as an escape within quotes.", c)}
		}
		column++
	}
	return nil
}

// place makes errors about places in an expression.
type place struct {
	text string
	kind *agentidp.ProviderKind
}

// at returns an error about a place.
func (p place) at(line, column int, format string, args ...any) *Error {
	e := &Error{Line: max(line, 1), Column: max(column, 1), Message: fmt.Sprintf(format, args...)}
	rest := []rune(p.line(e.Line))
	e.Near = clip(strings.TrimSpace(string(rest[min(e.Column-1, len(rest)):])))
	return e
}

// line returns one line of the expression.
func (p place) line(n int) string {
	if lines := strings.Split(p.text, "\n"); 1 <= n && n <= len(lines) {
		return lines[n-1]
	}
	return ""
}

// clip cuts text that is only to be recognized.
func clip(s string) string {
	const most = 32
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// first returns the first of what CEL found to be wrong. What follows is often but a
// consequence.
func (p place) first(issues *cel.Issues) *Error {
	all := issues.Errors()
	first := all[0]
	for _, e := range all[1:] {
		a, b := e.Location, first.Location
		if a.Line() < b.Line() || a.Line() == b.Line() && a.Column() < b.Column() {
			first = e
		}
	}
	return p.at(first.Location.Line(), first.Location.Column()+1, "%s", p.explain(first.Message))
}

// explain says in words what CEL found, with a remedy.
func (p place) explain(message string) string {
	if rest, ok := strings.CutPrefix(message, "undeclared reference to "); ok {
		return p.undeclared(quoted(rest))
	}
	if rest, ok := strings.CutPrefix(message, "found no matching overload for "); ok {
		_, types, _ := strings.Cut(rest, "applied to ")
		return fmt.Sprintf("%s is not possible with %s. %s", display(quoted(rest)), clip(strings.Trim(types, "'")), p.types())
	}
	if strings.Contains(message, "does not support field selection") {
		return "has no fields: it is no object. " + p.types()
	}
	if rest, ok := strings.CutPrefix(message, "expected type "); ok {
		_, found, _ := strings.Cut(rest, "found ")
		return fmt.Sprintf("must be %s here, and this is %s. %s", typeName(quoted(rest)), typeName(quoted(found)), p.types())
	}
	if strings.HasPrefix(message, "invalid argument to has()") {
		return "has() takes a claim or a field of it by name, for example has(claims.environment)."
	}
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		return explainSyntax(rest)
	}
	if strings.Contains(message, "recursion") || strings.Contains(message, "count exceeds limit") {
		return fmt.Sprintf("is nested too deeply or has too many parts: at most %d levels and %d parts are possible. Make several policies of it.", maxDepth, maxNodes)
	}
	return clip(message) + ". See docs/conditions.md for what is possible."
}

// types says what the claims are.
func (p place) types() string {
	if isText(p.kind) {
		return "All claims of kind " + p.kind.Name + " are text: write numbers, true and false in quotes."
	}
	return `Write text in quotes, numbers, true and false without; int("7") and string(7) make one of the other.`
}

func (p place) undeclared(name string) string {
	switch {
	case strings.HasPrefix(name, "_") && display(name) != name || name == "-_":
		return display(name) + ` is no operator here: nothing is calculated. A claim with such a character in its name is written claims["the-name"].`
	case p.kind.Knows(name) && isText(p.kind):
		return "is not known. Write claims." + name + "."
	}
	return fmt.Sprintf("is not known: claims is all that there is to read, for example claims.ref. Write text in quotes: %q.", clip(name))
}

func explainSyntax(message string) string {
	_, at, _ := strings.Cut(message, "input ")
	input := clip(quoted(at))
	switch {
	case strings.Contains(message, "'<EOF>' expecting"):
		return "the expression ends too early: something must follow."
	case strings.HasPrefix(message, "token recognition error"):
		if _, at, _ = strings.Cut(message, "at: "); strings.HasPrefix(quoted(at), "=") {
			return "= is no operator. Compare with ==."
		}
		return "cannot be read. Close each quote, and write a backslash within quotes as \\\\."
	case strings.HasSuffix(message, "expecting <EOF>"):
		return "the expression should have ended before " + input + ". Join conditions with && or ||."
	}
	return "cannot be read. See docs/conditions.md for the language."
}

// quoted returns what stands between the first single quote and the last.
func quoted(s string) string {
	from, to := strings.Index(s, "'"), strings.Index(s, "' ")
	if to < 0 {
		to = strings.LastIndex(s, "'")
	}
	if from < 0 || to <= from {
		return s
	}
	return s[from+1 : to]
}

func typeName(t string) string {
	if t == "bool" {
		return "true or false"
	}
	return clip(t)
}

// display spells an operator as it is written.
func display(function string) string {
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return symbol
	}
	switch function {
	case operators.Conditional:
		return "?:"
	case operators.Index:
		return "[]"
	}
	return function
}
