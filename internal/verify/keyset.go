package verify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
)

// keySet is a fetched set, parsed. It does not change.
type keySet struct {
	fetchedAt time.Time

	// keys holds the keys by RSA binding and id. A set may be shared by providers
	// whose lists of algorithms differ, which matters for RSA keys without alg.
	keys map[string]map[string]*jose.Key

	ignored []string // what is wrong with the keys for signatures that are not in keys
}

var rsaAlgorithms = []string{jose.RS256, jose.RS384, jose.RS512}

// rsaBinding returns the algorithm that RSA keys without alg are bound to for a
// provider with this list: the first one of RSA.
func rsaBinding(algorithms []string) string {
	for _, alg := range algorithms {
		if slices.Contains(rsaAlgorithms, alg) {
			return alg
		}
	}
	return jose.RS256
}

// parseKeySet reads a set. One without a usable key that has an id is an error.
func parseKeySet(jwks []byte, fetchedAt time.Time) (*keySet, error) {
	set := &keySet{fetchedAt: fetchedAt, keys: map[string]map[string]*jose.Key{}}
	for _, alg := range rsaAlgorithms {
		keys, err := jose.ParseJWKS(jwks, slices.Concat([]string{alg}, jose.Algorithms))
		if err != nil {
			return nil, err
		}
		if set.keys[alg] = byID(keys); len(set.keys[alg]) == 0 {
			return nil, errors.New("no key in the key set has an id")
		}
	}
	entries, err := jose.InspectJWKS(jwks, jose.Algorithms)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch {
		case e.Ignored():
			set.ignored = append(set.ignored, fmt.Sprintf("%q: %v", e.ID, e.Err))
		case e.Key != nil && e.ID == "":
			set.ignored = append(set.ignored, "a key without a kid")
		}
	}
	return set, nil
}

// byID leaves out keys without an id: nothing can ask for them.
func byID(keys []*jose.Key) map[string]*jose.Key {
	m := make(map[string]*jose.Key, len(keys))
	for _, k := range keys {
		if k.ID != "" {
			m[k.ID] = k
		}
	}
	return m
}

func (s *keySet) find(id, binding string) *jose.Key { return s.keys[binding][id] }

// ids returns the key ids, sorted.
func (s *keySet) ids() []string { return slices.Sorted(maps.Keys(s.keys[jose.RS256])) }

// same reports whether two sets have the same keys under the same ids.
func (s *keySet) same(other *keySet) bool {
	return maps.EqualFunc(s.keys[jose.RS256], other.keys[jose.RS256], func(a, b *jose.Key) bool { return a.Equal(b) })
}
