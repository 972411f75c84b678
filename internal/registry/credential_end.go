package registry

import (
	"context"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// RevokeCredential ends a credential at once, for good. Tokens that were got with it
// live to their end. A second time changes nothing. Errors: NotFound, Unavailable.
func (r *Registry) RevokeCredential(ctx context.Context, org *agentidp.Organization, c *Caller, agentID, id string) error {
	return r.onCredential(ctx, agentID, id, func(tx *store.Tx) error {
		old, err := lockCredential(ctx, tx, org, agentID, id)
		if err != nil || old.RevokedAt != nil {
			return err
		}
		if err := r.endCredential(ctx, tx, old, r.Clock(), 0); err != nil {
			return err
		}
		return tx.Append(ctx, r.credentialEvent(c, agentidp.EventCredentialRevoked, old))
	})
}

// endCredential ends a credential after the time of grace, or earlier if it would have
// ended earlier. Without grace it is revoked, which no clock that is behind undoes.
func (r *Registry) endCredential(ctx context.Context, tx *store.Tx, old *agentidp.Credential, now time.Time, grace time.Duration) error {
	switch end := now.Add(grace); {
	case grace == 0:
		old.RevokedAt = &now
	case old.ExpiresAt == nil || end.Before(*old.ExpiresAt):
		old.ExpiresAt = &end
	default:
		return nil
	}
	old.Revision++
	return tx.UpdateCredential(ctx, old)
}

// endCredentials ends what an agent authenticates with, once LockAgent has the agent:
// a list that called it live would be wrong.
func (r *Registry) endCredentials(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller, agentID string) error {
	now := r.Clock()
	live, err := tx.LiveCredentials(ctx, org.ID, agentID, now)
	if err != nil {
		return err
	}
	for _, seen := range live {
		old, err := tx.LockCredential(ctx, org.ID, seen.CredentialID)
		if err != nil {
			return err
		}
		if old.RevokedAt != nil {
			continue // meanwhile
		}
		if err := r.endCredential(ctx, tx, old, now, 0); err != nil {
			return err
		}
		if err := tx.Append(ctx, r.credentialEvent(c, agentidp.EventCredentialRevoked, old)); err != nil {
			return err
		}
	}
	return nil
}
