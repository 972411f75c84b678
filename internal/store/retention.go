package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// Removed is how many rows of each table were removed. Claims are those that went before
// their decision.
type Removed struct {
	UsedTokens, AccessTokens, Decisions, Claims, Events, Credentials int64
}

// Total is how many in all.
func (r *Removed) Total() int64 {
	return r.UsedTokens + r.AccessTokens + r.Decisions + r.Claims + r.Events + r.Credentials
}

// Add counts others to these.
func (r *Removed) Add(o Removed) {
	r.UsedTokens += o.UsedTokens
	r.AccessTokens += o.AccessTokens
	r.Decisions += o.Decisions
	r.Claims += o.Claims
	r.Events += o.Events
	r.Credentials += o.Credentials
}

// Retention says until when what is gone is no longer kept. A zero instant keeps.
type Retention struct {
	UsedTokens   time.Time // subject tokens, assertions and proofs that would be refused for their age before it
	AccessTokens time.Time // records of access tokens that expired before it
	Claims       time.Time // of subject tokens, recorded before it; with their decision they go in any case
	Refusals     time.Time // decisions that granted nothing, made before it
	// Grants are decisions of any outcome made before it. It must not be later than
	// Events: the event of a grant is found through its decision.
	Grants      time.Time
	Events      time.Time // recorded before it
	Credentials time.Time // that ended before it
}

// RemoveDue removes the next rows of an organization that are due, at most limit in a
// transaction, and says how many and whether there may be more. It touches no row on
// which anything is granted. An event goes before the decision through which it is found.
func (db *DB) RemoveDue(ctx context.Context, orgID string, keep *Retention, limit int) (r Removed, more bool, err error) {
	for _, step := range []struct {
		n      *int64
		before time.Time
		remove func(*Tx) (int64, error)
	}{
		{&r.UsedTokens, keep.UsedTokens, func(t *Tx) (int64, error) {
			return t.exec(ctx, "forget used tokens", `
				DELETE FROM used_tokens WHERE organization_id = $1 AND (provider, replay_key) IN
					(SELECT provider, replay_key FROM used_tokens WHERE organization_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`,
				orgID, micros(keep.UsedTokens), limit)
		}},
		{&r.AccessTokens, keep.AccessTokens, func(t *Tx) (int64, error) {
			return t.removeTokens(ctx, orgID, keep.AccessTokens, limit)
		}},
		{&r.Credentials, keep.Credentials, func(t *Tx) (int64, error) {
			return t.removeEnded(ctx, orgID, keep.Credentials, limit)
		}},
		{&r.Events, keep.Events, func(t *Tx) (int64, error) {
			return t.removeOldest(ctx, "events", "", orgID, keep.Events, limit)
		}},
		{&r.Claims, keep.Claims, func(t *Tx) (int64, error) {
			return t.removeOldest(ctx, "recorded_claims", "", orgID, keep.Claims, limit)
		}},
		{&r.Decisions, keep.Refusals, func(t *Tx) (int64, error) {
			return t.removeOldest(ctx, "decisions", " AND outcome = 'denied'", orgID, keep.Refusals, limit)
		}},
		{&r.Decisions, keep.Grants, func(t *Tx) (int64, error) {
			return t.removeOldest(ctx, "decisions", "", orgID, keep.Grants, limit)
		}},
	} {
		if step.before.IsZero() {
			continue
		}
		var n int64
		err := db.Write(ctx, func(tx *Tx) (err error) {
			n, err = step.remove(tx)
			return err
		})
		if err != nil {
			return r, false, err
		}
		*step.n += n
		more = more || n >= int64(limit)
	}
	return r, more, nil
}

// removeTokens removes records of access tokens: a range of one index, as in RevokeTokens.
func (t *Tx) removeTokens(ctx context.Context, orgID string, before time.Time, limit int) (int64, error) {
	const doing = "remove records of access tokens"
	scan := func(rows *sql.Rows, c *TokenCursor) error { return rows.Scan(&c.expiresAt, &c.id) }
	due, err := list(ctx, t.reads, doing, scan,
		"SELECT expires_at, id FROM access_tokens WHERE organization_id = $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3", orgID, micros(before), limit)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	last := due[len(due)-1]
	return t.exec(ctx, doing, "DELETE FROM access_tokens WHERE organization_id = $1 AND (expires_at, id) <= ($2, $3)", orgID, last.expiresAt, last.id)
}

// The credentials that were revoked, and that expired, before an instant, which has
// passed: no more can come to be so.
const (
	revokedCredentials = "SELECT id FROM credentials WHERE organization_id = $1 AND revoked_at > 0 AND revoked_at < $2 ORDER BY revoked_at, id LIMIT $3"
	expiredCredentials = "SELECT id FROM credentials WHERE organization_id = $1 AND expires_at > 0 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3"
)

// removeEnded removes credentials, and when each was last used.
func (t *Tx) removeEnded(ctx context.Context, orgID string, before time.Time, limit int) (n int64, err error) {
	for _, ended := range []string{revokedCredentials, expiredCredentials} {
		_, err := t.exec(ctx, "remove the usage of ended credentials",
			"DELETE FROM credential_usage WHERE organization_id = $1 AND credential_id IN ("+ended+")", orgID, micros(before), limit)
		if err != nil {
			return 0, err
		}
		removed, err := t.exec(ctx, "remove ended credentials",
			"DELETE FROM credentials WHERE organization_id = $1 AND id IN ("+ended+")", orgID, micros(before), limit)
		if err != nil {
			return 0, err
		}
		n += removed
	}
	return n, nil
}

// removeOldest removes rows whose id, which begins with the time of its making, is
// from before an instant. which narrows them, as a partial index says it.
func (t *Tx) removeOldest(ctx context.Context, table, which, orgID string, before time.Time, limit int) (int64, error) {
	doing := "remove old " + table
	oldest, last := oldestQuery(table, which)
	ids, err := list(ctx, t.reads, doing, scanValue[string], oldest, orgID, agentidp.FirstID(before), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	if table == "decisions" {
		if _, err := t.exec(ctx, "remove the claims of old decisions", claimsOfQuery(which), orgID, ids[len(ids)-1]); err != nil {
			return 0, err
		}
	}
	return t.exec(ctx, doing, last, orgID, ids[len(ids)-1])
}

// oldestQuery returns the texts that choose the oldest ids, and that delete up to one
// of them. The bound makes both a range of one index, on either engine.
func oldestQuery(table, which string) (choose, remove string) {
	id := "id"
	if table == "recorded_claims" {
		id = "decision_id"
	}
	return fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE organization_id = $1 AND %[1]s < $2%[3]s ORDER BY %[1]s LIMIT $3", id, table, which),
		fmt.Sprintf("DELETE FROM %[2]s WHERE organization_id = $1 AND %[1]s <= $2%[3]s", id, table, which)
}

// claimsOfQuery is the text that deletes what is still kept with the decisions that
// oldestQuery deletes. The bound is said twice, so that either table is read in its range.
func claimsOfQuery(which string) string {
	return "DELETE FROM recorded_claims WHERE organization_id = $1 AND decision_id <= $2 AND decision_id IN (SELECT id FROM decisions WHERE organization_id = $1 AND id <= $2" + which + ")"
}
