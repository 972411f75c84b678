package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// The life of a key: it is published, Lead later it signs, at its successor's turn
// it stops, and when every token that it signed has expired it leaves the key set.
const (
	// Lead is how long a key is published before it signs: twice as long as relying
	// parties may keep the key set, so that each has read it by then, also where a
	// node's clock is some minutes ahead.
	Lead = 10 * time.Minute

	// LongestLife is how long a token may live, so how long a key that signs no more
	// is needed.
	LongestLife = 30 * 24 * time.Hour

	// slack is added to it, for clocks and for whoever accepts a token a little late.
	slack = 24 * time.Hour
)

// leavesAt is when a key leaves the key set by the clock; zero: no end yet.
func leavesAt(k *store.SigningKey) time.Time {
	if k.SignsUntil.IsZero() {
		return time.Time{}
	}
	return k.SignsUntil.Add(LongestLife + slack)
}

// published reports whether a key stands in the key set.
func published(k *store.SigningKey, now time.Time) bool {
	leaves := leavesAt(k)
	return k.CompromisedAt.IsZero() && (leaves.IsZero() || now.Before(leaves))
}

// maySign reports whether it is a key's turn.
func maySign(k *store.SigningKey, now time.Time) bool {
	return k.CompromisedAt.IsZero() && !now.Before(k.SignsFrom) && (k.SignsUntil.IsZero() || now.Before(k.SignsUntil))
}

// signing returns the key that signs: of those whose turn it is, the newest of the
// algorithm; nil where there is none. Rows are in the order of their making.
func signing(rows []store.SigningKey, alg string, now time.Time) *store.SigningKey {
	for i := range slices.Backward(rows) {
		if rows[i].Algorithm == alg && maySign(&rows[i], now) {
			return &rows[i]
		}
	}
	return nil
}

// pending returns the key that is to sign next, or nil.
func pending(rows []store.SigningKey, alg string, now time.Time) *store.SigningKey {
	for i := range rows {
		if rows[i].Algorithm == alg && rows[i].CompromisedAt.IsZero() && now.Before(rows[i].SignsFrom) {
			return &rows[i]
		}
	}
	return nil
}

// describe returns keys as people see them.
func describe(rows []store.SigningKey, alg string, now time.Time) []agentidp.SigningKey {
	list := make([]agentidp.SigningKey, len(rows))
	signer := signing(rows, alg, now)
	for i := range rows {
		k := &rows[i]
		list[i] = agentidp.SigningKey{
			ID: k.KeyID, Algorithm: k.Algorithm, Status: agentidp.SigningKeyVerifying, CreatedAt: k.CreatedAt,
			SignsFrom: k.SignsFrom, SignsUntil: k.SignsUntil, LeavesAt: leavesAt(k), CompromisedAt: k.CompromisedAt,
		}
		switch {
		case !k.CompromisedAt.IsZero():
			list[i].Status, list[i].LeavesAt = agentidp.SigningKeyCompromised, time.Time{}
		case k == signer:
			list[i].Status = agentidp.SigningKeySigning
		case now.Before(k.SignsFrom):
			list[i].Status = agentidp.SigningKeyPending
		case !published(k, now):
			list[i].Status = agentidp.SigningKeyRetired
		}
	}
	return list
}

// orgRing is the key material of one organization as it was read.
type orgRing struct {
	revision int64 // of the organization; the keys are as new or newer
	rows     []store.SigningKey
	signers  map[string]*jose.Signer // by kid, of those that were not given up
	current  atomic.Pointer[view]
}

// view is what the keys are between two instants at which the clock changes them.
// It is immutable.
type view struct {
	from, until time.Time // zero: no such bound
	signer      *jose.Signer
	public      map[string]*jose.Key // by kid
	jwks        []byte
	etag        string
}

func (v *view) covers(now time.Time) bool {
	return !now.Before(v.from) && (v.until.IsZero() || now.Before(v.until))
}

// at returns what the keys are at an instant. It reads no database, so that keys
// take their turns while storage is away.
func (o *orgRing) at(now time.Time, alg string) (*view, error) {
	if v := o.current.Load(); v != nil && v.covers(now) {
		return v, nil
	}
	v := &view{public: map[string]*jose.Key{}}
	for i := range o.rows {
		k := &o.rows[i]
		if s := o.signers[k.KeyID]; s != nil && published(k, now) {
			v.public[k.KeyID] = s.Public()
		}
		for _, turn := range []time.Time{k.SignsFrom, k.SignsUntil, leavesAt(k)} {
			switch {
			case turn.IsZero():
			case turn.After(now) && (v.until.IsZero() || turn.Before(v.until)):
				v.until = turn
			case !turn.After(now) && turn.After(v.from):
				v.from = turn
			}
		}
	}
	if k := signing(o.rows, alg, now); k != nil {
		v.signer = o.signers[k.KeyID]
	}
	if err := v.publish(); err != nil {
		return nil, err
	}
	o.current.Store(v)
	return v, nil
}

// publish renders the key set, in the order of kid so that equal sets have equal
// entity tags.
func (v *view) publish() error {
	doc := struct {
		Keys []json.RawMessage `json:"keys"`
	}{}
	for _, kid := range slices.Sorted(maps.Keys(v.public)) {
		jwk, err := v.public[kid].JWK()
		if err != nil {
			return err
		}
		doc.Keys = append(doc.Keys, jwk)
	}
	var err error
	if v.jwks, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("encode key set: %w", err)
	}
	sum := sha256.Sum256(v.jwks)
	v.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return nil
}
