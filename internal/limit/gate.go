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
	last    list.List // of those who come last
}

// NewGate returns a Gate with so many places, and so many in its queue.
func NewGate(places, queue int, patience time.Duration) *Gate {
	return &Gate{places: places, queue: queue, patience: patience}
}

// Enter takes a place, and reports whether it got one: then Leave must follow. Who
// comes last waits behind all who do not, and is turned away while the queue is half full.
func (g *Gate) Enter(ctx context.Context, last bool) bool {
	g.mu.Lock()
	if g.taken < g.places {
		g.taken++
		g.mu.Unlock()
		return true
	}
	if n := g.waiting.Len() + g.last.Len(); n >= g.queue || last && n >= g.queue/2 {
		g.mu.Unlock()
		return false
	}
	queue := &g.waiting
	if last {
		queue = &g.last
	}
	given := make(chan struct{})
	place := queue.PushBack(given)
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
		queue.Remove(place)
		return false
	}
}

// Leave gives the place to whoever waits longest.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, queue := range []*list.List{&g.waiting, &g.last} {
		if first := queue.Front(); first != nil {
			close(queue.Remove(first).(chan struct{}))
			return
		}
	}
	g.taken--
}
