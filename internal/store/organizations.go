package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

const organizationQuery = "SELECT organization_id, slug, name, status, revision, created_at, restored_at, needs_schema FROM organizations"

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
	var needs int64
	err := rows.Scan(&o.ID, &o.Slug, &o.Name, &o.Status, &o.Revision, microsTime{&o.CreatedAt}, microsTime{&o.RestoredAt}, &needs)
	if err == nil && needs > LatestSchema() {
		err = misread(o.Slug, needs)
	}
	return err
}

// CreateOrganization inserts o; ErrExists if its slug is taken. It is as restored as
// those that are there: one of its slug may have been there before the database was
// put back, and what was exchanged in its name is not remembered either.
func (t *Tx) CreateOrganization(ctx context.Context, o *agentidp.Organization) error {
	return t.insert(ctx, "create organization", `
		INSERT INTO organizations (organization_id, slug, name, status, revision, created_at, restored_at)
		VALUES ($1, $2, $3, $4, $5, $6, (SELECT coalesce(max(restored_at), 0) FROM organizations)) ON CONFLICT DO NOTHING`,
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

// UpdateOrganization writes what may change of o, with its new revision. ErrStale: the
// stored revision is not o.Revision−1, or the organization is gone. Once the
// transaction is committed, nothing is issued by whoever saw an earlier revision,
// on any node.
func (t *Tx) UpdateOrganization(ctx context.Context, o *agentidp.Organization) error {
	if err := t.lock(ctx, lockOrganizations, o.ID, o.ID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "update organization",
		"UPDATE organizations SET status = $2, restored_at = $3, revision = $4 WHERE organization_id = $1 AND revision = $5",
		o.ID, string(o.Status), micros(o.RestoredAt), o.Revision, o.Revision-1)
}
