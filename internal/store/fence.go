package store

import (
	"context"
	"fmt"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// Issuing takes share locks on the rows that it compares, and share locks let
// each other pass: a writer could wait for ever behind a stream of them. So a
// writer that finds its row taken first commits a fence, which makes batches
// that begin from now on leave the row alone, and then waits for those that
// already run.

// fenceTime bounds the harm of a program that ends before it removes its fence.
// No write lasts longer.
const fenceTime = txTimeout

// A lockable table is one whose rows issuing compares and administrators change.
type lockable struct {
	kind  string // in table fences
	table string
	id    string // the column that is the row's id
}

var (
	lockOrganizations = lockable{"organization", "organizations", "organization_id"}
	lockProviders     = lockable{"provider", "oidc_providers", "id"}
	lockPolicies      = lockable{"policy", "oidc_trust_policies", "id"}
	lockAgents        = lockable{"agent", "agents", "id"}
	lockCredentials   = lockable{"credential", "credentials", "id"}
)

// rowKey names a row of a lockable table.
type rowKey struct{ kind, organizationID, id string }

// lock makes this transaction the only one that may change the row, until its
// end; ErrNotFound if there is no such row. Where the writer has the whole
// database, there is nothing to do.
func (t *Tx) lock(ctx context.Context, l lockable, orgID, id string) error {
	key := rowKey{l.kind, orgID, id}
	if !t.rowLocks || t.locked[key] {
		return nil
	}
	doing := "lock " + l.kind
	query := "SELECT " + l.id + " FROM " + l.table + " WHERE organization_id = $1 AND " + l.id + " = $2"
	try := func(lock string) (bool, error) {
		found, err := list(ctx, t.reads, doing, scanValue[string], query+lock, orgID, id)
		return len(found) > 0, err
	}
	locked, err := try(t.tryLock)
	if err != nil {
		return err
	}
	if !locked {
		exists, err := try("")
		if err != nil {
			return err
		}
		if exists {
			if err := t.putFence(ctx, key); err != nil {
				return err
			}
			if locked, err = try(t.updateLock); err != nil {
				return err
			}
		}
	}
	if !locked {
		return fmt.Errorf("%s: %w", doing, ErrNotFound)
	}
	t.locked[key] = true
	return nil
}

// putFence commits a fence at once, over another connection than the
// transaction's. It uses the readers', because all writers may be in here.
func (t *Tx) putFence(ctx context.Context, key rowKey) error {
	if t.holder == "" {
		t.holder = agentidp.NewID(t.db.clock())
	}
	_, err := t.db.read.ExecContext(ctx,
		"INSERT INTO fences (organization_id, kind, row_id, holder, until) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		key.organizationID, key.kind, key.id, t.holder, micros(t.db.clock().Add(fenceTime)))
	if err != nil {
		return t.explain(ctx, "put up a fence", err)
	}
	t.fences = append(t.fences, key)
	return nil
}

// removeFences runs after the transaction's end. A fence that cannot be removed
// ends by itself.
func (t *Tx) removeFences(ctx context.Context) {
	for _, key := range t.fences {
		if err := t.removeFence(ctx, key); err != nil {
			t.db.log.WarnContext(ctx, "a fence stays until it expires", "kind", key.kind, "id", key.id, "error", err)
		}
	}
}

func (t *Tx) removeFence(ctx context.Context, key rowKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for try := 0; ; try++ { // under SERIALIZABLE it may lose against the batches that looked at it
		_, err := t.db.read.ExecContext(ctx,
			"DELETE FROM fences WHERE organization_id = $1 AND kind = $2 AND row_id = $3 AND holder = $4",
			key.organizationID, key.kind, key.id, t.holder)
		if err == nil || try == maxRetries || !t.retryable(err) || !pause(ctx, try) {
			return err
		}
	}
}
