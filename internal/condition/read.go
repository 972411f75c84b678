package condition

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/sentryagent/agentidp/internal/nearest"
)

// reader goes through an expression as it was written, with its macros expanded, and finds
// which claims are read. Claims are read by names that stand there and in no other way, so
// that what is found is all.
type reader struct {
	place
	root     celast.Expr
	source   *celast.SourceInfo
	errors   []*Error
	reads    []string
	unknown  []string
	compared map[string][]string
}

func newReader(p place, parsed *cel.Ast) *reader {
	ast := parsed.NativeRep()
	return &reader{place: p, root: ast.Expr(), source: ast.SourceInfo(), compared: map[string][]string{}}
}

// read fills what was found, or returns the first error in the order of the text.
func (r *reader) read() error {
	r.walk(r.root)
	if len(r.errors) > 0 {
		return slices.MinFunc(r.errors, func(a, b *Error) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
	}
	for _, list := range []*[]string{&r.reads, &r.unknown} {
		*list = set(*list)
	}
	for claim, values := range r.compared {
		r.compared[claim] = set(values)
	}
	return nil
}

func set(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// refuse notes an error at the place of a part. That of a call is its parenthesis.
func (r *reader) refuse(e celast.Expr, format string, args ...any) {
	at := r.source.GetStartLocation(e.ID())
	line, column := at.Line(), at.Column()+1
	if e.Kind() == celast.CallKind {
		name := []rune(e.AsCall().FunctionName())
		if before := []rune(r.line(line)); column > len(name) && column-1 <= len(before) && string(before[column-1-len(name):column-1]) == string(name) {
			column -= len(name)
		}
	}
	r.errors = append(r.errors, r.at(line, column, format, args...))
}

func (r *reader) walk(e celast.Expr) {
	if name, ok := r.claim(e); ok {
		r.claimRead(e, name)
		return
	}
	switch e.Kind() {
	case celast.IdentKind:
		if isClaims(e) {
			r.refuse(e, `claims cannot be used as a whole, nor looked into by a name that is computed. Write claims.name, claims["name"] or has(claims.name).`)
		}
	case celast.SelectKind:
		r.walk(e.AsSelect().Operand())
	case celast.CallKind:
		r.call(e)
	case celast.ListKind:
		for _, element := range e.AsList().Elements() {
			r.walk(element)
		}
	case celast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			r.walk(entry.AsMapEntry().Key())
			r.walk(entry.AsMapEntry().Value())
		}
	case celast.ComprehensionKind:
		r.comprehension(e.AsComprehension())
	case celast.StructKind:
		r.refuse(e, "messages cannot be made here. Compare claims with texts.")
	}
}

func (r *reader) comprehension(c celast.ComprehensionExpr) {
	if c.IterVar() == "claims" || c.IterVar2() == "claims" {
		r.refuse(c.IterRange(), "claims cannot be the name of a variable. Choose another.")
		return
	}
	for _, part := range []celast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
		r.walk(part)
	}
}

// isClaims also knows the name with the dot that says that it is global.
func isClaims(e celast.Expr) bool {
	return e.Kind() == celast.IdentKind && strings.TrimPrefix(e.AsIdent(), ".") == "claims"
}

// claim returns the name of the claim that a part is, if it is one.
func (r *reader) claim(e celast.Expr) (string, bool) {
	switch e.Kind() {
	case celast.SelectKind:
		if s := e.AsSelect(); isClaims(s.Operand()) {
			return s.FieldName(), true
		}
	case celast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index || !isClaims(c.Args()[0]) || c.Args()[1].Kind() != celast.LiteralKind {
			return "", false
		}
		name, ok := c.Args()[1].AsLiteral().(types.String)
		return string(name), ok
	}
	return "", false
}

// claimsOf returns where claims stands in the read of a claim.
func claimsOf(e celast.Expr) celast.Expr {
	if e.Kind() == celast.SelectKind {
		return e.AsSelect().Operand()
	}
	return e.AsCall().Args()[0]
}

// claimRead notes that a claim is read, or why it cannot be.
func (r *reader) claimRead(e celast.Expr, name string) {
	at := claimsOf(e)
	if why := Verified(name, r.kind); why != "" {
		r.refuse(at, "%s %s", clip(name), why)
		return
	}
	r.reads = append(r.reads, name)
	if r.kind.Knows(name) {
		return
	}
	r.unknown = append(r.unknown, name)
	if e.Kind() == celast.SelectKind {
		r.refuse(at, `%s is no claim of kind %s. %sOne that is not known here yet is written claims[%q].`, clip(name), r.kind.Name, r.meant(name), clip(name))
	}
}

// meant returns the question whether another claim was meant.
func (r *reader) meant(name string) string {
	readable := slices.DeleteFunc(slices.Sorted(maps.Keys(r.kind.KnownClaims)), func(known string) bool { return Verified(known, r.kind) != "" })
	if n, ok := nearest.Name(name, readable); ok {
		return "Is " + n + " meant? "
	}
	return ""
}
