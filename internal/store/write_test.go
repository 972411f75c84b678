package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestReplacePolicyWritesTheNextRevisionOrNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		next := *f.policy
		next.Branch, next.Events, next.ExpiresAt, next.Mode = "release", []string{"push", "schedule"}, nil, agentidp.ModeDisabled
		next.Description, next.UpdatedAt, next.Revision = "narrower", now.Add(time.Minute), 2
		replace := func(p agentidp.TrustPolicy, fingerprint string) error {
			return f.Write(ctx, func(tx *store.Tx) error { return tx.ReplacePolicy(ctx, &p, fingerprint) })
		}
		if err := replace(next, "new"); err != nil {
			t.Fatal(err)
		}
		got, err := f.Policy(ctx, f.org.ID, f.policy.ID)
		same(t, got, &next, err)

		if err := replace(next, "newer"); !errors.Is(err, store.ErrStale) {
			t.Errorf("the same revision again: %v, want ErrStale", err)
		}
		gone := next
		gone.ID, gone.Revision = newID(), 3
		if err := replace(gone, "newer"); !errors.Is(err, store.ErrStale) {
			t.Errorf("a policy that is gone: %v, want ErrStale", err)
		}
		other := newPolicy(f.org.ID, "acme/other", "")
		f.createPolicy(t, other)
		other.Revision = 2
		if err := replace(*other, "new"); !errors.Is(err, store.ErrExists) {
			t.Errorf("another policy's fingerprint: %v, want ErrExists", err)
		}
	})
}

func TestUpdateAgentWritesTheNextRevisionOrNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		next := *f.agent
		next.Name, next.Status, next.Labels, next.Capabilities = "Renamed@acme.example", agentidp.AgentSuspended, nil, nil
		next.UpdatedAt, next.Revision = now.Add(time.Minute), 2
		update := func(a agentidp.Agent) error {
			return f.Write(ctx, func(tx *store.Tx) error { return tx.UpdateAgent(ctx, &a) })
		}
		if err := update(next); err != nil {
			t.Fatal(err)
		}
		got, err := f.AgentByName(ctx, f.org.ID, "renamed@ACME.example")
		same(t, got, &next, err)
		if err := update(next); !errors.Is(err, store.ErrStale) {
			t.Errorf("the same revision again: %v, want ErrStale", err)
		}
		other := newAgent(f.org.ID, "other@acme.example")
		f.createAgent(t, other)
		other.Name, other.Revision = "renamed@acme.example", 2
		if err := update(*other); !errors.Is(err, store.ErrExists) {
			t.Errorf("another agent's name: %v, want ErrExists", err)
		}
	})
}

func TestUpdateOrganizationWritesTheNextRevisionOrNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		next := *f.org
		next.Status, next.Revision = agentidp.OrganizationClosed, f.org.Revision+1
		update := func(o agentidp.Organization) error {
			return f.Write(ctx, func(tx *store.Tx) error { return tx.UpdateOrganization(ctx, &o) })
		}
		if err := update(next); err != nil {
			t.Fatal(err)
		}
		got, err := f.Organization(ctx, f.org.Slug)
		same(t, got, &next, err)
		if err := update(next); !errors.Is(err, store.ErrStale) {
			t.Errorf("the same revision again: %v, want ErrStale", err)
		}
		gone := next
		gone.ID, gone.Revision = newID(), next.Revision+1
		if err := update(gone); !errors.Is(err, store.ErrStale) {
			t.Errorf("an organization that is not there: %v, want ErrStale", err)
		}
		if err := f.Issue(ctx, f.grant()); !errors.Is(err, store.ErrStale) {
			t.Errorf("a grant of the closed organization: %v, want ErrStale", err)
		}
		g := f.grant()
		g.Organization = &next // seen as it is, and closed
		if err := f.Issue(ctx, g); !errors.Is(err, store.ErrStale) {
			t.Errorf("a grant that knows that it is closed: %v, want ErrStale", err)
		}
	})
}

func TestWriteKeepsNothingOfATransactionThatFails(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, boom := t.Context(), errors.New("boom")
		leave, cancel := context.WithCancel(ctx)
		put := func(tx *store.Tx) error { return tx.PutSetting(ctx, "s", "x") }
		tests := map[string]struct {
			ctx  context.Context
			fn   func(*store.Tx) error
			want error
		}{
			"its function fails":                  {ctx, func(tx *store.Tx) error { return errors.Join(put(tx), boom) }, boom},
			"its caller leaves before the commit": {leave, func(tx *store.Tx) error { cancel(); return put(tx) }, context.Canceled},
			"its caller has left":                 {leave, put, context.Canceled},
		}
		for name, test := range tests {
			if name == "its caller has left" {
				cancel()
			}
			if err := f.Write(test.ctx, test.fn); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			if _, err := f.Setting(ctx, "s"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: the setting is there (%v)", name, err)
			}
		}
	})
}

// Two writers that lock two policies in opposite order deadlock on PostgreSQL;
// one of them is then run again. SQLite has one writer at a time.
func TestWriteRunsAgainAfterADeadlock(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		other := newPolicy(f.org.ID, "acme/other", "")
		f.createPolicy(t, other)
		deadlocks := !strings.HasPrefix(f.url, "sqlite:")
		var wg, first sync.WaitGroup
		var runs atomic.Int32
		first.Add(2)
		for _, order := range [][2]string{{f.policy.ID, other.ID}, {other.ID, f.policy.ID}} {
			again := false
			wg.Go(func() {
				err := f.Write(t.Context(), func(tx *store.Tx) error {
					runs.Add(1)
					for i, id := range order {
						if _, err := tx.LockPolicy(t.Context(), f.org.ID, id); err != nil {
							return err
						}
						if i == 0 && deadlocks && !again {
							again = true
							first.Done()
							first.Wait() // now both have one, and want the other's
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := runs.Load(); deadlocks != (n > 2) {
			t.Errorf("%d runs of two writers", n)
		}
	})
}

// LockPolicy makes a limit exact: of two registrations that both count before
// they insert, the second counts the first's agent.
func TestLockPolicyMakesCountingExact(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		const limit, callers = 3, 12
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				err := f.Write(t.Context(), func(tx *store.Tx) error {
					p, err := tx.LockPolicy(t.Context(), f.org.ID, f.policy.ID)
					if err != nil {
						return err
					}
					n, err := tx.CountLivingAgents(t.Context(), f.org.ID, p.ID)
					if err != nil || n >= limit {
						return err
					}
					a := newAgent(f.org.ID, string(rune('a'+i))+"@x")
					a.RegisteredBy.PolicyID = p.ID
					return tx.CreateAgent(t.Context(), a)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n, err := f.CountLivingAgents(t.Context(), f.org.ID, f.policy.ID)
		same(t, n, limit, err)
	})
}
