package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// revocations are all writes that end grants which rested on what they change.
var revocations = map[string]func(*testing.T, *fixture, *store.Tx) error{
	"policy deleted": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.DeletePolicy(t.Context(), f.org.ID, f.policy.ID)
	},
	"policy replaced": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.ReplacePolicy(t.Context(), changed(f.policy, func(p *agentidp.TrustPolicy) { p.Branch, p.Revision = "release", 2 }), "narrower")
	},
	"agent suspended": func(t *testing.T, f *fixture, tx *store.Tx) error {
		a, err := tx.LockAgent(t.Context(), f.org.ID, f.agent.AgentID)
		if err != nil {
			return err
		}
		a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1
		return tx.UpdateAgent(t.Context(), a)
	},
	"actor suspended": func(t *testing.T, f *fixture, tx *store.Tx) error {
		a, err := tx.LockAgent(t.Context(), f.org.ID, f.actor.AgentID)
		if err != nil {
			return err
		}
		a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1
		return tx.UpdateAgent(t.Context(), a)
	},
	"credential revoked": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.UpdateCredential(t.Context(), changed(f.credential, func(c *agentidp.Credential) { c.RevokedAt, c.Revision = new(now), 2 }))
	},
	"credential rotated": func(t *testing.T, f *fixture, tx *store.Tx) error {
		c, err := tx.LockCredential(t.Context(), f.org.ID, f.credential.CredentialID)
		if err != nil {
			return err
		}
		c.ExpiresAt, c.Revision = new(now), c.Revision+1
		return tx.UpdateCredential(t.Context(), c)
	},
	"provider deleted": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.DeleteProvider(t.Context(), f.provider)
	},
	"provider replaced": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.ReplaceProvider(t.Context(), changed(f.provider, func(p *agentidp.Provider) { p.Audiences, p.Revision = nil, p.Revision+1 }))
	},
	"organization closed": func(t *testing.T, f *fixture, tx *store.Tx) error {
		o, err := tx.LockOrganization(t.Context(), f.org.ID)
		if err != nil {
			return err
		}
		o.Status, o.Revision = agentidp.OrganizationClosed, o.Revision+1
		return tx.UpdateOrganization(t.Context(), o)
	},
	"keys rotated": func(t *testing.T, f *fixture, tx *store.Tx) error {
		return tx.UpdateOrganization(t.Context(), changed(f.org, func(o *agentidp.Organization) { o.Revision++ }))
	},
}

// forRevocation gives the fixture an organization of its own, with all that a revocation of
// this name can end.
func (f *fixture) forRevocation(t testing.TB, name string) {
	t.Helper()
	f.addOrganization(t, strings.ReplaceAll(name, " ", "-"))
	f.agent = newAgent(f.org.ID, name+"@x")
	f.agent.Name = agentidp.FoldAgentName(f.agent.AgentID) + "@x"
	f.createAgent(t, f.agent)
	f.policy = newPolicy(f.org.ID, "acme/"+f.agent.AgentID, f.agent.AgentID)
	f.createPolicy(t, f.policy)
	f.credential = f.newCredential(t, func(*agentidp.Credential) {})
	f.actor = newAgent(f.org.ID, "actor-"+f.agent.Name)
	f.createAgent(t, f.actor)
}

// restingOn returns a grant that rests on what a revocation of this name ends.
func (f *fixture) restingOn(name string) *store.Grant {
	g := f.grant()
	switch noun, _, _ := strings.Cut(name, " "); noun {
	case "provider":
		g.Provider = f.provider
	case "credential":
		g.Credential = f.credential
	case "actor":
		g.Actor = f.actor
	}
	return g
}

// whatever revokes, no Issue that began after it had returned succeeds,
// on this node or another, however many are under way.
func TestNothingIsIssuedAfterARevocationReturned(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		nodes := []*store.DB{f.DB, open(t, f.url), open(t, f.url)}
		for name, revoke := range revocations {
			f.forRevocation(t, name)

			var revoked, stop atomic.Bool
			var before, after atomic.Int64
			var wg sync.WaitGroup
			for i := range 24 {
				wg.Go(func() {
					for !stop.Load() {
						late := revoked.Load() // read before Issue begins
						g := f.restingOn(name)
						if g.Actor != nil && i%2 == 1 { // each acts for the other, in one commit
							g.Agent, g.Actor = g.Actor, g.Agent
						}
						switch err := nodes[i%len(nodes)].Issue(t.Context(), g); {
						case err == nil && late:
							t.Errorf("%s: issued after it had returned", name)
						case err == nil:
							before.Add(1)
						case late && errors.Is(err, store.ErrStale):
							after.Add(1)
						case !errors.Is(err, store.ErrStale):
							t.Errorf("%s: %v", name, err)
						}
					}
				})
			}
			await(t, func() bool { return before.Load() > 200 })
			began := time.Now()
			f.write(t, func(tx *store.Tx) error { return revoke(t, f, tx) })
			t.Logf("%s took %v behind %d exchanges", name, time.Since(began).Round(time.Millisecond), before.Load())
			revoked.Store(true)
			await(t, func() bool { return after.Load() > 200 })
			stop.Store(true)
			wg.Wait()
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		}
		same(t, store.Strings(t, f.DB, "SELECT row_id FROM fences"), []string{}, nil)
	})
}

