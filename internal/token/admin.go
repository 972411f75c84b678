package token

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
)

// Bounds of an admin token's life.
const (
	DefaultAdminTTL = time.Hour
	MaxAdminTTL     = keys.LongestLife
)

// IssueAdmin issues an admin access token for an organization: it mints the
// token, records it with its event in one transaction, and returns it only then.
// The caller's authority is direct access to the database and the master key.
//
// scope is space-separated management scopes; empty means admin. ttl 0 means
// DefaultAdminTTL; more than MaxAdminTTL is refused.
func (t *Tokens) IssueAdmin(ctx context.Context, org *agentidp.Organization, scope string, ttl time.Duration) (string, *agentidp.AccessToken, error) {
	if scope == "" {
		scope = agentidp.ScopeAdmin
	}
	if err := checkAdminScope(scope); err != nil {
		return "", nil, err
	}
	if ttl == 0 {
		ttl = DefaultAdminTTL
	}
	if ttl < time.Second || ttl > MaxAdminTTL {
		return "", nil, agentidp.InvalidFields(agentidp.FieldError{Field: "ttl", Reason: fmt.Sprintf("is %s; give between 1s and %gh (%g days)", ttl, MaxAdminTTL.Hours(), MaxAdminTTL.Hours()/24)})
	}
	now := t.clock()
	rec := &agentidp.AccessToken{
		ID: agentidp.NewID(now), OrganizationID: org.ID, Kind: agentidp.PrincipalAdmin,
		Subject: "admin:" + agentidp.NewID(now), Scope: scope, Audience: org.ManagementAudience(),
		IssuedAt: now.Truncate(time.Second), ExpiresAt: now.Add(ttl).Truncate(time.Second),
	}
	signed, err := t.Mint(ctx, org, rec, "", nil)
	if err != nil {
		return "", nil, err
	}
	err = t.db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.CreateToken(ctx, rec); err != nil {
			return err
		}
		return tx.Append(ctx, agentidp.Event{
			ID: agentidp.NewID(now), OrganizationID: org.ID, At: now, Type: agentidp.EventAdminTokenIssued,
			Actor: agentidp.ActorOperator, TokenID: rec.ID, Data: map[string]string{"subject": rec.Subject, "scope": scope, "expires_at": rec.ExpiresAt.UTC().Format(time.RFC3339)},
		})
	})
	if err != nil {
		return "", nil, fmt.Errorf("record admin token: %w", err)
	}
	return signed, rec, nil
}

// An admin token may hold capabilities of agents too, so that whoever may only
// manage policies of one capability need not hold admin.
func checkAdminScope(scope string) error {
	scopes, ok := agentidp.ParseScope(scope)
	if ok {
		ok = !slices.ContainsFunc(scopes, func(s string) bool { return !agentidp.IsCapability(s) })
	}
	if !ok {
		return agentidp.InvalidFields(agentidp.FieldError{
			Field:  "scope",
			Reason: "must be management scopes (" + strings.Join(agentidp.ManagementScopes, ", ") + ") or capabilities (resource:action), separated by single spaces",
		})
	}
	return nil
}
