package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// Two nodes commit batches of the same keys in opposite order, and somebody holds the one
// in the middle until both wait: in the order of their members each would then have what
// the other one needs.
func TestCrossedBatchesNeverWaitForEachOther(t *testing.T) {
	const members = 9
	tests := map[string]struct {
		sameTokens bool   // else both pin the same repositories
		hold       string // the key in the middle, of an organization
		won        func(errs [2]error) bool
	}{
		"used tokens": {
			true,
			"INSERT INTO used_tokens (organization_id, provider, replay_key, decision_id, expires_at) VALUES ($1, 'github', 'token 4', 'd', 0)",
			func(errs [2]error) bool {
				return (errs[0] == nil) != (errs[1] == nil) && errors.Is(errors.Join(errs[:]...), store.ErrReplayed)
			},
		},
		"pins": {
			false,
			"INSERT INTO pins (organization_id, provider, repository_folded, repository, repository_id, repository_owner_id, pinned_at) VALUES ($1, 'github', 'acme/4', 'acme/4', '74', '65', 0)",
			func(errs [2]error) bool { return errs == [2]error{} },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, pgtest.Start(t))
			nodes := [2]*fixture{f, changed(f, func(other *fixture) { other.DB = open(t, f.url) })}
			var grants [2][]*store.Grant
			for i := range members {
				policy := newPolicy(f.org.ID, fmt.Sprintf("acme/%d", i), f.agent.AgentID)
				f.createPolicy(t, policy)
				for n := range nodes {
					g := f.grant()
					if g.Policy = policy; tt.sameTokens {
						g.ReplayKey = fmt.Sprintf("token %d", i)
					}
					grants[n] = append(grants[n], g)
				}
			}
			slices.Reverse(grants[1])
			release := hold(t, f, tt.hold)
			deadlocks := [2]int64{}
			var errs [2][]error
			var wg sync.WaitGroup
			for n, node := range nodes {
				found := store.Deadlocks(node.DB)
				wg.Go(func() {
					errs[n] = node.inOneBatch(t, grants[n], nil)
					deadlocks[n] = found.Load()
				})
			}
			await(t, func() bool {
				return len(store.Strings(t, f.DB, "SELECT 'it waits' FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0")) == len(nodes)
			})
			release()
			wg.Wait()
			if deadlocks != [2]int64{} {
				t.Errorf("found waiting for each other: %v times", deadlocks)
			}
			for i := range members {
				if both := [2]error{errs[0][i], errs[1][members-1-i]}; !tt.won(both) {
					t.Errorf("member %d: %v", i, both)
				}
			}
		})
	}
}

// hold runs a statement in a transaction that stays open until release.
func hold(t *testing.T, f *fixture, statement string) (release func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, f.url)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, statement, f.org.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(tx.Rollback(ctx), conn.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
}
