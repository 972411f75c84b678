package limit

import "sync"

// Share bounds what all parties hold at once of something, such as memory, and what
// one of them does: a quarter of it all. It is safe for concurrent use.
type Share[K comparable] struct {
	total int

	mu   sync.Mutex
	held int
	of   map[K]int             // of those who hold something
	open map[*Hold[K]]struct{} // those that may have to make room
}

// NewShare returns a Share of so much.
func NewShare[K comparable](total int) *Share[K] {
	return &Share[K]{total: total, of: map[K]int{}}
}

// Take takes n for a key, and reports whether there was so much: then Give must
// follow. Who comes last leaves a quarter to the others, of all and of what is the
// key's.
func (s *Share[K]) Take(key K, n int, last bool) bool {
	all, each := s.total, s.total/4
	if last {
		all, each = all-all/4, each-each/4
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held+n > all || s.of[key]+n > each {
		return false
	}
	s.take(key, n)
	return true
}

func (s *Share[K]) take(key K, n int) {
	s.held += n
	s.of[key] += n
}

// Give gives back n that a key has taken.
func (s *Share[K]) Give(key K, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give(key, n)
}

func (s *Share[K]) give(key K, n int) {
	s.held -= n
	if s.of[key] -= n; s.of[key] == 0 {
		delete(s.of, key)
	}
}

// Hold is what a key holds for one thing that it has the server wait for. Until that is
// there, it may have to make room: with little of it for each of many, few addresses would
// have all that there is.
type Hold[K comparable] struct {
	share *Share[K]
	key   K
	since int64
	stop  func()

	n     int  // guarded by share.mu, as is what follows
	ended bool // it had to make room
}

// Open returns a Hold of nothing. stop ends the waiting; it must not wait, nor come back
// here. Arrived and Close must follow.
func (s *Share[K]) Open(key K, stop func()) *Hold[K] {
	h := &Hold[K]{share: s, key: key, since: now(), stop: stop}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*Hold[K]]struct{}{}
	}
	s.open[h] = struct{}{}
	return h
}

// Take is that of the Share. Where all is taken, what has kept the server waiting longest
// makes room for who does not come last.
func (h *Hold[K]) Take(n int, last bool) bool {
	s := h.share
	for !s.Take(h.key, n, last) {
		if last || !s.makeRoom(h, n) {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.ended {
		s.give(h.key, n)
		return false
	}
	h.n += n
	return true
}

// makeRoom ends one that is open, if there is one and that helps h: what a key has beyond
// its own part nobody makes room for.
func (s *Share[K]) makeRoom(h *Hold[K], n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.ended || s.of[h.key]+n > s.total/4 {
		return false
	}
	if s.held+n <= s.total {
		return true // meanwhile
	}
	var slow *Hold[K]
	var most int64
	at, seen := now(), 0
	for other := range s.open { // begins anywhere
		if seen++; seen > met {
			break
		}
		if other == h || other.n == 0 {
			continue
		}
		// As for connections, counted as often as its key has something.
		if waits := (at - other.since + 1) * int64(s.of[other.key]); slow == nil || waits > most {
			slow, most = other, waits
		}
	}
	if slow == nil {
		return false
	}
	delete(s.open, slow)
	s.give(slow.key, slow.n)
	slow.n, slow.ended = 0, true
	slow.stop()
	return true
}

// Arrived says that the waiting is over, and reports whether it was not ended: from then on
// it makes room for nobody.
func (h *Hold[K]) Arrived() bool {
	h.share.mu.Lock()
	defer h.share.mu.Unlock()
	delete(h.share.open, h)
	return !h.ended
}

// Close gives back all that is held.
func (h *Hold[K]) Close() {
	h.share.mu.Lock()
	defer h.share.mu.Unlock()
	delete(h.share.open, h)
	if h.n > 0 {
		h.share.give(h.key, h.n)
		h.n = 0
	}
}
