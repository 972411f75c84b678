package limit

import (
	"sync"
	"time"
)

// sampleEvery is how often a Sampler lets one through.
const sampleEvery = time.Second

// Sampler lets one a second of what strangers can cause at will into the log, so that
// they do not fill the disk with it. The zero Sampler is ready. It is safe for
// concurrent use.
type Sampler struct {
	mu   sync.Mutex
	last time.Time
	kept int64 // back, since the last
}

// Due reports whether one may be told now, and how many were kept back before it. A
// clock that was set back does not stop it.
func (s *Sampler) Due(now time.Time) (keptBack int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if passed := now.Sub(s.last); passed >= 0 && passed < sampleEvery {
		s.kept++
		return 0, false
	}
	keptBack, s.kept, s.last = s.kept, 0, now
	return keptBack, true
}
