package store_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// thirty-two servers commit exchanges that rest on one row as fast as PostgreSQL
// takes them, and whoever ends it is answered within a second.
//
// The promise is held to the median, for any single answer may fall into a moment in which
// the machine does something else. The bound on the slowest is generous for the same
// reason: without the fence there would be no answer in the ten seconds of a write.
func TestR13ARevocationBehindThirtyTwoServers(t *testing.T) {
	t.Parallel()
	pace.Slow(t)
	const servers, within, atLast = 32, time.Second, 5 * time.Second
	f := newFixture(t, pgtest.Start(t))
	nodes := []*store.DB{f.DB}
	for len(nodes) < servers {
		nodes = append(nodes, open(t, f.url))
	}
	rounds := 1
	if pace.Long() {
		rounds = 10
	}
	var took []time.Duration
	for range rounds {
		for name, revoke := range revocations {
			f.forRevocation(t, name)
			took = append(took, f.revokeUnderLoad(t, name, nodes, func(tx *store.Tx) error { return revoke(t, f, tx) }))
			t.Logf("%s: %v", name, took[len(took)-1])
		}
	}
	slices.Sort(took)
	median, slowest := took[len(took)/2], took[len(took)-1]
	if median > within || slowest > atLast {
		t.Errorf("%v: a median of %v at most, and no answer after %v", took, within, atLast)
	}
	t.Logf("%d revocations: p50 %v, slowest %v", len(took), median, slowest)
}

// revokeUnderLoad issues at all nodes and returns how long a revocation took in the midst
// of it. No Issue that began after it succeeds.
func (f *fixture) revokeUnderLoad(t *testing.T, name string, nodes []*store.DB, revoke func(*store.Tx) error) time.Duration {
	t.Helper()
	crowd := 2 * len(nodes)
	var revoked atomic.Bool
	var warm atomic.Int64 // how many had a grant
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			for granted := false; ; {
				late := revoked.Load() // read before Issue begins
				switch err := nodes[i%len(nodes)].Issue(t.Context(), f.restingOn(name)); {
				case err == nil && late:
					t.Errorf("%s: issued after it had returned", name)
				case err == nil && !granted:
					granted = true
					warm.Add(1)
				case err == nil:
				case !errors.Is(err, store.ErrStale):
					t.Errorf("%s: %v", name, err)
					return
				case late:
					return
				}
			}
		})
	}
	await(t, func() bool { return warm.Load() == int64(crowd) })
	began := time.Now()
	f.write(t, revoke)
	took := time.Since(began)
	revoked.Store(true)
	wg.Wait()
	return took
}
