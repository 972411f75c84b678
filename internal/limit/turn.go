package limit

import (
	"context"
	"sync/atomic"
)

// Turn is a request's time at a processor. Few have theirs at once; beyond that a flood of
// requests that cost nothing but computing would stand before each step of those that have
// come further, of which a commit has many. So it ends when the request waits for something
// else, such as storage, and does not come again. The zero Turn has ended.
type Turn struct {
	gate atomic.Pointer[Gate]
}

// Begin waits for the turn, and reports whether it came: then End or Waits must follow.
func (t *Turn) Begin(ctx context.Context, g *Gate, last bool) bool {
	if !g.Enter(ctx, last) {
		return false
	}
	t.gate.Store(g)
	return true
}

// End ends the turn, if it has not ended.
func (t *Turn) End() {
	if g := t.gate.Swap(nil); g != nil {
		g.Leave()
	}
}

type turnKey struct{}

// WithTurn attaches a turn to a request's context.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// Waits says that what is done in ctx waits for something else than a processor from now
// on.
func Waits(ctx context.Context) {
	if t, ok := ctx.Value(turnKey{}).(*Turn); ok {
		t.End()
	}
}
