package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// usageInterval is how old the counters of policies and credentials may be.
const usageInterval = time.Minute

// usage counts in memory the grants of each policy, those that it would have made in
// shadow mode, and when each credential was last
// used. The committer writes it; what is to be counted may come from anywhere.
type usage struct {
	mu     sync.Mutex
	counts map[usageKey]usageCount
}

// usageKey names what is counted: a row of one of usageTables.
type usageKey struct {
	table int
	row   rowID
}

func (k usageKey) compare(other usageKey) int {
	return cmp.Or(cmp.Compare(k.table, other.table), k.row.compare(other.row))
}

type usageCount struct {
	times int64
	last  time.Time
}

const (
	policyUsage = iota
	credentialUsage
)

// usageTables say how the counters are added to what is there. Whoever is counted may
// be gone: then nothing is written.
var usageTables = [...]struct {
	what, upsert string
	counted      bool // the statement takes how often, too
}{
	policyUsage: {what: "policy", counted: true, upsert: `
		INSERT INTO policy_usage (organization_id, policy_id, last_matched_at, match_count)
		SELECT organization_id, id, CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM oidc_trust_policies WHERE organization_id = $1 AND id = $2
		ON CONFLICT (organization_id, policy_id) DO UPDATE SET
			match_count = policy_usage.match_count + excluded.match_count,
			last_matched_at = CASE WHEN excluded.last_matched_at > policy_usage.last_matched_at
				THEN excluded.last_matched_at ELSE policy_usage.last_matched_at END`},
	credentialUsage: {what: "credential", upsert: `
		INSERT INTO credential_usage (organization_id, credential_id, last_used_at)
		SELECT organization_id, id, CAST($3 AS BIGINT) FROM credentials WHERE organization_id = $1 AND id = $2
		ON CONFLICT (organization_id, credential_id) DO UPDATE SET
			last_used_at = CASE WHEN excluded.last_used_at > credential_usage.last_used_at
				THEN excluded.last_used_at ELSE credential_usage.last_used_at END`},
}

func newUsage() *usage { return &usage{counts: make(map[usageKey]usageCount)} }

// CredentialUsed notes that a credential authenticated somebody to whom nothing was
// issued; Issue notes it of the credential of its grant. It is written within a minute
// and lost with the process: it is for people.
func (db *DB) CredentialUsed(orgID, id string, at time.Time) {
	u := db.committer.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.add(usageKey{credentialUsage, rowID{orgID, id}}, usageCount{1, at})
}

// count notes a member that was written: what was issued, and what policies in shadow mode
// would have granted, also where the exchange was refused.
func (u *usage) count(m *member) {
	if m.tokenRow == nil && len(m.shadows) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, policy := range m.shadows {
		u.add(usageKey{policyUsage, policy}, usageCount{1, m.matchedAt})
	}
	if m.tokenRow == nil {
		return
	}
	if seen := &m.seen[seenPolicy]; seen.id != "" {
		u.add(usageKey{policyUsage, rowID{seen.orgID, seen.id}}, usageCount{1, m.matchedAt})
	}
	if seen := &m.seen[seenCredential]; seen.id != "" {
		u.add(usageKey{credentialUsage, rowID{seen.orgID, seen.id}}, usageCount{1, m.matchedAt})
	}
}

// shadowed returns the policies in shadow mode that would have granted.
func shadowed(orgID string, d *agentidp.Decision) []rowID {
	var rows []rowID
	for i := range d.Shadow {
		if d.Shadow[i].Allowed {
			rows = append(rows, rowID{orgID, d.Shadow[i].PolicyID})
		}
	}
	return rows
}

func (u *usage) add(key usageKey, more usageCount) {
	n := u.counts[key]
	n.times += more.times
	if more.last.After(n.last) {
		n.last = more.last
	}
	u.counts[key] = n
}

// take returns what was counted since the last time.
func (u *usage) take() map[usageKey]usageCount {
	u.mu.Lock()
	defer u.mu.Unlock()
	counts := u.counts
	if len(counts) > 0 {
		u.counts = make(map[usageKey]usageCount)
	}
	return counts
}

// putBack adds what could not be written to what was counted since.
func (u *usage) putBack(counts map[usageKey]usageCount) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, n := range counts {
		u.add(key, n)
	}
}

// flushUsage adds the counters to the database. What cannot be written now is
// kept for the next time: these are for people, and nothing is decided by them.
func (c *committer) flushUsage() {
	counts := c.usage.take()
	if len(counts) == 0 || c.db.broken.err() != nil {
		return
	}
	ctx, cancel := c.batchContext()
	defer cancel()
	if err := c.db.broken.look(c.db.dialect, c.writeUsage(ctx, counts)); err != nil {
		c.db.log.WarnContext(ctx, "the counters of policies and credentials are written later", "error", err)
		c.usage.putBack(counts)
	}
}

// writeUsage sorts the rows, so that two nodes cannot deadlock.
func (c *committer) writeUsage(ctx context.Context, counts map[usageKey]usageCount) (err error) {
	tx, err := c.db.begin(ctx, c.db.commit)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.end()
	for _, key := range slices.SortedFunc(maps.Keys(counts), usageKey.compare) {
		t, n := &usageTables[key.table], counts[key]
		args := []any{key.row.orgID, key.row.id, micros(n.last)}
		if t.counted {
			args = append(args, n.times)
		}
		tx.enqueue(t.upsert, args, nil)
	}
	return tx.commit()
}
