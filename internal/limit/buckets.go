// Package limit bounds what one party may take of the server: so many of something
// in a minute (Buckets), so much at once (Gate), so many connections (Listener), so many
// lines of the log (Sampler).
//
// It does not own who a party is, what is counted, nor how much is allowed.
package limit

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sentryagent/agentidp"
)

// Buckets count by key: a token bucket for each, which holds a minute's worth and
// fills as time passes. Their number is bounded. A nil *Buckets limits nothing. They
// are safe for concurrent use.
type Buckets[K comparable] struct {
	name      string
	perMinute int
	size      int

	mu sync.Mutex
	of map[K]*rate.Limiter
}

// New returns Buckets of at most size keys, or nil when perMinute is 0: no limit.
// The name is told to those who are limited.
func New[K comparable](name string, perMinute, size int) *Buckets[K] {
	if perMinute == 0 {
		return nil
	}
	return &Buckets[K]{name: name, perMinute: perMinute, size: size, of: map[K]*rate.Limiter{}}
}

// Take takes one from the key's bucket, if there is one, and says so.
func (b *Buckets[K]) Take(now time.Time, key K) (agentidp.RateLimit, bool) {
	if b == nil {
		return agentidp.RateLimit{}, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, known := b.of[key]
	if !known {
		l = rate.NewLimiter(rate.Limit(float64(b.perMinute)/60), b.perMinute)
		b.makeRoom(now)
		b.of[key] = l
	}
	ok := l.AllowN(now, 1)
	return b.state(l.TokensAt(now), ok), ok
}

// Look says whether Take would find one. It takes and remembers nothing.
func (b *Buckets[K]) Look(now time.Time, key K) (agentidp.RateLimit, bool) {
	if b == nil {
		return agentidp.RateLimit{}, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tokens := float64(b.perMinute)
	if l, known := b.of[key]; known {
		tokens = l.TokensAt(now)
	}
	return b.state(tokens, tokens >= 1), tokens >= 1
}

func (b *Buckets[K]) state(tokens float64, ok bool) agentidp.RateLimit {
	wanted := float64(b.perMinute)
	if !ok {
		wanted = 1
	}
	wait := time.Duration((wanted - tokens) / float64(b.perMinute) * float64(time.Minute))
	return agentidp.RateLimit{Name: b.name, Quota: b.perMinute, Remaining: int(max(tokens, 0)), Reset: max(wait, 0)}
}

// sample is how many buckets are looked at to make room for one.
const sample = 8

// makeRoom forgets the fullest of some buckets when there are too many. What is
// forgotten is full again, so the fullest has the least to gain by it: whoever wants
// an empty bucket of his forgotten has to empty nearly all of them.
func (b *Buckets[K]) makeRoom(now time.Time) {
	if len(b.of) < b.size {
		return
	}
	var fullest K
	most, seen := -1.0, 0
	for key, l := range b.of { // begins anywhere
		if tokens := max(l.TokensAt(now), 0); tokens > most {
			fullest, most = key, tokens
		}
		if seen++; seen == sample || most == float64(b.perMinute) {
			break
		}
	}
	delete(b.of, fullest)
}

// Refusal is the answer to a party that has come to a limit. The message says which,
// and what to do.
func Refusal(state agentidp.RateLimit, message string) error {
	e := agentidp.NewError(agentidp.TooMany, agentidp.CodeRateLimited, message)
	e.RetryAfter, e.RateLimit = state.Reset, &state
	return e.WithCause(errors.New("the limit " + state.Name))
}
