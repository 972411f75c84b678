package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

// Organization returns the organization with this slug, without its Issuer,
// which only the caller can know.
func (r reads) Organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	return one(ctx, r, "read organization", scanOrganization,
		"SELECT organization_id, slug, name, status, revision, created_at FROM organizations WHERE slug = $1", slug)
}

func scanOrganization(rows *sql.Rows, o *agentidp.Organization) error {
	return rows.Scan(&o.ID, &o.Slug, &o.Name, &o.Status, &o.Revision, microsTime{&o.CreatedAt})
}

// CreateOrganization inserts o; ErrExists if its slug is taken.
func (t *Tx) CreateOrganization(ctx context.Context, o *agentidp.Organization) error {
	return t.insert(ctx, "create organization",
		"INSERT INTO organizations (organization_id, slug, name, status, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		o.ID, o.Slug, o.Name, string(o.Status), o.Revision, micros(o.CreatedAt))
}
