package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// unpin is what an administrator's repin does.
func (f *fixture) unpin(t *testing.T) {
	t.Helper()
	f.write(t, func(tx *store.Tx) error {
		if _, err := tx.LockRepository(t.Context(), f.org.ID, "github", "ACME/deploy"); err != nil {
			return err
		}
		return tx.Unpin(t.Context(), f.org.ID, "github", "ACME/deploy")
	})
}

// pinnedGrant is a grant that was decided on when the repository had these ids.
func (f *fixture) pinnedGrant(id string) *store.Grant {
	p := *f.policy
	p.Pinned = &agentidp.Pin{RepositoryID: id, RepositoryOwnerID: "65"}
	g := f.grant()
	g.Policy, g.Pin.RepositoryID = &p, id
	return g
}

func TestAGrantThatSawAForgottenPin(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		issue := func(name string, g *store.Grant, want error) {
			t.Helper()
			if err := f.Issue(t.Context(), g); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if want != nil && f.issued(t, g) {
				t.Errorf("%s: it left records", name)
			}
		}
		pins := func(id string) *store.Grant {
			g := f.grant()
			g.Pin.RepositoryID = id
			return g
		}
		issue("the first", pins("74"), nil)
		old := f.pinnedGrant("74")
		f.unpin(t)
		issue("the pin is gone", old, store.ErrStale)
		issue("another is the next", pins("75"), nil)
		issue("the pin came back with other ids", f.pinnedGrant("74"), store.ErrStale)
		issue("who saw no pin, of the same ids", pins("75"), nil)
		issue("who saw no pin, of other ids", pins("74"), store.ErrStale)
		f.unpin(t)
		issue("the old one is the next", pins("74"), nil)
		issue("the pin came back as it was", old, nil)
	})
}

// A grant that is under way while the repository is held comes too late: its pin is
// deleted without waiting for it.
func TestAGrantDuringARepinIsStale(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
		late, results := make([]*store.Grant, 8), make(chan error)
		f.write(t, func(tx *store.Tx) error {
			if _, err := tx.LockRepository(t.Context(), f.org.ID, "github", "acme/deploy"); err != nil {
				return err
			}
			for i := range late {
				late[i] = f.pinnedGrant("74")
				go func() { results <- f.Issue(t.Context(), late[i]) }()
			}
			return tx.Unpin(t.Context(), f.org.ID, "github", "acme/deploy")
		})
		for range late {
			if err := <-results; !errors.Is(err, store.ErrStale) && !errors.Is(err, store.ErrUnavailable) { // it waited too long
				t.Errorf("%v, want ErrStale", err)
			}
		}
		for _, g := range late {
			if f.issued(t, g) {
				t.Error("a late grant left records")
			}
		}
		if _, err := f.Pin(t.Context(), f.org.ID, "github", "acme/deploy"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the pin: %v, want ErrNotFound", err)
		}
	})
}

func TestARepositoryIsLockedWithAllItsPoliciesAndNoOther(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		var want []string
		for i, repository := range []string{"acme/deploy", "acme/other", "ACME/DEPLOY", "acme/deploy"} {
			p := newPolicy(f.org.ID, repository, fmt.Sprint(i))
			if i == 3 {
				p.Provider = "ghes"
			}
			f.createPolicy(t, p)
			if i%2 == 0 {
				want = append(want, p.ID)
			}
		}
		mine, org := *f, f.org.ID
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
		f.addOrganization(t, "other")
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
		f.write(t, func(tx *store.Tx) error {
			policies, err := tx.LockRepository(t.Context(), org, "github", "acme/Deploy")
			same(t, idsOf(t, policies, err, policyID), append([]string{mine.policy.ID}, want...), nil)
			for _, p := range policies {
				if p.Pinned == nil || p.Pinned.RepositoryID != "74" {
					t.Errorf("%s is pinned to %v", p.Repository, p.Pinned)
				}
			}
			if none, err := tx.LockRepository(t.Context(), org, "github", "acme/none"); err != nil || len(none) != 0 {
				t.Errorf("of a repository without policies: %v, %v", none, err)
			}
			return tx.Unpin(t.Context(), org, "github", "acme/deploy")
		})
		if _, err := f.Pin(t.Context(), f.org.ID, "github", "acme/deploy"); err != nil {
			t.Errorf("the other organization's pin: %v", err)
		}
	})
}

// Grants that wait for a policy which somebody holds leave its pin alone; if each of
// them shared it for a moment, whoever wants to delete it would wait for ever.
func TestGrantsThatWaitForTheirPolicyDoNotHoldItsPin(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	if err := f.Issue(t.Context(), f.grant()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	f.write(t, func(tx *store.Tx) error {
		if _, err := tx.LockRepository(t.Context(), f.org.ID, "github", "acme/deploy"); err != nil {
			return err
		}
		const grants = 16
		before := f.Stats().Members
		for range grants {
			wg.Go(func() {
				if err := f.Issue(t.Context(), f.pinnedGrant("74")); err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%v, want it granted late, or ErrUnavailable", err)
				}
			})
		}
		await(t, func() bool { return f.Stats().Members >= before+grants }) // they are being tried
		for range 300 {
			store.Strings(t, f.DB, "SELECT repository_id FROM pins WHERE organization_id = $1 FOR UPDATE NOWAIT", f.org.ID)
		}
		return nil
	})
	wg.Wait()
}
