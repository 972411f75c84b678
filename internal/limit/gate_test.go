package limit

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// In the bubble time passes only while everybody waits.
func TestGate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, g *Gate)
	}{
		{"there are as many places as were given", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			if start := time.Now(); g.Enter(t.Context(), false) || time.Since(start) != time.Second {
				t.Errorf("a fifth, after %s", time.Since(start))
			}
			g.Leave()
			enter(t, g, 1)
		}},
		{"who waits gets the place that comes free, the first one first", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			var mu sync.Mutex
			var order []int
			for i := range 3 {
				go func() {
					if g.Enter(t.Context(), false) {
						mu.Lock()
						order = append(order, i)
						mu.Unlock()
					}
				}()
				synctest.Wait()
			}
			for range 3 {
				g.Leave()
				synctest.Wait()
			}
			if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
				t.Errorf("%v", order)
			}
		}},
		{"beyond the queue everybody is turned away at once", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			wait(t, g, 4)
			start := time.Now()
			if g.Enter(t.Context(), false) || time.Since(start) != 0 {
				t.Errorf("after %s", time.Since(start))
			}
		}},
		{"who comes last is turned away when the queue is half full", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			wait(t, g, 2)
			start := time.Now()
			if g.Enter(t.Context(), true) || time.Since(start) != 0 {
				t.Errorf("after %s", time.Since(start))
			}
			wait(t, g, 2) // and nobody else is
		}},
		{"who comes last waits behind all others", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			var order []bool // last, of those who got a place
			for _, last := range []bool{true, false} {
				go func() {
					if g.Enter(t.Context(), last) {
						order = append(order, last)
					}
				}()
				synctest.Wait()
			}
			for range 2 {
				g.Leave()
				synctest.Wait()
			}
			if len(order) != 2 || order[0] || !order[1] {
				t.Errorf("%v", order)
			}
		}},
		{"who waits in vain leaves the queue", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			wait(t, g, 4)
			time.Sleep(2 * time.Second)
			wait(t, g, 4)
		}},
		{"who goes away leaves the queue, and his place to others", func(t *testing.T, g *Gate) {
			enter(t, g, 4)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan bool)
			go func() { done <- g.Enter(ctx, false) }()
			synctest.Wait()
			cancel()
			if <-done {
				t.Error("he got one")
			}
			g.Leave()
			enter(t, g, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tt.run(t, NewGate(4, 4, time.Second)) })
		})
	}
}

// enter takes places that must be free.
func enter(t *testing.T, g *Gate, places int) {
	t.Helper()
	for range places {
		if start := time.Now(); !g.Enter(t.Context(), false) || time.Since(start) != 0 {
			t.Fatal("a place is missing")
		}
	}
}

// wait lets so many wait, and asserts that they do.
func wait(t *testing.T, g *Gate, n int) {
	t.Helper()
	before := g.queued()
	for range n {
		go g.Enter(t.Context(), false)
	}
	synctest.Wait()
	if g.queued() != before+n {
		t.Fatalf("%d wait, want %d", g.queued(), before+n)
	}
}

func (g *Gate) queued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.Len()
}

// However they come, wait, leave and give up, all places are free in the end.
func TestNoPlaceIsLost(t *testing.T) {
	t.Parallel()
	g := NewGate(3, 3, time.Microsecond)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 500 {
				if g.Enter(t.Context(), i%2 == 0) {
					g.Leave()
				}
			}
		})
	}
	wg.Wait()
	if g.taken != 0 || g.waiting.Len() != 0 {
		t.Errorf("%d taken, %d waiting", g.taken, g.waiting.Len())
	}
}
