package registry

import (
	"context"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// Repin forgets the identity to which the repository of a trust policy is pinned,
// for all policies of that repository name; the next exchange that one of them
// grants pins anew, to whichever repository it comes from. Once it has returned, no
// exchange rests on the old pin. Where nothing is pinned it changes nothing.
// revision 0 skips the comparison. Errors: NotFound, Invalid (there is no repository),
// Stale, Denied (insufficient_scope), Unavailable.
func (r *Registry) Repin(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64) (*agentidp.TrustPolicy, error) {
	if !agentidp.IsID(id) {
		return nil, notFound("trust policy")
	}
	var p *agentidp.TrustPolicy
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		// 1. Hold all that the pin is shared by.
		named, err := tx.Policy(ctx, org.ID, id) // its provider and repository never change
		if err != nil {
			return err
		}
		if named.Repository == "" { // nor is there anything to hold: "" is no repository that policies share
			return agentidp.NewError(agentidp.Invalid, agentidp.CodeInvalidRequest,
				"This trust policy names no repository, so nothing is pinned for it. Whom it is for, its claims say; replace the policy to change them.")
		}
		policies, err := tx.LockRepository(ctx, org.ID, named.Provider, named.Repository)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(policies, func(p agentidp.TrustPolicy) bool { return p.ID == id })
		if i < 0 {
			return store.ErrNotFound // deleted a moment ago
		}
		if p = &policies[i]; revision != 0 && p.Revision != revision {
			return store.ErrStale
		}
		// 2. Whoever comes next acts under every one of them.
		if err := mayRepin(ctx, tx, org, c, policies); err != nil || p.Pinned == nil {
			return err
		}
		// 3. Forget, and say what was forgotten.
		if err := tx.Unpin(ctx, org.ID, p.Provider, p.Repository); err != nil {
			return err
		}
		e := r.event(c, agentidp.EventRepositoryRepinned, map[string]string{
			"provider": p.Provider, "repository": p.Repository,
			"repository_id": p.Pinned.RepositoryID, "repository_owner_id": p.Pinned.RepositoryOwnerID,
		})
		e.PolicyID, e.AgentID, p.Pinned = p.ID, p.AgentID, nil
		return tx.Append(ctx, e)
	})
	if err != nil {
		return nil, public(err, "trust policy")
	}
	return p, r.warn(ctx, org, p)
}

// mayRepin checks that a caller may let another repository have what each of these
// policies grants, or will once it is enabled.
func mayRepin(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller, policies []agentidp.TrustPolicy) error {
	if c.Has(agentidp.ScopeAdmin) {
		return nil
	}
	for i := range policies {
		p := &policies[i]
		var agent *agentidp.Agent
		if !p.Bootstrap() {
			var err error
			if agent, err = tx.Agent(ctx, org.ID, p.AgentID); err != nil {
				return err
			}
		}
		if err := mayTrust(org, c, p, agent); err != nil {
			e := agentidp.AsError(err)
			return insufficient(e.Scope, "To repin lets another repository have what every policy of "+p.Repository+
				" grants, so it takes a caller who may create each of them. The policy "+p.ID+": "+e.Message)
		}
	}
	return nil
}
