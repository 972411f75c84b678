package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

const organizationQuery = "SELECT organization_id, slug, name, status, revision, created_at FROM organizations"

// Organization returns the organization with this slug, closed or not, without its
// Issuer, which only the caller can know.
func (r reads) Organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	return one(ctx, r, "read organization", scanOrganization, organizationQuery+" WHERE slug = $1", slug)
}

// Organizations returns all organizations, the oldest first, without their Issuer.
// They belong to the installation, so this query names none.
func (r reads) Organizations(ctx context.Context) ([]agentidp.Organization, error) {
	return list(ctx, r, "list organizations", scanOrganization, organizationQuery+" ORDER BY created_at, organization_id")
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

// LockOrganization returns the organization with this id and keeps it as it is
// until the transaction ends: nobody else changes it or its keys, and nothing is
// issued in it.
func (t *Tx) LockOrganization(ctx context.Context, orgID string) (*agentidp.Organization, error) {
	if err := t.lock(ctx, lockOrganizations, orgID, orgID); err != nil {
		return nil, err
	}
	return one(ctx, t.reads, "read organization", scanOrganization, organizationQuery+" WHERE organization_id = $1", orgID)
}

// UpdateOrganization writes the status of o, with its new revision. ErrStale: the
// stored revision is not o.Revision−1, or the organization is gone. Once the
// transaction is committed, nothing is issued by whoever saw an earlier revision,
// on any node.
func (t *Tx) UpdateOrganization(ctx context.Context, o *agentidp.Organization) error {
	if err := t.lock(ctx, lockOrganizations, o.ID, o.ID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "update organization",
		"UPDATE organizations SET status = $2, revision = $3 WHERE organization_id = $1 AND revision = $4",
		o.ID, string(o.Status), o.Revision, o.Revision-1)
}
