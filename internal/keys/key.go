package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

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

// NewKey is a key that was made and sealed, and is recorded nowhere yet: making
// one takes too long for a transaction.
type NewKey struct{ row store.SigningKey }

// Prepare makes a key of the ring's algorithm for an organization.
func (r *Ring) Prepare(orgID string) (*NewKey, error) {
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
	return &NewKey{store.SigningKey{
		OrganizationID: orgID, KeyID: signer.KeyID(), Algorithm: r.alg, PublicJWK: jwk,
		SealedPrivateKey: r.master.seal(der, label(orgID, signer.KeyID())), CreatedAt: r.clock(),
	}}, nil
}

// Record inserts the key with its event. It signs from the commit on; that instant
// is not written down, so that no clock can be behind it. Unless the organization
// is new too, the transaction also raises its revision.
func (k *NewKey) Record(ctx context.Context, tx *store.Tx, actor string) error {
	return k.record(ctx, tx, actor, time.Time{})
}

// record inserts the key with its event; from is when it begins to sign.
func (k *NewKey) record(ctx context.Context, tx *store.Tx, actor string, from time.Time) error {
	row := k.row
	row.SignsFrom = from
	if err := tx.CreateSigningKey(ctx, &row); err != nil {
		return err
	}
	data := map[string]string{"kid": row.KeyID, "alg": row.Algorithm}
	if !from.IsZero() {
		data["signs_from"] = from.UTC().Format(time.RFC3339)
	}
	return tx.Append(ctx, keyEvent(agentidp.EventSigningKeyCreated, &row, row.CreatedAt, actor, data))
}

func keyEvent(typ agentidp.EventType, k *store.SigningKey, at time.Time, actor string, data map[string]string) agentidp.Event {
	return agentidp.Event{ID: agentidp.NewID(at), OrganizationID: k.OrganizationID, At: at, Type: typ, Actor: actor, Data: data}
}
