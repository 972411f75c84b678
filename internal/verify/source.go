package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/limit"
)

// How often keys are fetched. A removed key is refused after at most
// refreshAfter and one request; a new one is accepted after at most
// provokedInterval.
const (
	refreshAfter     = 10 * time.Minute // in the background, while known keys serve
	staleAfter       = 24 * time.Hour   // known keys serve while the issuer is down
	provokedInterval = 30 * time.Second // between fetches that a token can provoke
	retryInterval    = 5 * time.Second  // after a failed fetch
	turnInterval     = 3 * time.Second  // after a failed fetch of another node
)

// source is the key set of one address and its state. Tokens whose key is known
// never wait here. At most one fetch is under way, whoever needs it waits for
// that one, and it goes on when they leave. So many wait at most (see waiters).
type source struct {
	cache   *keyCache
	address string
	used    time.Time // guarded by cache.mu

	mu       sync.Mutex
	saved    KeySet        // the set that is persisted, as far as known
	set      *keySet       // nil: none yet
	latest   time.Time     // when the latest fetch began, or brought the set
	failedAt time.Time     // when the latest fetch failed; zero: it did not
	cause    error         // why it failed
	flight   chan struct{} // closed at the end of the fetch that is under way; nil: none
	waiting  int           // for it; guarded by cache.mu
}

// key returns the key with this id. An id that is not known is a reason to fetch,
// within limits; beyond them the answer is at once, and "unavailable" if the latest
// fetch failed: the id may well be a new one.
func (s *source) key(ctx context.Context, id, binding string) (*jose.Key, error) {
	set := s.current()
	if set == nil {
		err := s.renew(ctx, 0)
		if set = s.current(); set == nil {
			return nil, cmp.Or(err, s.unreachable(ctx))
		}
	}
	if key := set.find(id, binding); key != nil {
		return key, nil
	}
	key, err := s.renewed(ctx, id, binding)
	switch {
	case key != nil:
		return key, nil
	case err != nil:
		return nil, err
	case s.failing() || ctx.Err() != nil:
		return nil, s.unreachable(ctx)
	}
	return nil, errUnknownKey()
}

// renewed returns the key with this id, or nil, after a fetch if the limit on
// fetches that tokens provoke allows one. The error is that of renew.
func (s *source) renewed(ctx context.Context, id, binding string) (*jose.Key, error) {
	err := s.renew(ctx, provokedInterval)
	if set := s.current(); set != nil {
		return set.find(id, binding), err
	}
	return nil, err
}

// current returns the set if it may be used, and has it refreshed in the background
// if it is old.
func (s *source) current() *keySet {
	now := s.cache.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		return nil
	}
	age := now.Sub(s.set.fetchedAt)
	if age < -refreshAfter { // the clock was set back: how old the set is nobody knows
		set := *s.set
		set.fetchedAt, age = now, refreshAfter+1
		s.set = &set
	}
	if age > refreshAfter && s.flight == nil && s.mayFetch(now, 0) {
		s.fly(now, refreshAfter)
	}
	if age > staleAfter {
		return nil
	}
	return s.set
}

// renew waits for the fetch that is under way, or for one that it starts if the
// latest began at least interval ago. Otherwise it returns at once. The error says
// that too many wait already; the fetch is then under way all the same.
func (s *source) renew(ctx context.Context, interval time.Duration) error {
	now := s.cache.now()
	s.mu.Lock()
	if s.flight == nil && s.mayFetch(now, interval) {
		s.fly(now, interval)
	}
	flight := s.flight
	s.mu.Unlock()
	if flight == nil {
		return nil
	}
	if !s.cache.wait(s) {
		return errCrowded()
	}
	defer s.cache.waited(s)
	limit.Waits(ctx)
	select {
	case <-flight:
	case <-ctx.Done():
	}
	return nil
}

// mayFetch needs s.mu. Where the clock was set back, limits do not hold.
func (s *source) mayFetch(now time.Time, interval time.Duration) bool {
	past := func(t time.Time, d time.Duration) bool {
		return t.IsZero() || now.Before(t) || now.Sub(t) >= d
	}
	return past(s.latest, interval) && past(s.failedAt, s.again())
}

