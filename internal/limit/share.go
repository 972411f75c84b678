package limit

import "sync"

// Share bounds what all parties hold at once of something, such as memory, and what
// one of them does: a quarter of it all. It is safe for concurrent use.
type Share[K comparable] struct {
	total int

	mu   sync.Mutex
	held int
	of   map[K]int // of those who hold something
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
	s.held += n
	s.of[key] += n
	return true
}

// Give gives back n that a key has taken.
func (s *Share[K]) Give(key K, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= n
	if s.of[key] -= n; s.of[key] == 0 {
		delete(s.of, key)
	}
}
