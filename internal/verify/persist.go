package verify

import (
	"bytes"
	"context"
	"time"
)

const storageTimeout = 5 * time.Second

// persisted reads the set that was saved by an earlier process or another node, on
// the first use of the source. A failure to read it is no failure to have keys.
func (s *source) persisted() *keySet {
	if s.loaded || s.cache.load == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.cache.life, storageTimeout)
	defer cancel()
	saved, err := s.cache.load(ctx, s.address)
	if err != nil {
		s.cache.log.Warn("a saved key set could not be read", "source", s.address, "error", err)
		return nil
	}
	s.loaded = true
	if saved != nil {
		s.remember(saved)
	}
	if saved == nil || s.cache.now().Sub(saved.FetchedAt) > staleAfter {
		return nil
	}
	at := saved.FetchedAt
	if now := s.cache.now(); now.Before(at) {
		at = now // another node's clock, or ours, is wrong
	}
	set, err := parseKeySet(saved.JWKS, at)
	if err != nil {
		s.cache.log.Warn("a saved key set could not be read", "source", s.address, "error", err)
		return nil
	}
	return set
}

func (s *source) persist(set *KeySet) {
	if s.cache.save == nil || s.asGood(set) {
		return
	}
	ctx, cancel := context.WithTimeout(s.cache.life, storageTimeout)
	defer cancel()
	if err := s.cache.save(ctx, set); err != nil {
		s.cache.log.Warn("a key set could not be saved", "source", s.address, "error", err)
		return
	}
	s.remember(set)
}

// asGood reports whether what is persisted is the same and not much older than set:
// strangers cause fetches, and must not cause writes.
func (s *source) asGood(set *KeySet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Equal(set.JWKS, s.saved.JWKS) && set.FetchedAt.Sub(s.saved.FetchedAt) < refreshAfter
}

func (s *source) remember(set *KeySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = *set
}
