package condition

import (
	"errors"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// maxParts bounds what is gone through to compare two lists or objects: the values in the
// smaller of them, at all depths. CEL counts the outermost alone, and only once it is
// done, while a list of lists of lists, each the same eight times, is compared for ever.
const maxParts = 100

// partLength is how much text counts as one part more.
const partLength = 64

var errParts = errors.New("two lists or objects of too many parts are compared")

// boundComparisons has ==, != and in look at what they compare before they do.
func boundComparisons(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	switch call.Function() {
	case operators.Equals:
		return &comparison{call, types.Equal}, nil
	case operators.NotEquals:
		return &comparison{call, func(a, b ref.Val) ref.Val { return types.Bool(types.Equal(a, b) != types.True) }}, nil
	case operators.In:
		return &comparison{call, isIn}, nil
	}
	return i, nil
}

// comparison is a call of an operator that compares, in the place of CEL's own.
type comparison struct {
	interpreter.InterpretableCall

	holds func(a, b ref.Val) ref.Val
}

// Eval implements interpreter.Interpretable.
func (c *comparison) Eval(activation interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(activation, c.Exec)
}

// Exec implements interpreter.InterpretableV2. Each side is evaluated once.
func (c *comparison) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := c.Args()
	a := args[0].Exec(frame)
	if types.IsUnknownOrError(a) {
		return a
	}
	b := args[1].Exec(frame)
	if types.IsUnknownOrError(b) {
		return b
	}
	out := types.WrapErr(errParts)
	if c.bounded(a, b) {
		out = c.holds(a, b)
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.EvalBinary(frame, c.ID(), c.InterpretableCall, a, b, out)
	}
	return out
}

// bounded reports whether two values may be compared. Of in, CEL counts the elements of
// the list, but again only once it is done.
func (c *comparison) bounded(a, b ref.Val) bool {
	if c.Function() == operators.In {
		list, ok := b.(traits.Lister)
		return !ok || list.Size().(types.Int) <= maxCost && fits(a)
	}
	return fits(a) || fits(b)
}

// fits reports whether a value has at most maxParts parts. A single one always fits.
func fits(v ref.Val) bool {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		return spare(v, maxParts) >= 0
	}
	return true
}

// spare returns how many parts are left of some after those of a value, or less than 0.
func spare(v ref.Val, left int) int {
	left--
	switch v := v.(type) {
	case traits.Lister:
		size := v.Size().(types.Int)
		for i := types.Int(0); i < size && left >= 0; i++ {
			left = spare(v.Get(i), left)
		}
	case traits.Mapper:
		for i := v.Iterator(); i.HasNext() == types.True && left >= 0; {
			key := i.Next()
			left = spare(v.Get(key), spare(key, left))
		}
	case types.String:
		left -= len(v) / partLength
	}
	return left
}

// isIn is in, which is about elements of a list or names in an object.
func isIn(a, b ref.Val) ref.Val {
	container, ok := b.(traits.Container)
	if !ok {
		return types.MaybeNoSuchOverloadErr(b)
	}
	return container.Contains(a)
}
