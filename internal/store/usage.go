package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// usageInterval is how old the counters of a policy may be.
const usageInterval = time.Minute

// usage counts the grants of each policy in memory. Only the committer's
// goroutine touches it, so it needs no lock.
type usage struct {
	counts map[rowID]usageCount // by policy
	timer  *time.Timer          // nil while there is nothing to write
}

type usageCount struct {
	matches int64
	last    time.Time
}

func newUsage() *usage { return &usage{counts: make(map[rowID]usageCount)} }

// count notes a member that was issued.
func (u *usage) count(m *member) {
	if m.tokenRow == nil || m.seen[seenPolicy].id == "" {
		return
	}
	key := rowID{m.seen[seenPolicy].orgID, m.seen[seenPolicy].id}
	n := u.counts[key]
	n.matches++
	if m.matchedAt.After(n.last) {
		n.last = m.matchedAt
	}
	u.counts[key] = n
	if u.timer == nil {
		u.timer = time.NewTimer(usageInterval)
	}
}

// due fires when there is something to write and its time has come.
func (u *usage) due() <-chan time.Time {
	if u.timer == nil {
		return nil
	}
	return u.timer.C
}

// flushUsage adds the counters to the database. What cannot be written now is
// kept for the next time: these are for people, and nothing is decided by them.
func (c *committer) flushUsage() {
	c.usage.timer = nil
	if len(c.usage.counts) == 0 {
		return
	}
	ctx, cancel := c.batchContext()
	defer cancel()
	if err := c.writeUsage(ctx); err != nil {
		c.db.log.WarnContext(ctx, "the counters of the policies are written later", "error", err)
		c.usage.timer = time.NewTimer(usageInterval)
		return
	}
	clear(c.usage.counts)
}

// writeUsage sorts the rows, so that two nodes cannot deadlock, and leaves out
// policies that are gone.
func (c *committer) writeUsage(ctx context.Context) (err error) {
	const upsert = `
		INSERT INTO policy_usage (organization_id, policy_id, last_matched_at, match_count)
		SELECT organization_id, id, CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM oidc_trust_policies WHERE organization_id = $1 AND id = $2
		ON CONFLICT (organization_id, policy_id) DO UPDATE SET
			match_count = policy_usage.match_count + excluded.match_count,
			last_matched_at = CASE WHEN excluded.last_matched_at > policy_usage.last_matched_at
				THEN excluded.last_matched_at ELSE policy_usage.last_matched_at END`
	keys := slices.SortedFunc(maps.Keys(c.usage.counts), rowID.compare)
	s, err := c.db.commit.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer s.finish()
	defer func() { _ = s.tx.Rollback() }() // after a commit it does nothing
	for _, key := range keys {
		n := c.usage.counts[key]
		if err := s.exec(upsert, []any{key.orgID, key.id, micros(n.last), n.matches}); err != nil {
			return fmt.Errorf("count the matches of policy %s: %w", key.id, err)
		}
	}
	return s.tx.Commit()
}
