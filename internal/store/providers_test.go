package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestReplaceProviderWritesTheNextRevisionOrNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		next := *f.provider
		next.Audiences, next.Algorithms, next.JWKSURI, next.JWKS = nil, []string{"ES256"}, "", []byte(`{"keys":[]}`)
		next.MaxTokenAge, next.Replay, next.UpdatedAt, next.Revision = time.Minute, agentidp.ReplayAllow, now.Add(time.Minute), 5
		replace := func(p agentidp.Provider) error {
			return f.Write(ctx, func(tx *store.Tx) error { return tx.ReplaceProvider(ctx, &p) })
		}
		if err := replace(next); err != nil {
			t.Fatal(err)
		}
		got, err := f.Provider(ctx, f.org.ID, "ghes")
		same(t, got, &next, err)
		if err := replace(next); !errors.Is(err, store.ErrStale) {
			t.Errorf("the same revision again: %v, want ErrStale", err)
		}
		gone := next
		gone.ID, gone.Revision = newID(), 6
		if err := replace(gone); !errors.Is(err, store.ErrStale) {
			t.Errorf("a provider that is gone: %v, want ErrStale", err)
		}
	})
}

// Numbers of repositories are one issuer's. Whoever gets the name next has others.
func TestADeletedProviderTakesItsPinsAlong(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for _, p := range []*agentidp.Provider{github, f.provider} {
			g := f.grant()
			g.Provider = p
			if err := f.Issue(ctx, g); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Pin(ctx, f.org.ID, p.Name, "acme/deploy"); err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
		}
		f.write(t, func(tx *store.Tx) error { return tx.DeleteProvider(ctx, f.provider) })
		if _, err := f.Pin(ctx, f.org.ID, "ghes", "acme/deploy"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("its own pin: %v", err)
		}
		if _, err := f.Pin(ctx, f.org.ID, "github", "acme/deploy"); err != nil {
			t.Errorf("another provider's pin: %v", err)
		}
	})
}

// Whoever creates a policy and whoever deletes its provider at the same time cannot
// both succeed, in whichever order they come.
func TestNoPolicyIsLeftWithoutItsProvider(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		errInUse := errors.New("in use")
		for round := range 20 {
			p := *f.provider
			p.ID, p.Name, p.Issuer = newID(), "raced", "https://raced.example"
			f.write(t, func(tx *store.Tx) error { return tx.CreateProvider(ctx, &p) })
			policy := newPolicy(f.org.ID, "acme/raced", "")
			policy.Provider = p.Name

			deleted := make(chan error, 1)
			start := make(chan struct{})
			go func() {
				<-start
				deleted <- f.Write(ctx, func(tx *store.Tx) error {
					locked, err := tx.LockProvider(ctx, f.org.ID, p.Name)
					if err != nil {
						return err
					}
					if used, err := tx.ProviderInUse(ctx, f.org.ID, p.Name); err != nil || used {
						return errors.Join(errInUse, err)
					}
					return tx.DeleteProvider(ctx, locked)
				})
			}()
			close(start)
			created := f.Write(ctx, func(tx *store.Tx) error {
				if err := tx.HoldProvider(ctx, f.org.ID, p.Name); err != nil {
					return err
				}
				return tx.CreatePolicy(ctx, policy, policy.ID)
			})
			switch gone := <-deleted; {
			case created == nil && errors.Is(gone, errInUse):
				f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, f.org.ID, policy.ID) })
				f.write(t, func(tx *store.Tx) error { return tx.DeleteProvider(ctx, &p) })
			case errors.Is(created, store.ErrNotFound) && gone == nil:
			default:
				t.Fatalf("round %d: the policy: %v; the deletion: %v", round, created, gone)
			}
		}
	})
}

// On PostgreSQL the two do run at the same time, so the order is made.
func TestADeletionWaitsForAPolicyThatIsBeingCreated(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		held, commit := make(chan struct{}), make(chan struct{})
		created := make(chan error, 1)
		policy := newPolicy(f.org.ID, "acme/held", "")
		policy.Provider = f.provider.Name
		go func() {
			created <- f.Write(ctx, func(tx *store.Tx) error {
				if err := tx.HoldProvider(ctx, f.org.ID, "ghes"); err != nil {
					return err
				}
				close(held)
				<-commit
				return tx.CreatePolicy(ctx, policy, policy.ID)
			})
		}()
		<-held
		postgres := strings.HasPrefix(f.url, "postgres")
		if g := f.grant(); postgres {
			g.Provider = f.provider
			if err := f.Issue(ctx, g); err != nil {
				t.Errorf("an exchange beside a provider that is held: %v", err)
			}
		}
		locking, used := make(chan error, 1), false
		go func() {
			locking <- f.Write(ctx, func(tx *store.Tx) error {
				p, err := tx.LockProvider(ctx, f.org.ID, "ghes")
				if err != nil {
					return err
				}
				if used, err = tx.ProviderInUse(ctx, f.org.ID, "ghes"); err != nil || used {
					return err
				}
				return tx.DeleteProvider(ctx, p) // what SERIALIZABLE notices
			})
		}()
		if postgres { // its fence says that it found the row taken
			await(t, func() bool { return len(store.Strings(t, f.DB, "SELECT row_id FROM fences")) > 0 })
		}
		close(commit)
		if err := errors.Join(<-created, <-locking); err != nil {
			t.Fatal(err)
		}
		if !used {
			t.Error("the policy was not seen")
		}
	})
}

// A stranger's issuer costs one search of an index.
func TestAProviderIsFoundThroughAnIndexInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for column, index := range map[string]string{"issuer": "oidc_providers_issuer", "name": "oidc_providers_name"} {
		plan := strings.Join(store.Plan(t, f.DB, store.ProviderQuery+column+" = $2", "o", "x"), "; ")
		if !strings.Contains(plan, "USING INDEX "+index) || strings.Contains(plan, "SCAN") {
			t.Errorf("by %s: %s", column, plan)
		}
	}
}
