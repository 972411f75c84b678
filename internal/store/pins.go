package store

import (
	"context"
	"database/sql"
	"errors"
	"math"

	agentidp "github.com/sentryagent/agentidp"
)

// Pin returns the pin of a repository, or ErrNotFound.
func (r reads) Pin(ctx context.Context, orgID, provider, repository string) (*agentidp.Pin, error) {
	scan := func(rows *sql.Rows, p *agentidp.Pin) error {
		return rows.Scan(&p.RepositoryID, &p.RepositoryOwnerID, microsTime{&p.PinnedAt})
	}
	return one(ctx, r, "read pin", scan, `
		SELECT repository_id, repository_owner_id, pinned_at FROM pins
		WHERE organization_id = $1 AND provider = $2 AND repository_folded = $3`,
		orgID, provider, agentidp.FoldRepository(repository))
}

// LockRepository locks every policy that names a repository and returns them, by
// id, with their pin as it then is; there may be none. Whoever issues by way of the
// pin shares one of these rows first: what was under way is over, and until the
// transaction ends nobody else uses or creates the pin. A policy that is created
// meanwhile does not count.
func (t *Tx) LockRepository(ctx context.Context, orgID, provider, repository string) ([]agentidp.TrustPolicy, error) {
	filter := &agentidp.PolicyFilter{Provider: provider, Repository: repository}
	for {
		policies, err := t.Policies(ctx, orgID, filter, "", math.MaxInt32)
		if err != nil {
			return nil, err
		}
		before, gone := len(t.locked), false
		for i := range policies {
			if i == 1 { // of two who do this, the first policy lets one through
				if err := t.lockFree(ctx, orgID, provider, repository); err != nil {
					return nil, err
				}
			}
			switch err := t.lock(ctx, lockPolicies, orgID, policies[i].ID); {
			case errors.Is(err, ErrNotFound):
				gone = true
			case err != nil:
				return nil, err
			}
		}
		if !gone && len(t.locked) == before {
			return policies, nil // read after all of them were locked
		}
	}
}

// lockFree locks those policies of a repository that nobody holds: nearly all of
// them, in one statement.
func (t *Tx) lockFree(ctx context.Context, orgID, provider, repository string) error {
	if !t.rowLocks {
		return nil
	}
	ids, err := list(ctx, t.reads, "lock policies", scanValue[string],
		"SELECT id FROM oidc_trust_policies WHERE organization_id = $1 AND provider = $2 AND repository_folded = $3"+t.tryLock,
		orgID, provider, agentidp.FoldRepository(repository))
	for _, id := range ids {
		t.locked[rowKey{lockPolicies.kind, orgID, id}] = true
	}
	return err
}

// Unpin forgets the identity of a repository, if it has one; the next grant pins
// it anew. Lock the repository first, or this may wait for as long as there are
// grants.
func (t *Tx) Unpin(ctx context.Context, orgID, provider, repository string) error {
	_, err := t.exec(ctx, "unpin repository", "DELETE FROM pins WHERE organization_id = $1 AND provider = $2 AND repository_folded = $3",
		orgID, provider, agentidp.FoldRepository(repository))
	return err
}
