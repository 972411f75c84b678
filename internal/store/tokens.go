package store

import (
	"context"
	"database/sql"
	"math"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

const tokenColumns = "organization_id, id, kind, subject, agent_id, policy_id, decision_id, provider, repository_id, scope, audience, issued_at, expires_at, revoked_at, credential_id, parent_id, depth, actor_id, key_thumbprint"

var insertTokens = newInserter("access_tokens", tokenColumns, "")

// tokenRow is a row of access_tokens. The organization is not taken from the
// token: the caller says in whose name it writes.
func tokenRow(orgID string, t *agentidp.AccessToken) []any {
	return []any{orgID, t.ID, string(t.Kind), t.Subject, t.AgentID, t.PolicyID, t.DecisionID, t.Provider, t.RepositoryID,
		t.Scope, t.Audience, micros(t.IssuedAt), micros(t.ExpiresAt), micros(t.RevokedAt),
		t.CredentialID, t.ParentID, int64(t.Depth), t.ActorID, t.KeyThumbprint}
}

// Token returns the record of an issued token, or ErrNotFound.
func (r reads) Token(ctx context.Context, orgID, id string) (*agentidp.AccessToken, error) {
	scan := func(rows *sql.Rows, t *agentidp.AccessToken) error { return rows.Scan(tokenFields(t)...) }
	return one(ctx, r, "read access token", scan,
		"SELECT "+tokenColumns+" FROM access_tokens WHERE organization_id = $1 AND id = $2", orgID, id)
}

// tokenFields are where tokenColumns are scanned to.
func tokenFields(t *agentidp.AccessToken) []any {
	return []any{&t.OrganizationID, &t.ID, &t.Kind, &t.Subject, &t.AgentID, &t.PolicyID, &t.DecisionID, &t.Provider, &t.RepositoryID,
		&t.Scope, &t.Audience, microsTime{&t.IssuedAt}, microsTime{&t.ExpiresAt}, microsTime{&t.RevokedAt},
		&t.CredentialID, &t.ParentID, &t.Depth, &t.ActorID, &t.KeyThumbprint}
}

// CreateToken records a token that does not come from an exchange.
func (t *Tx) CreateToken(ctx context.Context, token *agentidp.AccessToken) error {
	return insertTokens.each(t.dialect, [][]any{tokenRow(token.OrganizationID, token)}, func(text string, args []any) error {
		_, err := t.exec(ctx, "record access token", text, args...)
		return err
	})
}

// RevokeToken marks a token as revoked. false: it was revoked before, or there is
// no such token; nothing was written.
func (t *Tx) RevokeToken(ctx context.Context, orgID, id string, at time.Time) (bool, error) {
	n, err := t.exec(ctx, "revoke access token",
		"UPDATE access_tokens SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at = 0", orgID, id, micros(at))
	return n > 0, err
}

// Bounds of RevokeTokens.
const (
	revokeBatch = 1000
	// revokeSkew is how far the clock of another node may be behind: to it, a
	// token that has just expired here is good for as long.
	revokeSkew = time.Minute
)

// TokenCursor is a place among the tokens of an organization, which are in the
// order of their expiry. The zero TokenCursor is before the first.
type TokenCursor struct {
	expiresAt int64
	id        string
}

// chosenTokens are the tokens behind a cursor that a selection chooses; those of an agent
// are also those with which it acts for another. An absent instant is the end of time, so
// that every parameter keeps its type.
const chosenTokens = `organization_id = $1 AND (expires_at, id) > ($2, $3) AND revoked_at = 0
	AND ($4 = '' OR agent_id = $4 OR actor_id = $4) AND ($5 = '' OR policy_id = $5) AND ($6 = '' OR repository_id = $6) AND issued_at < $7`

// RevokeTokens marks the next of the chosen tokens as revoked, at most a thousand
// of those that have not expired, and returns how many and where to go on. next is
// the zero TokenCursor once there are no more. A token whose record is committed
// when RevokeTokens begins is not missed.
func (t *Tx) RevokeTokens(ctx context.Context, orgID string, chosen *agentidp.TokenSelection, from TokenCursor, at time.Time) (n int64, next TokenCursor, err error) {
	from.expiresAt = max(from.expiresAt, micros(at.Add(-revokeSkew)))
	before := int64(math.MaxInt64)
	if chosen.IssuedBefore != nil {
		before = micros(*chosen.IssuedBefore)
	}
	args := []any{orgID, from.expiresAt, from.id, chosen.AgentID, chosen.PolicyID, chosen.RepositoryID, before}
	scan := func(rows *sql.Rows, c *TokenCursor) error { return rows.Scan(&c.expiresAt, &c.id) }
	found, err := list(ctx, t.reads, "choose access tokens", scan,
		"SELECT expires_at, id FROM access_tokens WHERE "+chosenTokens+" ORDER BY expires_at, id LIMIT $8", append(args, revokeBatch)...)
	if err != nil || len(found) == 0 {
		return 0, TokenCursor{}, err
	}
	last := found[len(found)-1]
	n, err = t.exec(ctx, "revoke access tokens",
		"UPDATE access_tokens SET revoked_at = $8 WHERE "+chosenTokens+" AND (expires_at, id) <= ($9, $10)",
		append(args, micros(at), last.expiresAt, last.id)...)
	if err != nil || len(found) < revokeBatch {
		return n, TokenCursor{}, err
	}
	return n, last, nil
}
