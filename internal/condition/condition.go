// Package condition compiles and evaluates the condition of a trust policy: an
// expression in the Common Expression Language (CEL) over the claims of a subject token.
//
// It owns the language that is permitted, its types for each kind of provider, its limits
// and its errors with their positions. It does not own what a policy means, or what an
// expression that cannot be evaluated leads to (internal/policy). It is pure.
package condition

import (
	"errors"
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"

	"github.com/sentryagent/agentidp"
)

// MaxLength bounds an expression, in bytes.
const MaxLength = 2048

// maxCost bounds one evaluation, in CEL's units of cost.
const maxCost = 10_000

// Condition is an expression that was checked. It is safe for concurrent use.
type Condition struct {
	program cel.Program
	reads   []string
}

// Error is what is wrong with an expression, and where.
type Error struct {
	Line, Column int // both from 1
	Message      string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

var texts = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction("matches")))),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.StringType)),
		cel.ParserExpressionSizeLimit(MaxLength), cel.ParserRecursionLimit(32),
	)
})

// Compile checks an expression against the claims of a kind of provider. An error that is
// about the expression is an *Error.
func Compile(text string, kind *agentidp.ProviderKind) (*Condition, error) {
	e, err := texts()
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	if kind == nil {
		return nil, errors.New("the provider is not known")
	}
	ast, issues := e.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, &Error{first.Location.Line(), first.Location.Column() + 1, first.Message}
	}
	program, err := e.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return &Condition{program: program}, nil
}

// Claims returns the names of the claims that are read, sorted.
func (c *Condition) Claims() []string { return c.reads }

// Literals returns the texts that stand in the expression, as it might compare a claim
// with them.
func (c *Condition) Literals() []string { return nil }

// Holds reports whether the expression is true of the claims. An error says why it has no
// value: a claim is absent, or the evaluation cost too much.
func (c *Condition) Holds(claims agentidp.ClaimSource) (bool, error) {
	read := map[string]string{}
	for _, name := range c.reads {
		if value, ok := claims.ReadClaim(name); ok {
			read[name] = value
		}
	}
	out, _, err := c.program.Eval(map[string]any{"claims": read})
	if err != nil {
		return false, err
	}
	return out.Value() == true, nil
}
