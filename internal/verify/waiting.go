package verify

import (
	"time"

	"github.com/sentryagent/agentidp"
)

// defaultWaiters is how many callers wait for the keys of one source where the
// configuration does not say.
const defaultWaiters = 32

// AllWaiters is how many times Config.Waiters wait for all sources together.
const AllWaiters = 2

// wait lets a caller wait for a source's keys, and reports whether it may: then waited
// must follow.
//
// Anybody can make a token with an unknown key id, and while an issuer is slow each
// would wait as long as its fetch may take. Whoever calls Verify has work in hand
// meanwhile, so tokens that prove nothing would take that from those whose key is
// known. One slow issuer, of whomever, leaves others room: all sources together have
// that of two (AllWaiters).
func (c *keyCache) wait(s *source) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.waiting >= c.waiters || c.waiting >= AllWaiters*c.waiters {
		return false
	}
	s.waiting++
	c.waiting++
	return true
}

func (c *keyCache) waited(s *source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.waiting--
	c.waiting--
}

// errCrowded is for a token that would have to wait where too many do. It is not
// known to be bad, and the keys may be there in a moment.
func errCrowded() error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The keys of the subject token's issuer are being fetched, and too many tokens wait for them already. Try again in a moment, with a fresh ID token.")
	e.RetryAfter = time.Second
	return e
}
