package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

// Standing is the record of an access token, and what most of its worth rests on, as they
// are at one moment.
type Standing struct {
	agentidp.AccessToken
	AgentStatus agentidp.AgentStatus // of its agent; empty: it has none
	// OrganizationRevision is that of its organization; 0: that is closed.
	OrganizationRevision int64
}

// Standing reads a token by its id in one query, or returns ErrNotFound.
func (r reads) Standing(ctx context.Context, orgID, id string) (*Standing, error) {
	scan := func(rows *sql.Rows, s *Standing) error {
		return rows.Scan(append(tokenFields(&s.AccessToken), &s.AgentStatus, &s.OrganizationRevision)...)
	}
	return one(ctx, r, "read access token", scan, "SELECT "+tokenColumns+`,
		coalesce((SELECT a.status FROM agents a WHERE a.organization_id = access_tokens.organization_id AND a.id = access_tokens.agent_id), ''),
		coalesce((SELECT o.revision FROM organizations o WHERE o.organization_id = access_tokens.organization_id AND o.status = 'active'), 0)
		FROM access_tokens WHERE organization_id = $1 AND id = $2`, orgID, id)
}

// OrganizationRevision returns the revision of an active organization, or ErrNotFound.
func (r reads) OrganizationRevision(ctx context.Context, orgID string) (int64, error) {
	revision, err := one(ctx, r, "read organization", scanValue[int64],
		"SELECT revision FROM organizations WHERE organization_id = $1 AND status = 'active'", orgID)
	if err != nil {
		return 0, err
	}
	return *revision, nil
}

// ClientStands returns nil where an organization, an agent and its credential are still
// as seen, and active: what the commit of a grant compares, for whoever has nothing to
// commit. ErrStale: one of them is not.
func (r reads) ClientStands(ctx context.Context, org *agentidp.Organization, c *agentidp.Client) error {
	found, err := list(ctx, r, "compare a client", scanValue[int64], `
		SELECT c.revision FROM credentials c
		JOIN agents a ON a.organization_id = c.organization_id AND a.id = c.agent_id
		JOIN organizations o ON o.organization_id = c.organization_id
		WHERE c.organization_id = $1 AND c.id = $2 AND c.revision = $3 AND c.revoked_at = 0
			AND a.id = $4 AND a.revision = $5 AND a.status = 'active' AND o.revision = $6 AND o.status = 'active'`,
		org.ID, c.Credential.CredentialID, c.Credential.Revision, c.Agent.AgentID, c.Agent.Revision, org.Revision)
	if err == nil && len(found) == 0 {
		err = ErrStale
	}
	return err
}
