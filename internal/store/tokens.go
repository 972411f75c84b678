package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

const tokenColumns = "organization_id, id, kind, subject, agent_id, policy_id, decision_id, provider, repository_id, scope, audience, issued_at, expires_at, revoked_at"

var insertTokens = newInserter("access_tokens", tokenColumns, "")

// tokenRow is a row of access_tokens. The organization is not taken from the
// token: the caller says in whose name it writes.
func tokenRow(orgID string, t *agentidp.AccessToken) []any {
	return []any{orgID, t.ID, string(t.Kind), t.Subject, t.AgentID, t.PolicyID, t.DecisionID, t.Provider, t.RepositoryID,
		t.Scope, t.Audience, micros(t.IssuedAt), micros(t.ExpiresAt), micros(t.RevokedAt)}
}

// Token returns the record of an issued token, or ErrNotFound.
func (r reads) Token(ctx context.Context, orgID, id string) (*agentidp.AccessToken, error) {
	scan := func(rows *sql.Rows, t *agentidp.AccessToken) error {
		return rows.Scan(&t.OrganizationID, &t.ID, &t.Kind, &t.Subject, &t.AgentID, &t.PolicyID, &t.DecisionID, &t.Provider, &t.RepositoryID,
			&t.Scope, &t.Audience, microsTime{&t.IssuedAt}, microsTime{&t.ExpiresAt}, microsTime{&t.RevokedAt})
	}
	return one(ctx, r, "read access token", scan,
		"SELECT "+tokenColumns+" FROM access_tokens WHERE organization_id = $1 AND id = $2", orgID, id)
}

// CreateToken records a token that does not come from an exchange.
func (t *Tx) CreateToken(ctx context.Context, token *agentidp.AccessToken) error {
	return insertTokens.each(t.dialect, [][]any{tokenRow(token.OrganizationID, token)}, func(text string, args []any) error {
		_, err := t.exec(ctx, "record access token", text, args...)
		return err
	})
}

// PurgeUsedTokens forgets at most limit subject tokens of each organization that
// expired before an instant, and returns how many. Until then, single use holds.
func (db *DB) PurgeUsedTokens(ctx context.Context, before time.Time, limit int) (int, error) {
	orgs, err := list(ctx, db.reads, "list organizations", scanValue[string], "SELECT organization_id FROM organizations ORDER BY organization_id")
	if err != nil {
		return 0, err
	}
	purged := 0
	for _, org := range orgs {
		result, err := db.write.ExecContext(ctx, `
			DELETE FROM used_tokens WHERE organization_id = $1 AND (provider, replay_key) IN
				(SELECT provider, replay_key FROM used_tokens WHERE organization_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`,
			org, micros(before), limit)
		if err != nil {
			return purged, db.explain(ctx, "forget used tokens", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return purged, fmt.Errorf("forget used tokens: %w", err)
		}
		purged += int(n)
	}
	return purged, nil
}
