package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"time"
)

// SigningKey is a stored key pair of an organization. The private half is
// sealed; how is internal/keys' business, and so is what the instants mean.
type SigningKey struct {
	OrganizationID, KeyID, Algorithm string
	PublicJWK, SealedPrivateKey      []byte
	CreatedAt                        time.Time
	SignsFrom                        time.Time // zero: from the beginning
	SignsUntil                       time.Time // zero: no end yet
	CompromisedAt                    time.Time // zero: not compromised
}

// SigningKeys returns the keys of an organization, oldest first.
func (r reads) SigningKeys(ctx context.Context, orgID string) ([]SigningKey, error) {
	scan := func(rows *sql.Rows, k *SigningKey) error {
		var public, sealed string
		err := rows.Scan(&k.OrganizationID, &k.KeyID, &k.Algorithm, &public, &sealed, microsTime{&k.CreatedAt},
			microsTime{&k.SignsFrom}, microsTime{&k.SignsUntil}, microsTime{&k.CompromisedAt})
		if err != nil {
			return err
		}
		k.PublicJWK = []byte(public)
		if k.SealedPrivateKey, err = base64.StdEncoding.DecodeString(sealed); err != nil {
			return fmt.Errorf("signing key %s: %w", k.KeyID, err)
		}
		return nil
	}
	return list(ctx, r, "list signing keys", scan, `
		SELECT organization_id, key_id, algorithm, public_jwk, sealed_private_key, created_at, signs_from, signs_until, compromised_at
		FROM signing_keys WHERE organization_id = $1 ORDER BY created_at, key_id`, orgID)
}

// CreateSigningKey inserts k; ErrExists if the organization has it.
func (t *Tx) CreateSigningKey(ctx context.Context, k *SigningKey) error {
	return t.insert(ctx, "create signing key", `
		INSERT INTO signing_keys (organization_id, key_id, algorithm, public_jwk, sealed_private_key, created_at, signs_from, signs_until, compromised_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		k.OrganizationID, k.KeyID, k.Algorithm, string(k.PublicJWK), base64.StdEncoding.EncodeToString(k.SealedPrivateKey), micros(k.CreatedAt),
		micros(k.SignsFrom), micros(k.SignsUntil), micros(k.CompromisedAt))
}

// UpdateSigningKey writes what may change of k: its private half, which may be
// destroyed, and its instants. The caller holds the organization (LockOrganization)
// and gives it its next revision. ErrStale: there is no such key.
func (t *Tx) UpdateSigningKey(ctx context.Context, k *SigningKey) error {
	return t.update(ctx, "update signing key", `
		UPDATE signing_keys SET sealed_private_key = $3, signs_from = $4, signs_until = $5, compromised_at = $6
		WHERE organization_id = $1 AND key_id = $2`,
		k.OrganizationID, k.KeyID, base64.StdEncoding.EncodeToString(k.SealedPrivateKey), micros(k.SignsFrom), micros(k.SignsUntil), micros(k.CompromisedAt))
}

// KeySet is what is shared about the key set of an issuer's address.
type KeySet struct {
	JWKS      []byte    // nil: none was fetched yet
	FetchedAt time.Time // when it was
	AskedAt   time.Time // when a node last began to fetch it
	FailedAt  time.Time // when that last failed
}

// KeySet returns what is known of a source's key set; ErrNotFound if it was never asked
// for. Issuers belong to the installation, so this query names no organization.
func (r reads) KeySet(ctx context.Context, source string) (*KeySet, error) {
	scan := func(rows *sql.Rows, k *KeySet) error {
		var jwks string
		err := rows.Scan(&jwks, microsTime{&k.FetchedAt}, microsTime{&k.AskedAt}, microsTime{&k.FailedAt})
		if jwks != "" {
			k.JWKS = []byte(jwks)
		}
		return err
	}
	return one(ctx, r, "read key set", scan, "SELECT jwks, fetched_at, asked_at, failed_at FROM key_sets WHERE source = $1", source)
}

// AskKeySet notes that a node begins now to fetch a source's key set, and reports whether
// it may: false where another has begun since an instant. One later than ahead is a
// clock's mistake and keeps nobody. Of nodes that come at the same time one may.
func (t *Tx) AskKeySet(ctx context.Context, source string, now, since, ahead time.Time) (bool, error) {
	n, err := t.exec(ctx, "ask for key set", `
		INSERT INTO key_sets (source, jwks, fetched_at, asked_at) VALUES ($1, '', 0, $2)
		ON CONFLICT (source) DO UPDATE SET asked_at = excluded.asked_at
		WHERE key_sets.asked_at <= $3 OR key_sets.asked_at > $4`,
		source, micros(now), micros(since), micros(ahead))
	return n > 0, err
}

// SaveKeySet stores what was fetched from a source, unless something fetched
// later is there.
func (t *Tx) SaveKeySet(ctx context.Context, source string, jwks []byte, fetchedAt time.Time) error {
	_, err := t.exec(ctx, "save key set", `
		INSERT INTO key_sets (source, jwks, fetched_at) VALUES ($1, $2, $3)
		ON CONFLICT (source) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at
		WHERE key_sets.fetched_at <= excluded.fetched_at`,
		source, string(jwks), micros(fetchedAt))
	return err
}

// ForgetKeySets removes the key sets that no node has asked for since an instant: those of
// providers that are gone, or that nobody uses.
func (db *DB) ForgetKeySets(ctx context.Context, before time.Time) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "forget key sets", "DELETE FROM key_sets WHERE fetched_at < $1 AND asked_at < $1", micros(before))
		return err
	})
}

// KeySetFailed notes that the fetch of a source's key set that was begun has failed.
func (t *Tx) KeySetFailed(ctx context.Context, source string, at time.Time) error {
	_, err := t.exec(ctx, "note that a key set was not fetched", "UPDATE key_sets SET failed_at = $2 WHERE source = $1", source, micros(at))
	return err
}
