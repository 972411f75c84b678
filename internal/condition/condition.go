// Package condition compiles and evaluates the condition of a trust policy: an
// expression in the Common Expression Language (CEL) over the claims of a subject token.
//
// It owns the language that is permitted, its types for each kind of provider, its limits
// and its errors with their positions, and the patterns with * that policies have beside
// it (Glob). It does not own what a policy means, or what an expression that cannot be
// evaluated leads to (internal/policy). It is pure: no function of the language reads a
// clock, a file or the network.
//
// An absent claim has no value, and what needs it has none either: neither a comparison
// nor its negation is true then. && and || have a value where one side alone decides, as
// CEL says, so what is true would be true whatever the absent claim were. Only
// has(claims.name) asks whether a claim is there.
package condition

import (
	"fmt"

	"cel.dev/cel-go/cel"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

// MaxLength bounds an expression, in bytes.
const MaxLength = 2048

// Condition is an expression that was checked. It is safe for concurrent use.
type Condition struct {
	program  cel.Program
	typed    bool // all claims are text
	reads    []string
	unknown  []string
	compared map[string][]string
}

// compiled remembers what became of expressions, and of those that are no conditions: the
// policies of a refused exchange are read anew each time, and those of a list are judged
// one by one, while compiling takes longer than all the rest of a decision. Who may say
// expressions, of whatever length, fills it with 20 MB at most.
var compiled = limit.NewCache[source, result](400)

type source struct {
	text string
	kind *agentidp.ProviderKind
}

type result struct {
	condition *Condition
	err       error
}

// Compile checks an expression against the claims of a kind of provider, which must not
// change afterwards. The same text and kind give the same Condition, as long as that is
// remembered. An error that is about the expression is an *Error.
func Compile(text string, kind *agentidp.ProviderKind) (*Condition, error) {
	if kind == nil {
		return nil, &Error{1, 1, "", "nothing is known of the provider, so nothing can be said of its claims. Name a registered provider."}
	}
	if err := legible(text); err != nil {
		return nil, err // not remembered: it may be of any length
	}
	key := source{text, kind}
	known, ok := compiled.Get(key)
	if !ok {
		known.condition, known.err = compile(text, kind)
		compiled.Put(key, known)
	}
	return known.condition, known.err
}

func compile(text string, kind *agentidp.ProviderKind) (*Condition, error) {
	e, err := environment(kind)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	where := place{text, kind}
	ast, issues := e.Parse(text)
	if issues.Err() != nil {
		return nil, where.first(issues)
	}
	r := newReader(where, ast)
	if err := r.read(); err != nil {
		return nil, err
	}
	checked, issues := e.Check(ast)
	if issues.Err() != nil {
		return nil, where.first(issues)
	}
	if len(r.reads) == 0 {
		return nil, where.at(1, 1, "reads no claim, so it says the same of every token. Compare a claim, for example claims.ref, or leave it out.")
	}
	if checked.OutputType() != cel.BoolType {
		return nil, where.at(1, 1, "must be true or false, and this is %s. Compare it with something, for example claims.x == \"y\".", cel.FormatCELType(checked.OutputType()))
	}
	estimate, err := e.EstimateCost(checked, bounds{})
	if err != nil {
		return nil, fmt.Errorf("estimate the cost of a condition: %w", err)
	}
	if estimate.Max > maxCost {
		return nil, where.at(1, 1, "could take too long to evaluate: %d steps, while %d are permitted. Compare claims with texts rather than with each other, and do not nest all, exists, filter and map.", estimate.Max, maxCost)
	}
	program, err := e.Program(checked, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(boundComparisons))
	if err != nil {
		return nil, fmt.Errorf("plan a condition: %w", err)
	}
	return &Condition{program, isText(kind), r.reads, r.unknown, r.compared}, nil
}

// Claims returns the names of the claims that are read, sorted: no evaluation reads
// another one. The caller must not change it, as what the other methods return.
func (c *Condition) Claims() []string { return c.reads }

// Unknown returns those of the claims that the kind of provider is not known to send.
func (c *Condition) Unknown() []string { return c.unknown }

// Compared returns texts that the expression compares with a claim, sorted; in the place of
// a pattern one that it matches, and beside the beginning or end of a text a longer one. It
// is for those who look for a value with which the expression is true.
func (c *Condition) Compared(claim string) []string { return c.compared[claim] }

// Holds reports whether the expression is true of the claims, of which nil has none. An
// error says why it has no value, for administrators: a claim is absent or of another
// type, or the evaluation took too long.
func (c *Condition) Holds(claims agentidp.ClaimSource) (bool, error) {
	read, absent, err := c.values(claims)
	if err != nil {
		return false, err
	}
	out, _, err := c.program.Eval(map[string]any{"claims": read})
	if err != nil {
		return false, noValue(err, absent)
	}
	return out.Value() == true, nil
}
