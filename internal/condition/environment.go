package condition

import (
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/sentryagent/agentidp"
)

// maxCost bounds one evaluation, in CEL's units of cost: less than a millisecond.
const maxCost = 10_000

// Limits of what has to be held: a compiled expression of so many parts takes some 50 kB.
const (
	maxDepth = 32
	maxNodes = 500
)

// functions are all that may be called by name. There are no regular expressions, whose
// matches nobody anchors, and nothing about time: no claim of an accepted token is a time
// that a policy might rest on, and zones would be read from files.
var functions = []string{"glob", "startsWith", "endsWith", "contains", "size", "int", "string"}

var symbols = []string{
	operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals, operators.NotEquals,
	operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.In, operators.Index, operators.Add,
	operators.NotStrictlyFalse, // within all and exists
}

var macros = []string{"has", "all", "exists", "exists_one", "filter", "map"}

// Environments are made when the first expression is compiled: a server without any pays
// nothing.
var (
	ofTexts  = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment(cel.StringType) })
	ofValues = sync.OnceValues(func() (*cel.Env, error) { return newEnvironment(cel.DynType) })
)

func environment(kind *agentidp.ProviderKind) (*cel.Env, error) {
	if isText(kind) {
		return ofTexts()
	}
	return ofValues()
}

// isText reports whether all claims of a kind are text. Of kinds whose claims are not
// known, they may be anything that JSON has.
func isText(kind *agentidp.ProviderKind) bool { return len(kind.KnownClaims) > 0 }

func newEnvironment(claim *cel.Type) (*cel.Env, error) {
	subset := env.NewLibrarySubset().AddIncludedMacros(macros...)
	for _, name := range slices.Concat(functions[1:], symbols) {
		subset.AddIncludedFunctions(env.NewFunction(name))
	}
	return cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.Variable("claims", cel.MapType(cel.StringType, claim)),
		cel.Function("glob",
			cel.Overload("glob_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
			cel.MemberOverload("string_glob_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
			cel.SingletonBinaryBinding(glob)),
		cel.CostModel(
			cost.Overload("glob_string_string", cost.EvalCost(globCost(cost.Arg(0), cost.Arg(1)))),
			cost.MemberOverload("string_glob_string", cost.EvalCost(globCost(cost.Target(), cost.Arg(0))))),
		cel.ParserExpressionSizeLimit(MaxLength), cel.ParserRecursionLimit(maxDepth), cel.ExpressionNodeLimit(maxNodes),
	)
}

func glob(s, pattern ref.Val) ref.Val {
	text, ok := s.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(s)
	}
	match, ok := pattern.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(pattern)
	}
	return types.Bool(Glob(string(match), string(text)))
}

// globCost is the product of both lengths, in steps that are each a small part of a unit.
func globCost(s, pattern cost.QuantityExpr) cost.QuantityExpr {
	return cost.Sum(cost.Const(1), cost.Scale(cost.Mul(s, pattern), 1.0/32))
}

// bounds are what the cost of an expression is estimated with before there is a token.
// More than that in one token is rare, and then the limit of the evaluation itself holds.
type bounds struct{}

// EstimateSize implements cost.Estimator.
func (bounds) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	within := &cost.SizeEstimate{Max: 256}
	if path := element.Path(); len(path) == 1 {
		return &cost.SizeEstimate{Max: uint64(MaxLength), Key: within, Elem: within}
	}
	if element.Type().Kind() == types.StringKind {
		return &cost.SizeEstimate{Max: 1024}
	}
	return &cost.SizeEstimate{Max: 100, Key: within, Elem: within}
}

// EstimateCallCost implements cost.Estimator: functions cost what CEL or their model says.
func (bounds) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
