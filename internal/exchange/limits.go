package exchange

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sentryagent/agentidp"
)

// A refusal of an authentic token is recorded, and anyone who may run a workflow
// anywhere on GitHub can cause one: an old token works for ever. So the refusals of
// one repository, and those of one provider together, are recorded at a bounded
// rate; beyond it the answer is 429 and costs no write. Grants are not counted.

// providerFactor is how many repositories' worth of refusals one provider may
// cause.
const providerFactor = 20

// limitKey names the bucket of one caller, which is a repository by its id or a
// subject, or of a whole provider. A token that has neither has the bucket of the
// caller "", which is not the provider's.
type limitKey struct {
	org, provider, caller string
	whole                 bool
}

type limits struct {
	perMinute int

	mu      sync.Mutex
	buckets map[limitKey]*rate.Limiter
}

func newLimits(perMinute int) *limits {
	return &limits{perMinute: perMinute, buckets: map[limitKey]*rate.Limiter{}}
}

// refusal takes one refusal from the caller's bucket and its provider's. It
// returns nil, or the error for a caller who has had too many.
func (l *limits) refusal(now time.Time, org, provider, caller string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket(limitKey{org, provider, caller, false}, l.perMinute).AllowN(now, 1) &&
		l.bucket(limitKey{org, provider, "", true}, l.perMinute*providerFactor).AllowN(now, 1) {
		return nil
	}
	e := agentidp.NewError(agentidp.TooMany, agentidp.CodeRateLimited,
		"Exchanges were refused too often. The answers before this one say why; mend that, and try again later with a fresh ID token.")
	e.RetryAfter = max(time.Second, time.Minute/time.Duration(l.perMinute))
	return e
}

// bucket returns a bucket that holds a minute's worth. When there are too many, an
// arbitrary one makes room; the provider's bucket bounds what that can be used for.
func (l *limits) bucket(key limitKey, perMinute int) *rate.Limiter {
	if b, ok := l.buckets[key]; ok {
		return b
	}
	if len(l.buckets) >= cacheSize {
		for old := range l.buckets {
			if !old.whole {
				delete(l.buckets, old)
				break
			}
		}
	}
	b := rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
	l.buckets[key] = b
	return b
}