// fly starts a fetch, for which what another node fetched will do if it is younger than
// age. It needs s.mu, and that there is no flight.
func (s *source) fly(now time.Time, age time.Duration) {
	flight, before := make(chan struct{}), s.latest
	started := s.cache.background(func() {
		set, fetched, err := s.obtain(age)
		s.land(flight, before, set, fetched, err)
		if fetched != nil {
			s.persist(fetched)
		}
	})
	if started {
		s.flight, s.latest = flight, now
	}
}

// obtain returns the set that somebody else fetched, if it will do (see shared), else
// fetches one. What was fetched is also returned as it is to be persisted, and so is a
// failure. Where nothing may be fetched from, what is persisted is not used either.
func (s *source) obtain(age time.Duration) (*keySet, *KeySet, error) {
	if err := s.cache.guard.check(s.address); err != nil {
		return nil, nil, fmt.Errorf("fetch keys from %.200q: %w", s.address, &addressFault{err})
	}
	set, err := s.shared(age)
	if set != nil {
		return set, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("fetch keys from %s: %w", s.address, err)
	}
	ctx, cancel := context.WithTimeout(s.cache.life, fetchTimeout)
	defer cancel()
	jwks, err := s.cache.fetch(ctx, s.address)
	at := s.cache.now()
	if err == nil {
		set, err = parseKeySet(jwks, at)
	}
	if err != nil {
		err = fmt.Errorf("fetch keys from %s: %w", s.address, err)
		if s.cache.life.Err() != nil { // it is this server that ended
			return nil, nil, err
		}
		return nil, &KeySet{Source: s.address, FailedAt: at}, err
	}
	return set, &KeySet{Source: s.address, JWKS: jwks, FetchedAt: at}, nil
}

// land ends a flight. A failed one leaves the keys that are known. A fetch is
// counted under the lock: whoever saw it in the counters finds it landed. Where nothing
// was asked, because another node has just failed, the latest is the one of before.
func (s *source) land(flight chan struct{}, latest time.Time, set *keySet, fetched *KeySet, err error) {
	now := s.cache.now()
	s.mu.Lock()
	before, cause := s.set, s.cause
	if errors.Is(err, errElsewhere) {
		s.latest = latest
	} else if fetched != nil || err != nil {
		s.cache.counted(err != nil)
	}
	if err == nil {
		s.set, s.latest, s.failedAt, s.cause = set, set.fetchedAt, time.Time{}, nil
	} else {
		s.failedAt, s.cause = now, err
	}
	s.flight = nil
	s.mu.Unlock()
	s.tell(before, set, cause, err)
	close(flight)
}

// tell logs what has changed. An outage is told when it begins, when its cause is
// another, and when it ends, not at every fetch.
func (s *source) tell(before, set *keySet, cause, err error) {
	log := s.cache.log.With("source", s.address)
	switch {
	case err != nil && cause != nil && cause.Error() == err.Error():
		log.Debug("keys of an issuer can still not be renewed", "error", err)
	case err != nil:
		log.Warn("keys of an issuer could not be renewed", "error", err)
	case cause != nil:
		log.Info("keys of an issuer are renewed again")
	}
	if err != nil {
		return
	}
	if before != nil && !before.same(set) {
		log.Info("an issuer has changed its keys", "kids", set.ids())
	}
	if len(set.ignored) > 0 && (before == nil || !slices.Equal(before.ignored, set.ignored)) {
		log.Warn("an issuer publishes keys that are not used", "keys", set.ignored)
	}
}

func (s *source) failing() bool {
	_, failing := s.state()
	return failing
}

// ignored returns how many keys of the set are not used.
func (s *source) ignored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		return 0
	}
	return len(s.set.ignored)
}

// state returns when the set was fetched, if there is one, and whether the latest
// fetch failed.
func (s *source) state() (fetchedAt time.Time, failing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != nil {
		fetchedAt = s.set.fetchedAt
	}
	return fetchedAt, !s.failedAt.IsZero()
}

// unreachable returns the error for keys that are not to be had now.
func (s *source) unreachable(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeIssuerUnreachable,
		"The keys of the subject token's issuer are not to be had at the moment, so the token cannot be verified. Try again later, with a fresh ID token.")
	e.RetryAfter = retryInterval
	cause := s.cause
	if err := context.Cause(ctx); err != nil {
		cause = fmt.Errorf("wait for keys from %s: %w", s.address, err)
	}
	return e.WithCause(cause)
}
