// Package keys owns the signing keys: the master key that seals them at rest,
// the ring of each organization, how keys follow each other, and the JSON Web Key
// Set that relying parties verify with. No key signs for two organizations.
//
// It does not own what is signed (internal/token) nor the formats of JOSE
// (internal/jose).
package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// Ring holds the keys of all organizations of one server. It is safe for
// concurrent use.
//
// It takes the organization as its caller has read it, and answers with keys that
// are at least as new: every change of the keys raises the organization's revision
// in its own transaction, so a revision that the ring does not know makes it read
// them again. What changes by the clock alone it works out from what it has read.
type Ring struct {
	db     *store.DB
	master *MasterKey
	alg    string
	clock  func() time.Time

	mu    sync.RWMutex
	slots map[string]*slot // by organization id
}

// slot is where the ring of one organization is kept.
type slot struct {
	loading sync.Mutex // held by the one who reads the database
	ring    atomic.Pointer[orgRing]
}

// NewRing returns a ring that signs with alg (ES256, RS256 or EdDSA).
func NewRing(db *store.DB, master *MasterKey, alg string, clock func() time.Time) *Ring {
	return &Ring{db: db, master: master, alg: alg, clock: clock, slots: map[string]*slot{}}
}

// Signer returns the key that signs for an organization, creating it at the
// organization's first use.
func (r *Ring) Signer(ctx context.Context, org *agentidp.Organization) (*jose.Signer, error) {
	v, err := r.view(ctx, org)
	if err != nil {
		return nil, err
	}
	return v.signer, nil
}

// Public returns the organization's public key with this id, or nil.
func (r *Ring) Public(ctx context.Context, org *agentidp.Organization, kid string) (*jose.Key, error) {
	v, err := r.view(ctx, org)
	if err != nil {
		return nil, err
	}
	return v.public[kid], nil
}

// JWKS returns the organization's key set (RFC 7517 §5), public members only,
// and its entity tag. The caller must not change it.
func (r *Ring) JWKS(ctx context.Context, org *agentidp.Organization) (jwks []byte, etag string, err error) {
	v, err := r.view(ctx, org)
	if err != nil {
		return nil, "", err
	}
	return v.jwks, v.etag, nil
}

// OldestTurn returns since when the oldest of the keys that sign does so, of the
// organizations whose keys are at hand; zero: of none. It reads no database.
func (r *Ring) OldestTurn() time.Time {
	now := r.clock()
	r.mu.RLock()
	defer r.mu.RUnlock()
	var oldest time.Time
	for _, s := range r.slots {
		ring := s.ring.Load()
		if ring == nil {
			continue
		}
		k := signing(ring.rows, r.alg, now)
		if k == nil {
			continue
		}
		from := k.SignsFrom
		if from.IsZero() {
			from = k.CreatedAt
		}
		if oldest.IsZero() || from.Before(oldest) {
			oldest = from
		}
	}
	return oldest
}

// Forget drops the keys of an organization that is closed from memory. Whoever asks for
// them all the same has them read again.
func (r *Ring) Forget(orgID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.slots, orgID)
}

// view returns what an organization's keys are now.
func (r *Ring) view(ctx context.Context, org *agentidp.Organization) (*view, error) {
	s := r.slot(org.ID)
	if v, err := s.view(org.Revision, r.alg, r.clock()); v != nil || err != nil {
		return v, err
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if v, err := s.view(org.Revision, r.alg, r.clock()); v != nil || err != nil { // somebody was faster
		return v, err
	}
	v, err := r.load(ctx, s, org)
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	return v, nil
}

func (r *Ring) slot(orgID string) *slot {
	r.mu.RLock()
	s := r.slots[orgID]
	r.mu.RUnlock()
	if s != nil {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots[orgID] == nil {
		r.slots[orgID] = &slot{}
	}
	return r.slots[orgID]
}

// view returns nil where the database has to be asked: the revision is newer than
// what was read, or there is no key that could sign.
func (s *slot) view(revision int64, alg string, now time.Time) (*view, error) {
	ring := s.ring.Load()
	if ring == nil || ring.revision < revision {
		return nil, nil
	}
	v, err := ring.at(now, alg)
	if err != nil || v.signer == nil {
		return nil, err
	}
	return v, nil
}

// load reads an organization's keys, and makes one where none can sign.
func (r *Ring) load(ctx context.Context, s *slot, org *agentidp.Organization) (*view, error) {
	revision := org.Revision // read before the keys, so they are as new or newer
	for range 2 {
		ring, err := r.read(ctx, org.ID, revision)
		if err != nil {
			return nil, err
		}
		v, err := ring.at(r.clock(), r.alg)
		if err != nil {
			return nil, err
		}
		if v.signer != nil {
			s.ring.Store(ring)
			return v, nil
		}
		if revision, err = r.createFirst(ctx, org.ID); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the key that was just made is not there")
}

func (r *Ring) read(ctx context.Context, orgID string, revision int64) (*orgRing, error) {
	rows, err := r.db.SigningKeys(ctx, orgID)
	if err != nil {
		return nil, err
	}
	ring := &orgRing{revision: revision, rows: rows, signers: map[string]*jose.Signer{}}
	for i := range rows {
		if !rows[i].CompromisedAt.IsZero() {
			continue
		}
		if ring.signers[rows[i].KeyID], err = r.unseal(&rows[i]); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// createFirst makes a key for an organization that has none that could sign with
// the ring's algorithm, and returns the organization's revision from then on. Of
// two nodes that come at the same time one makes it.
func (r *Ring) createFirst(ctx context.Context, orgID string) (revision int64, err error) {
	key, err := r.Prepare(orgID)
	if err != nil {
		return 0, err
	}
	err = r.db.Write(ctx, func(tx *store.Tx) error {
		c, err := r.begin(ctx, tx, orgID)
		if err != nil {
			return err
		}
		revision = c.org.Revision
		if c.signing() != nil { // another node was first
			return nil
		}
		if err := key.Record(ctx, tx, agentidp.ActorSystem); err != nil {
			return err
		}
		revision++
		return c.commit(ctx)
	})
	return revision, err
}

// Opens proves that every key of an organization that was not given up opens under the
// master key. It makes none.
func (r *Ring) Opens(ctx context.Context, org *agentidp.Organization) error {
	_, err := r.read(ctx, org.ID, org.Revision)
	return err
}