func TestAnOrganizationThatIsHeldIsWaitedFor(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	other := *f
	other.addOrganization(t, "other")
	locked, release := make(chan struct{}), make(chan struct{})
	written := make(chan error, 1)
	go func() {
		written <- f.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.LockOrganization(t.Context(), f.org.ID)
			close(locked)
			<-release
			return err
		})
	}()
	<-locked
	result := make(chan error, 1)
	go func() { result <- f.Issue(t.Context(), f.grant()) }()
	if err := f.Issue(t.Context(), other.grant()); err != nil {
		t.Errorf("a grant of another organization: %v", err)
	}
	f.waits(t, "the grant of the held organization", result)
	close(release)
	if err := errors.Join(<-written, <-result); err != nil {
		t.Errorf("after it was left as it was: %v", err)
	}
}

// waits asserts that the only grant that is under way has no result although it was
// tried again and again.
func (f *fixture) waits(t *testing.T, what string, result <-chan error) {
	t.Helper()
	tried := f.Stats().Members
	await(t, func() bool { return len(result) > 0 || f.Stats().Members >= tried+3 })
	if len(result) > 0 { // whoever takes it says what it is
		t.Errorf("%s did not wait", what)
	}
}

// A member whose policy is held by a slow administrator waits, and the others of
// its batch do not.
func TestAHeldRowStopsOnlyThoseWhoNeedIt(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	other := newPolicy(f.org.ID, "acme/other", "")
	f.createPolicy(t, other)
	free, held := f.grant(), f.grant()
	free.Policy = other

	locked, release := make(chan struct{}), make(chan struct{})
	written := make(chan error, 1)
	go func() {
		written <- f.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.LockPolicy(t.Context(), f.org.ID, f.policy.ID)
			close(locked)
			<-release
			return err
		})
	}()
	<-locked
	result := make(chan error, 1)
	go func() { result <- f.Issue(t.Context(), held) }()
	if err := f.Issue(t.Context(), free); err != nil {
		t.Errorf("a grant of another policy: %v", err)
	}
	f.waits(t, "the grant of the held policy", result)
	close(release)
	if err := errors.Join(<-written, <-result); err != nil {
		t.Errorf("after the administrator has left it as it was: %v", err)
	}
}

func TestARowThatStaysHeldIsUnavailable(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	f.write(t, func(tx *store.Tx) error {
		if _, err := tx.LockAgent(t.Context(), f.org.ID, f.agent.AgentID); err != nil {
			return err
		}
		if err := f.Issue(t.Context(), f.grant()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		return nil
	})
}

// A fence whose writer died is in nobody's way for longer than a write can last.
func TestAnOldFenceIsNoObstacle(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	for kind, row := range map[string]string{"organization": f.org.ID, "policy": f.policy.ID} {
		put := func(holder string, until time.Time) {
			store.Exec(t, f.DB, "INSERT INTO fences (organization_id, kind, row_id, holder, until) VALUES ($1, $2, $3, $4, $5)",
				f.org.ID, kind, row, holder, until.UnixMicro())
		}
		put("dead", time.Now().Add(-time.Second))
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Errorf("%s, behind an expired fence: %v", kind, err)
		}
		put("alive", time.Now().Add(time.Minute))
		if err := f.Issue(t.Context(), f.grant()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s, behind a fence: %v, want ErrUnavailable", kind, err)
		}
		store.Exec(t, f.DB, "DELETE FROM fences WHERE organization_id = $1", f.org.ID)
	}
}

// The command line writes to the file of a running server.
func TestTwoProcessesWriteToOneSQLiteFile(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "shared.db"))
	cli := open(t, f.url)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.Issue(t.Context(), f.grant()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		token := f.grant().Token
		if err := cli.Write(t.Context(), func(tx *store.Tx) error { return tx.CreateToken(t.Context(), &token) }); err != nil {
			t.Error(err)
		}
		if _, err := f.Token(t.Context(), f.org.ID, token.ID); err != nil {
			t.Errorf("the server does not see it: %v", err)
		}
	}
	close(stop)
	wg.Wait()
}
