package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// credentialRows reads whole credentials, with the instant of their last use.
const credentialRows = `
	SELECT organization_id, id, agent_id, type, description, scopes, secret_hash, jwks, expires_at, revoked_at, created_by, created_at, revision,
		coalesce((SELECT u.last_used_at FROM credential_usage u
			WHERE u.organization_id = credentials.organization_id AND u.credential_id = credentials.id), 0)
	FROM credentials`

// Credential returns one credential, ended or not, or ErrNotFound.
func (r reads) Credential(ctx context.Context, orgID, id string) (*agentidp.Credential, error) {
	return one(ctx, r, "read credential", scanCredential, credentialRows+" WHERE organization_id = $1 AND id = $2", orgID, id)
}

// CredentialVersion is a credential as it was at a moment: nothing but its end can change,
// and its revision with that.
type CredentialVersion struct {
	ID       string
	Revision int64
}

// CredentialRevision returns the revision of a credential, ended or not, or ErrNotFound.
func (r reads) CredentialRevision(ctx context.Context, orgID, id string) (int64, error) {
	revision, err := one(ctx, r, "read revision of a credential", scanValue[int64],
		"SELECT revision FROM credentials WHERE organization_id = $1 AND id = $2", orgID, id)
	if err != nil {
		return 0, err
	}
	return *revision, nil
}

// Credentials returns at most limit credentials of an agent, ended ones too, whose id
// is greater than after (empty: all), by id.
func (r reads) Credentials(ctx context.Context, orgID, agentID, after string, limit int) ([]agentidp.Credential, error) {
	q := credentialsQuery(orgID, agentID, after, limit)
	return list(ctx, r, "list credentials", scanCredential, q.text, q.args...)
}

func credentialsQuery(orgID, agentID, after string, limit int) *query {
	q := newQuery(credentialRows, orgID)
	q.oldestExactly("agent_id", agentID)
	q.oldestFirst(after, limit)
	return q
}

// KeyCredentials returns at most limit credentials of an agent that are public keys: those
// that authenticate at an instant first, then the newest.
func (r reads) KeyCredentials(ctx context.Context, orgID, agentID string, at time.Time, limit int) ([]agentidp.Credential, error) {
	return list(ctx, r, "read public keys of an agent", scanCredential, keyCredentials,
		orgID, agentID, string(agentidp.CredentialPublicKey), micros(at), limit)
}

// keyCredentials sorts what credentials_agent finds, which ForgetEnded keeps few.
const keyCredentials = credentialRows + `
	WHERE organization_id = $1 AND agent_id = $2 AND type = $3
	ORDER BY CASE WHEN revoked_at = 0 AND (expires_at = 0 OR expires_at > $4) THEN 0 ELSE 1 END, id DESC LIMIT $5`

// KeyCredentialVersions returns the versions of what KeyCredentials returns; where the
// agent has more than limit, of the newest of them all.
func (r reads) KeyCredentialVersions(ctx context.Context, orgID, agentID string, limit int) ([]CredentialVersion, error) {
	return list(ctx, r, "read versions of an agent's public keys", func(rows *sql.Rows, v *CredentialVersion) error { return rows.Scan(&v.ID, &v.Revision) },
		keyCredentialVersions, orgID, agentID, string(agentidp.CredentialPublicKey), limit)
}

const keyCredentialVersions = `
	SELECT id, revision FROM credentials WHERE organization_id = $1 AND agent_id = $2 AND type = $3
	ORDER BY id DESC LIMIT $4`

// liveCredentials are those of an agent that authenticate at an instant.
const liveCredentials = `
	WHERE organization_id = $1 AND agent_id = $2 AND revoked_at = 0 AND (expires_at = 0 OR expires_at > $3)`

// CountLiveCredentials counts the credentials of an agent that authenticate at an
// instant. It is exact while LockAgent holds the agent, for whoever creates one.
func (r reads) CountLiveCredentials(ctx context.Context, orgID, agentID string, at time.Time) (int, error) {
	n, err := one(ctx, r, "count credentials", scanValue[int], "SELECT count(*) FROM credentials"+liveCredentials, orgID, agentID, micros(at))
	if err != nil {
		return 0, err
	}
	return *n, nil
}

// LiveCredentials returns the credentials that CountLiveCredentials counts, by id.
func (r reads) LiveCredentials(ctx context.Context, orgID, agentID string, at time.Time) ([]agentidp.Credential, error) {
	return list(ctx, r, "list live credentials", scanCredential, credentialRows+liveCredentials+" ORDER BY id", orgID, agentID, micros(at))
}

