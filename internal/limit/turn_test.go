package limit

import (
	"context"
	"testing"
	"time"
)

// A turn ends once, whoever ends it, and then it is another's.
func TestTurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, turn *Turn)
	}{
		{"at the end", func(_ context.Context, turn *Turn) { turn.End() }},
		{"when its request waits", func(ctx context.Context, _ *Turn) { Waits(ctx) }},
		{"when it waits again and again", func(ctx context.Context, turn *Turn) { Waits(ctx); Waits(ctx); turn.End() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewGate(1, 0, time.Hour)
			var first, second, third Turn
			if !first.Begin(t.Context(), g, false) || second.Begin(t.Context(), g, false) {
				t.Fatal("of one place, not one has its turn")
			}
			second.End() // it never had one to give
			if second.Begin(t.Context(), g, false) {
				t.Error("the turn of another was ended")
			}
			tt.end(WithTurn(t.Context(), &first), &first)
			if !second.Begin(t.Context(), g, false) || third.Begin(t.Context(), g, false) {
				t.Error("then not one has its turn")
			}
		})
	}
	Waits(t.Context()) // what is no request has none
}
