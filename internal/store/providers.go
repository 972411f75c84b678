package store

import (
	"context"
	"database/sql"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// Providers returns the registered providers of an organization, by id.
func (r reads) Providers(ctx context.Context, orgID string) ([]agentidp.Provider, error) {
	return list(ctx, r, "list providers", scanProvider, `
		SELECT organization_id, id, name, kind, issuer, audiences, algorithms, jwks_uri, jwks, max_token_age, replay, revision, created_at
		FROM oidc_providers WHERE organization_id = $1 ORDER BY id`, orgID)
}

func scanProvider(rows *sql.Rows, p *agentidp.Provider) error {
	var jwks string
	var maxTokenAge int64
	err := rows.Scan(&p.OrganizationID, &p.ID, &p.Name, &p.Kind, &p.Issuer, jsonColumn{&p.Audiences}, jsonColumn{&p.Algorithms},
		&p.JWKSURI, &jwks, &maxTokenAge, &p.Replay, &p.Revision, microsTime{&p.CreatedAt})
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
		INSERT INTO oidc_providers (organization_id, id, name, kind, issuer, audiences, algorithms, jwks_uri, jwks, max_token_age, replay, revision, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
		p.OrganizationID, p.ID, p.Name, p.Kind, p.Issuer, listText(p.Audiences), listText(p.Algorithms),
		p.JWKSURI, string(p.JWKS), p.MaxTokenAge.Microseconds(), string(p.Replay), p.Revision, micros(p.CreatedAt))
}
