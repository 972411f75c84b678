package jose

import (
	"errors"
	"fmt"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Entry is one element of a key set: a key that can verify signatures, or what is
// wrong with it. ID, Type and Algorithm are what it says of itself, as far as that
// can be shown.
type Entry struct {
	ID, Type, Algorithm string
	Key                 *Key
	Err                 error // nil: the key is good
}

// Ignored reports whether a key was published for signatures, and none is verified with
// it here: something is wrong with it, or its algorithm is not supported.
func (e *Entry) Ignored() bool {
	return e.Err != nil && !errors.Is(e.Err, errOtherUse) && !errors.Is(e.Err, errRepeated)
}

var (
	errOtherUse  = errors.New("use is not sig")
	errAmbiguous = errors.New("its kid stands for another key, too")
	errRepeated  = errors.New("it is in the set twice")
)

// InspectJWKS reads a JWK set as ParseJWKS does, and returns all of its elements. The
// error is about the set: one without a usable key is none.
func InspectJWKS(data []byte, allowed []string) ([]Entry, error) {
	if len(data) > MaxJWKS {
		return nil, fmt.Errorf("the key set is over %d bytes", MaxJWKS)
	}
	var list []byte
	err := strictjson.Members(data, jwksDepth, func(name string, value []byte) error {
		if name == "keys" {
			list = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	var entries []Entry
	err = strictjson.Elements(list, jwksDepth, func(value []byte) error {
		if len(entries) == maxKeys {
			return fmt.Errorf("more than %d keys", maxKeys)
		}
		entries = append(entries, parseJWK(value, allowed))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read keys of the key set: %w", err)
	}
	disambiguate(entries)
	return entries, nil
}

// disambiguate gives up keys whose id stands for different keys, and repetitions.
func disambiguate(entries []Entry) {
	same := func(a, b *Entry) bool { return a.Key != nil && b.Key != nil && a.Key.ID != "" && a.Key.ID == b.Key.ID }
	for i := range entries {
		e := &entries[i]
		for j := range entries {
			switch other := &entries[j]; {
			case !same(e, other):
			case !other.Key.Equal(e.Key):
				e.Err = errAmbiguous
			case j < i && e.Err == nil:
				e.Err = errRepeated
			}
		}
	}
}