func scanCredential(rows *sql.Rows, c *agentidp.Credential) error {
	var scopes, jwks string
	err := rows.Scan(&c.OrganizationID, &c.CredentialID, &c.AgentID, &c.Type, &c.Description, &scopes, &c.SecretHash, &jwks,
		optionalTime{&c.ExpiresAt}, optionalTime{&c.RevokedAt}, &c.CreatedBy, microsTime{&c.CreatedAt}, &c.Revision, optionalTime{&c.LastUsedAt})
	c.ClientID = c.AgentID
	if jwks != "" {
		c.JWKS = []byte(jwks)
	}
	if err == nil && scopes != "" {
		err = json.Unmarshal([]byte(scopes), &c.Scopes) // an empty list is not nil
	}
	return err
}

// CreateCredential inserts c; ErrExists if there is one with its id.
func (t *Tx) CreateCredential(ctx context.Context, c *agentidp.Credential) error {
	var scopes string
	if c.Scopes != nil {
		scopes = jsonText(c.Scopes)
	}
	return t.insert(ctx, "create credential", `
		INSERT INTO credentials (organization_id, id, agent_id, type, description, scopes, secret_hash, jwks, expires_at, revoked_at, created_by, created_at, revision)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
		c.OrganizationID, c.CredentialID, c.AgentID, string(c.Type), c.Description, scopes, c.SecretHash, string(c.JWKS),
		optionalMicros(c.ExpiresAt), optionalMicros(c.RevokedAt), c.CreatedBy, micros(c.CreatedAt), c.Revision)
}

// LockCredential returns the credential and keeps it as it is until the transaction
// ends: nobody else changes it, and nothing is issued to whoever presents it.
func (t *Tx) LockCredential(ctx context.Context, orgID, id string) (*agentidp.Credential, error) {
	if err := t.lock(ctx, lockCredentials, orgID, id); err != nil {
		return nil, err
	}
	return t.Credential(ctx, orgID, id)
}

// UpdateCredential writes when c ends, with its new revision; nothing else of it can
// change. ErrStale: the stored revision is not c.Revision−1, or the credential is
// gone. Once the transaction is committed, one that was revoked gets nothing more,
// from any node.
func (t *Tx) UpdateCredential(ctx context.Context, c *agentidp.Credential) error {
	if err := t.lock(ctx, lockCredentials, c.OrganizationID, c.CredentialID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "update credential",
		"UPDATE credentials SET expires_at = $3, revoked_at = $4, revision = $5 WHERE organization_id = $1 AND id = $2 AND revision = $6",
		c.OrganizationID, c.CredentialID, optionalMicros(c.ExpiresAt), optionalMicros(c.RevokedAt), c.Revision, c.Revision-1)
}

// forgetBatch bounds what one creation of a credential removes.
const forgetBatch = 100

// superfluous are the credentials of an agent that have ended at an instant, but for
// those that ended last. A clock that is ahead takes what lives for ended, as what ended
// last of all: that is kept. The condition is one that only credentials_agent can serve.
const superfluous = `
	SELECT id FROM credentials
	WHERE organization_id = $1 AND agent_id = $2 AND CASE WHEN revoked_at > 0 THEN revoked_at ELSE expires_at END BETWEEN 1 AND $3
	ORDER BY CASE WHEN revoked_at > 0 THEN revoked_at ELSE expires_at END DESC, id DESC LIMIT $4 OFFSET $5`

// ForgetEnded removes credentials of an agent that have ended at an instant, with their
// last use, until at most keep of them are left, those that ended last. It removes a
// hundred at most, so that a longer list takes more than one call.
func (t *Tx) ForgetEnded(ctx context.Context, orgID, agentID string, at time.Time, keep int) error {
	ids, err := list(ctx, t.reads, "find ended credentials", scanValue[string], superfluous, orgID, agentID, micros(at), forgetBatch, keep)
	if err != nil {
		return err
	}
	for _, id := range ids {
		for _, statement := range []string{
			"DELETE FROM credential_usage WHERE organization_id = $1 AND credential_id = $2",
			"DELETE FROM credentials WHERE organization_id = $1 AND id = $2",
		} {
			if _, err := t.exec(ctx, "forget an ended credential", statement, orgID, id); err != nil {
				return err
			}
		}
	}
	return nil
}
