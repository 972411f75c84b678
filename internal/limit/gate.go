package limit

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Gate lets so many through at once. Who comes when all places are taken waits for
// one in a short queue, a short time; who finds that full, or waits in vain, is
// turned away: an answer that says "later" at once is worth more than one that comes
// too late. It is safe for concurrent use.
type Gate struct {
	places, queue int
	patience      time.Duration

	mu      sync.Mutex
	taken   int
	waiting list.List // of chan struct{}, closed when its place is given
}

// NewGate returns a Gate with so many places, and as many in its queue.
func NewGate(places int, patience time.Duration) *Gate {
	return &Gate{places: places, queue: places, patience: patience}
}

// Enter takes a place, and reports whether it got one: then Leave must follow. Who
// comes last is turned away while the queue is half full.
func (g *Gate) Enter(ctx context.Context, last bool) bool {
	g.mu.Lock()
	if g.taken < g.places {
		g.taken++
		g.mu.Unlock()
		return true
	}
	if n := g.waiting.Len(); n >= g.queue || last && n >= g.queue/2 {
		g.mu.Unlock()
		return false
	}
	given := make(chan struct{})
	place := g.waiting.PushBack(given)
	g.mu.Unlock()

	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case <-given:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-given: // at the last moment
		return true
	default:
		g.waiting.Remove(place)
		return false
	}
}

// Leave gives the place to whoever waits longest.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.waiting.Front()
	if first == nil {
		g.taken--
		return
	}
	close(g.waiting.Remove(first).(chan struct{}))
}
