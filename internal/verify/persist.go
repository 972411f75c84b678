package verify

import (
	"context"
	"errors"
	"time"
)

const (
	// storageTimeout bounds what a fetch waits for storage, and for other nodes: then it
	// goes on without them.
	storageTimeout = 5 * time.Second
	// lookAgain is how soon it is looked for what another node is fetching.
	lookAgain = 100 * time.Millisecond
	// clocksDiffer is how far ahead another node's clock may be and still be believed.
	clocksDiffer = 30 * time.Second
)

// errElsewhere is why a node does not ask an issuer that could not tell another.
var errElsewhere = errors.New("another server has just asked for them, and failed")

// again is how soon after a fetch began, by any node, this one may begin the next. One that
// was spared a failed fetch comes before the node that failed: it may be that one alone
// that does not reach the issuer, and coming first each time it would keep all others
// from it. s.mu is needed.
func (s *source) again() time.Duration {
	if errors.Is(s.cause, errElsewhere) {
		return turnInterval
	}
	return retryInterval
}

// shared returns the set that another node, or an earlier process, has fetched, if it is
// newer than the one that is here and younger than age. nil: this node is to fetch it,
// and others wait for what it brings. So an issuer is asked as seldom by many nodes as by
// one, and by one that is started again and again; but a failure of storage, or a node
// that does not come back with an answer, is no failure to have keys.
func (s *source) shared(age time.Duration) (*keySet, error) {
	if s.cache.load == nil {
		return nil, nil //nolint:nilnil // as documented
	}
	ctx, cancel := context.WithTimeout(s.cache.life, storageTimeout)
	defer cancel()
	s.mu.Lock()
	again := s.again()
	s.mu.Unlock()
	for {
		saved, err := s.cache.load(ctx, s.address)
		if err != nil {
			s.cache.log.Warn("a saved key set could not be read", "source", s.address, "error", err)
			return nil, nil //nolint:nilnil // as documented
		}
		if set := s.adopt(saved, age); set != nil || s.cache.begin == nil {
			return set, nil
		}
		now := s.cache.now()
		switch {
		case saved == nil || !saved.underWay(now, again):
			ours, err := s.cache.begin(ctx, s.address, now, again, clocksDiffer)
			if err != nil {
				s.cache.log.Warn("other servers could not be told that keys are fetched", "source", s.address, "error", err)
			}
			if ours || err != nil {
				return nil, nil //nolint:nilnil // as documented
			}
		case !saved.FailedAt.Before(saved.AskedAt):
			return nil, errElsewhere
		}
		select {
		case <-ctx.Done():
			return nil, nil //nolint:nilnil // as documented
		case <-time.After(lookAgain):
		}
	}
}

// underWay reports whether the issuer was asked so lately that it is not to be asked
// again, whether or not its answer is known.
func (k *KeySet) underWay(now time.Time, again time.Duration) bool {
	age := now.Sub(k.AskedAt)
	return -clocksDiffer <= age && age < again
}

// adopt returns what is saved as the set to go on with, or nil.
func (s *source) adopt(saved *KeySet, age time.Duration) *keySet {
	s.mu.Lock()
	known, first := s.saved, s.set == nil
	s.mu.Unlock()
	if saved == nil || saved.JWKS == nil || !saved.FetchedAt.After(known.FetchedAt) {
		return nil
	}
	s.remember(saved)
	if first {
		age = staleAfter
	}
	now, at := s.cache.now(), saved.FetchedAt
	if now.Before(at) { // another node's clock, or ours, is wrong
		if !first && at.Sub(now) > clocksDiffer {
			return nil
		}
		at = now
	}
	if now.Sub(at) >= age {
		return nil
	}
	set, err := parseKeySet(saved.JWKS, at)
	if err != nil {
		s.cache.log.Warn("a saved key set could not be read", "source", s.address, "error", err)
		return nil
	}
	return set
}

// persist saves what a fetch brought, if only that it failed; also at the end of the
// server, or the next one would ask again.
func (s *source) persist(set *KeySet) {
	if s.cache.save == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.cache.life), storageTimeout)
	defer cancel()
	if err := s.cache.save(ctx, set); err != nil {
		s.cache.log.Warn("a key set could not be saved", "source", s.address, "error", err)
		return
	}
	if set.JWKS != nil {
		s.remember(set)
	}
}

func (s *source) remember(set *KeySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = *set
}
