package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

const providerRows = `
	SELECT organization_id, id, name, kind, issuer, audiences, algorithms, jwks_uri, jwks, max_token_age, replay, created_at, updated_at, revision
	FROM oidc_providers`

const providerQuery = providerRows + " WHERE organization_id = $1 AND "

// Provider returns the registered provider of this name, or ErrNotFound.
func (r reads) Provider(ctx context.Context, orgID, name string) (*agentidp.Provider, error) {
	return one(ctx, r, "read provider", scanProvider, providerQuery+"name = $2", orgID, name)
}

// ProviderByIssuer returns the registered provider of an issuer, byte for byte, or
// ErrNotFound. It reads one row of an index, whoever asks.
func (r reads) ProviderByIssuer(ctx context.Context, orgID, issuer string) (*agentidp.Provider, error) {
	return one(ctx, r, "read provider by issuer", scanProvider, providerQuery+"issuer = $2", orgID, issuer)
}

// Providers returns at most limit registered providers whose id is greater than after
// (empty: all), by id.
func (r reads) Providers(ctx context.Context, orgID, after string, limit int) ([]agentidp.Provider, error) {
	q := newQuery(providerRows, orgID)
	q.oldestFirst(after, limit)
	return list(ctx, r.unprepared(), "list providers", scanProvider, q.text, q.args...)
}

// ProviderInUse reports whether a policy names the provider. It is exact while
// LockProvider holds the provider.
func (r reads) ProviderInUse(ctx context.Context, orgID, name string) (bool, error) {
	found, err := list(ctx, r, "look for policies of a provider", scanValue[string],
		"SELECT id FROM oidc_trust_policies WHERE organization_id = $1 AND provider = $2 LIMIT 1", orgID, name)
	return len(found) > 0, err
}

func scanProvider(rows *sql.Rows, p *agentidp.Provider) error {
	var jwks string
	var maxTokenAge int64
	err := rows.Scan(&p.OrganizationID, &p.ID, &p.Name, &p.Kind, &p.Issuer, jsonColumn{&p.Audiences}, jsonColumn{&p.Algorithms},
		&p.JWKSURI, &jwks, &maxTokenAge, &p.Replay, microsTime{&p.CreatedAt}, microsTime{&p.UpdatedAt}, &p.Revision)
	if jwks != "" {
		p.JWKS = []byte(jwks)
	}
	p.MaxTokenAge = time.Duration(maxTokenAge) * time.Microsecond
	return err
}

// CreateProvider inserts p; ErrExists if its name or its issuer is taken in the
// organization.
func (t *Tx) CreateProvider(ctx context.Context, p *agentidp.Provider) error {
	return t.insert(ctx, "create provider", `
		INSERT INTO oidc_providers (organization_id, id, name, kind, issuer, audiences, algorithms, jwks_uri, jwks, max_token_age, replay,
			created_at, updated_at, revision)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`,
		p.OrganizationID, p.ID, p.Name, p.Kind, p.Issuer, listText(p.Audiences), listText(p.Algorithms),
		p.JWKSURI, string(p.JWKS), p.MaxTokenAge.Microseconds(), string(p.Replay), micros(p.CreatedAt), micros(p.UpdatedAt), p.Revision)
}

// HoldProvider keeps a provider there until the transaction ends, for whoever creates
// what names it; ErrNotFound if there is none. Exchanges go on beside it.
func (t *Tx) HoldProvider(ctx context.Context, orgID, name string) error {
	_, err := one(ctx, t.reads, "hold provider", scanValue[string],
		"SELECT id FROM oidc_providers WHERE organization_id = $1 AND name = $2"+t.holdLock, orgID, name)
	return err
}

// LockProvider returns the provider of this name and keeps it as it is until the
// transaction ends: nobody else changes it, nothing is issued on its word, and no
// policy that names it is created.
func (t *Tx) LockProvider(ctx context.Context, orgID, name string) (*agentidp.Provider, error) {
	p, err := t.Provider(ctx, orgID, name)
	if err != nil {
		return nil, err
	}
	if err := t.lock(ctx, lockProviders, orgID, p.ID); err != nil {
		return nil, err
	}
	return one(ctx, t.reads, "read provider", scanProvider, providerQuery+"id = $2", orgID, p.ID)
}

// ReplaceProvider writes what an administrator may change of p, with its new
// revision. ErrStale: the stored revision is not p.Revision−1, or the provider is
// gone. Once the transaction is committed nothing is issued on what it said before,
// by any node.
func (t *Tx) ReplaceProvider(ctx context.Context, p *agentidp.Provider) error {
	if err := t.lock(ctx, lockProviders, p.OrganizationID, p.ID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "replace provider", `
		UPDATE oidc_providers SET audiences = $3, algorithms = $4, jwks_uri = $5, jwks = $6, max_token_age = $7, replay = $8, updated_at = $9, revision = $10
		WHERE organization_id = $1 AND id = $2 AND revision = $11`,
		p.OrganizationID, p.ID, listText(p.Audiences), listText(p.Algorithms), p.JWKSURI, string(p.JWKS), p.MaxTokenAge.Microseconds(), string(p.Replay),
		micros(p.UpdatedAt), p.Revision, p.Revision-1)
}

// DeleteProvider removes p and the pins of its repositories, which are numbered by it:
// another provider that gets the name begins without them. ErrNotFound if there is
// none. Once the transaction is committed nothing is issued on its word, by any node.
func (t *Tx) DeleteProvider(ctx context.Context, p *agentidp.Provider) error {
	if err := t.lock(ctx, lockProviders, p.OrganizationID, p.ID); err != nil {
		return err
	}
	n, err := t.exec(ctx, "delete provider", "DELETE FROM oidc_providers WHERE organization_id = $1 AND id = $2", p.OrganizationID, p.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("delete provider: %w", ErrNotFound)
	}
	_, err = t.exec(ctx, "delete pins of a provider", "DELETE FROM pins WHERE organization_id = $1 AND provider = $2", p.OrganizationID, p.Name)
	return err
}
