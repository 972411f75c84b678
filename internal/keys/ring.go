// Package keys owns the signing keys: the master key that seals them at rest,
// the ring of each organization, and the JSON Web Key Set that relying parties
// verify with. No key signs for two organizations.
//
// It does not own what is signed (internal/token) nor the formats of JOSE
// (internal/jose).
package keys

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// Ring holds the keys of all organizations of one server. It is safe for
// concurrent use.
type Ring struct {
	db     *store.DB
	master *MasterKey
	alg    string
	clock  func() time.Time

	mu    sync.RWMutex
	rings map[string]*orgRing // by organization id
}

// orgRing is the immutable key material of one organization.
type orgRing struct {
	signer *jose.Signer
	public map[string]*jose.Key // by kid
	jwks   []byte
	etag   string
}

// NewRing returns a ring that signs with alg (ES256, RS256 or EdDSA). With an
// empty alg it signs with the newest key there is and never makes one: that is for
// programs beside the server, which must use a key that the server knows.
func NewRing(db *store.DB, master *MasterKey, alg string, clock func() time.Time) *Ring {
	return &Ring{db: db, master: master, alg: alg, clock: clock, rings: map[string]*orgRing{}}
}

// Signer returns the key that signs for an organization, creating it at the
// organization's first use.
func (r *Ring) Signer(ctx context.Context, orgID string) (*jose.Signer, error) {
	ring, err := r.ring(ctx, orgID)
	if err != nil {
		return nil, err
	}
	return ring.signer, nil
}

// Public returns the organization's public key with this id, or nil.
func (r *Ring) Public(ctx context.Context, orgID, kid string) (*jose.Key, error) {
	ring, err := r.ring(ctx, orgID)
	if err != nil {
		return nil, err
	}
	return ring.public[kid], nil
}

// JWKS returns the organization's key set (RFC 7517 §5), public members only,
// and its entity tag. The caller must not change it.
func (r *Ring) JWKS(ctx context.Context, orgID string) (jwks []byte, etag string, err error) {
	ring, err := r.ring(ctx, orgID)
	if err != nil {
		return nil, "", err
	}
	return ring.jwks, ring.etag, nil
}

func (r *Ring) ring(ctx context.Context, orgID string) (*orgRing, error) {
	r.mu.RLock()
	ring := r.rings[orgID]
	r.mu.RUnlock()
	if ring != nil {
		return ring, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ring = r.rings[orgID]; ring != nil {
		return ring, nil
	}
	ring, err := r.load(ctx, orgID)
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	r.rings[orgID] = ring
	return ring, nil
}

// load reads an organization's keys. The newest key of the configured algorithm
// signs; the others stay in the key set, so tokens that they signed still verify.
func (r *Ring) load(ctx context.Context, orgID string) (*orgRing, error) {
	stored, err := r.db.SigningKeys(ctx, orgID)
	if err != nil {
		return nil, err
	}
	ring := &orgRing{public: map[string]*jose.Key{}}
	var newest time.Time
	for i := range stored {
		signer, err := r.unseal(&stored[i])
		if err != nil {
			return nil, err
		}
		ring.public[signer.KeyID()] = signer.Public()
		if (r.alg == "" || stored[i].Algorithm == r.alg) && !stored[i].CreatedAt.Before(newest) {
			ring.signer, newest = signer, stored[i].CreatedAt
		}
	}
	if ring.signer == nil && r.alg == "" {
		return nil, errors.New("the organization has no signing key yet; start the server once, which makes it")
	}
	if ring.signer == nil {
		if ring.signer, err = r.create(ctx, orgID); err != nil {
			return nil, err
		}
		ring.public[ring.signer.KeyID()] = ring.signer.Public()
	}
	return ring, ring.publish()
}

func label(orgID, kid string) string { return "signing_key/" + orgID + "/" + kid }

// unseal opens a stored key and proves that it is the one its row names.
func (r *Ring) unseal(k *store.SigningKey) (*jose.Signer, error) {
	der, err := r.master.open(k.SealedPrivateKey, label(k.OrganizationID, k.KeyID))
	if err != nil {
		return nil, fmt.Errorf("signing key %s does not open under the master key; restore the row or the key it was sealed with", k.KeyID)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse signing key %s: %w", k.KeyID, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s is a %T, which cannot sign", k.KeyID, private)
	}
	s, err := jose.NewSigner(k.Algorithm, signer)
	if err != nil {
		return nil, fmt.Errorf("use signing key %s: %w", k.KeyID, err)
	}
	if s.KeyID() != k.KeyID {
		return nil, fmt.Errorf("signing key %s has the thumbprint %s; the row was tampered with", k.KeyID, s.KeyID())
	}
	return s, nil
}

// create makes, seals and records a new key; the event commits with it.
func (r *Ring) create(ctx context.Context, orgID string) (*jose.Signer, error) {
	private, err := jose.GenerateKey(r.alg)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(r.alg, private)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode signing key: %w", err)
	}
	jwk, err := signer.Public().JWK()
	if err != nil {
		return nil, err
	}
	now := r.clock()
	err = r.db.Write(ctx, func(tx *store.Tx) error {
		key := &store.SigningKey{
			OrganizationID: orgID, KeyID: signer.KeyID(), Algorithm: r.alg, PublicJWK: jwk,
			SealedPrivateKey: r.master.seal(der, label(orgID, signer.KeyID())), CreatedAt: now,
		}
		if err := tx.CreateSigningKey(ctx, key); err != nil {
			return err
		}
		return tx.Append(ctx, agentidp.Event{
			ID: agentidp.NewID(now), OrganizationID: orgID, At: now, Type: agentidp.EventSigningKeyCreated,
			Actor: "system", Data: map[string]string{"kid": signer.KeyID(), "alg": r.alg},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("record signing key: %w", err)
	}
	return signer, nil
}

// publish renders the key set, in the order of kid so that equal sets have equal
// entity tags.
func (o *orgRing) publish() error {
	doc := struct {
		Keys []json.RawMessage `json:"keys"`
	}{}
	for _, kid := range slices.Sorted(maps.Keys(o.public)) {
		jwk, err := o.public[kid].JWK()
		if err != nil {
			return err
		}
		doc.Keys = append(doc.Keys, jwk)
	}
	var err error
	if o.jwks, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("encode key set: %w", err)
	}
	sum := sha256.Sum256(o.jwks)
	o.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return nil
}
