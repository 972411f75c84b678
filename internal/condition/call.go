package condition

import (
	"slices"
	"strings"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// call goes through a call of a function or an operator.
func (r *reader) call(e celast.Expr) {
	c := e.AsCall()
	name := c.FunctionName()
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]celast.Expr{c.Target()}, args...)
	}
	switch {
	case name == "matches":
		r.refuse(e, "regular expressions are not possible: it is too easy to forget an anchor. Use glob, where * stands for anything within one segment between slashes, startsWith, endsWith or contains.")
	case isName(name) && !slices.Contains(functions, name):
		r.refuse(e, "%s is no function here. There are %s, and the macros %s.", clip(name), strings.Join(functions, ", "), strings.Join(macros, ", "))
	}
	if len(args) == 2 {
		if name == "glob" {
			r.pattern(args[1])
		}
		r.comparison(name, args[0], args[1])
		r.comparison(mirrored[name], args[1], args[0])
	}
	for _, arg := range args {
		r.walk(arg)
	}
}

// pattern checks what glob compares with. Whoever chooses a claim must not choose what it
// is compared with.
func (r *reader) pattern(e celast.Expr) {
	text, ok := types.String(""), false
	if e.Kind() == celast.LiteralKind {
		text, ok = e.AsLiteral().(types.String)
	}
	switch {
	case !ok:
		r.refuse(e, "the pattern of glob must stand there as text in quotes.")
	case strings.Contains(string(text), "**"):
		r.refuse(e, "** is not possible: * stands for anything within one segment between slashes. Write one * for each segment.")
	}
}

// isName tells functions from operators, whose names CEL makes of other characters.
func isName(function string) bool {
	return strings.Trim(function, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// mirrored are the comparisons whose sides may be exchanged.
var mirrored = map[string]string{operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals}

// comparison notes with what a claim is compared, where that is text.
func (r *reader) comparison(function string, left, right celast.Expr) {
	claim, ok := r.claim(left)
	if !ok {
		return
	}
	for _, text := range texts(right) {
		var values []string
		switch function {
		case operators.Equals, operators.NotEquals, operators.In, "contains":
			values = []string{text}
		case "startsWith":
			values = []string{text, text + "x"}
		case "endsWith":
			values = []string{text, "x" + text}
		case "glob":
			values = []string{strings.ReplaceAll(text, "*", "x")}
		}
		r.compared[claim] = append(r.compared[claim], values...)
	}
}

// texts returns the texts that stand there as one or as a list.
func texts(e celast.Expr) []string {
	switch e.Kind() {
	case celast.LiteralKind:
		if text, ok := e.AsLiteral().(types.String); ok {
			return []string{string(text)}
		}
	case celast.ListKind:
		var all []string
		for _, element := range e.AsList().Elements() {
			all = append(all, texts(element)...)
		}
		return all
	}
	return nil
}
