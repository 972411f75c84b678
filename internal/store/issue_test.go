package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestIssueWritesTokenDecisionAndEvents(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, g := t.Context(), f.grant()
		if err := f.Issue(ctx, g); err != nil {
			t.Fatal(err)
		}
		token, err := f.Token(ctx, f.org.ID, g.Token.ID)
		same(t, token, &g.Token, err)
		decision, err := f.Decision(ctx, f.org.ID, g.Decision.ID)
		same(t, decision, &g.Decision, err)
		same(t, f.allEvents(t), []agentidp.Event{g.Events[0], *g.PinEvent}, nil)

		again := f.grant() // the second does not pin
		if err := f.Issue(ctx, again); err != nil {
			t.Fatal(err)
		}
		same(t, f.allEvents(t)[2:], again.Events, nil)
	})
}

func TestIssuedIsStillThereAfterReopening(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		g := f.grant()
		if err := f.Issue(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.DB = open(t, f.url)
		if !f.issued(t, g) {
			t.Error("the token is gone")
		}
		retry := f.grant()
		retry.ReplayKey = g.ReplayKey
		if err := f.Issue(t.Context(), retry); !errors.Is(err, store.ErrReplayed) {
			t.Errorf("the subject token again: %v, want ErrReplayed", err)
		}
	})
}

func TestBootstrapGrantsNeedNoAgentAndNoReplayKeyIsNoSingleUse(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for range 2 {
			g := f.grant()
			g.Agent, g.ReplayKey, g.Token.Kind, g.Pin = nil, "", agentidp.PrincipalBootstrap, agentidp.Pin{}
			if err := f.Issue(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Pin(t.Context(), f.org.ID, "github", "acme/deploy"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("without ids there is nothing to pin, and yet: %v", err)
		}
	})
}

func TestAGrantThatIsNotAsItWasSeenLeavesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		if err := f.Issue(ctx, f.grant()); err != nil { // pins 74, 65
			t.Fatal(err)
		}
		suspended := newAgent(f.org.ID, "suspended@x")
		suspended.Status = agentidp.AgentSuspended
		f.createAgent(t, suspended)
		closed := &agentidp.Organization{ID: newID(), Slug: "closed", Status: agentidp.OrganizationClosed, Revision: 1, CreatedAt: now}
		f.write(t, func(tx *store.Tx) error { return tx.CreateOrganization(ctx, closed) })
		unpinned := newPolicy(f.org.ID, "acme/unpinned", "")
		f.createPolicy(t, unpinned)

		tests := map[string]func(*store.Grant){
			"organization of another revision": func(g *store.Grant) {
				g.Organization = changed(g.Organization, func(o *agentidp.Organization) { o.Revision-- })
			},
			"organization that is closed": func(g *store.Grant) { g.Organization = closed },
			"organization that is not there": func(g *store.Grant) {
				g.Organization = changed(g.Organization, func(o *agentidp.Organization) { o.ID = newID() })
			},
			"provider of another revision":    func(g *store.Grant) { g.Provider = changed(f.provider, func(p *agentidp.Provider) { p.Revision++ }) },
			"provider that is not there":      func(g *store.Grant) { g.Provider = changed(f.provider, func(p *agentidp.Provider) { p.ID = newID() }) },
			"policy of another revision":      func(g *store.Grant) { g.Policy = changed(f.policy, func(p *agentidp.TrustPolicy) { p.Revision++ }) },
			"policy that is not there":        func(g *store.Grant) { g.Policy = changed(f.policy, func(p *agentidp.TrustPolicy) { p.ID = newID() }) },
			"agent of another revision":       func(g *store.Grant) { g.Agent = changed(f.agent, func(a *agentidp.Agent) { a.Revision++ }) },
			"agent that is suspended":         func(g *store.Grant) { g.Agent = suspended },
			"actor of another revision":       func(g *store.Grant) { g.Actor = changed(f.agent, func(a *agentidp.Agent) { a.Revision++ }) },
			"actor that is suspended":         func(g *store.Grant) { g.Actor = suspended },
			"agent that is not there":         func(g *store.Grant) { g.Agent = changed(f.agent, func(a *agentidp.Agent) { a.AgentID = newID() }) },
			"repository pinned to another id": func(g *store.Grant) { g.Pin.RepositoryID = "75" },
			"repository of another owner":     func(g *store.Grant) { g.Pin.RepositoryOwnerID = "66" },
			"repository no longer pinned": func(g *store.Grant) {
				g.Policy = changed(unpinned, func(p *agentidp.TrustPolicy) { p.Pinned = &agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65"} })
			},
		}
		events := len(f.allEvents(t))
		for name, change := range tests {
			g := f.grant()
			change(g)
			if err := f.Issue(ctx, g); !errors.Is(err, store.ErrStale) {
				t.Errorf("%s: %v, want ErrStale", name, err)
			}
			if f.issued(t, g) || len(f.allEvents(t)) != events {
				t.Errorf("%s: it left records", name)
			}
			honest := f.grant()
			honest.ReplayKey = g.ReplayKey
			if err := f.Issue(ctx, honest); err != nil {
				t.Errorf("%s: its subject token is used up: %v", name, err)
			}
			events = len(f.allEvents(t))
		}
	})
}

func TestGrantsOfARegisteredProviderCompareItsRevision(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		g := f.grant()
		g.Provider = f.provider
		if err := f.Issue(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAReplayLeavesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		first := f.grant()
		if err := f.Issue(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		other := newPolicy(f.org.ID, "acme/other", "")
		f.createPolicy(t, other)
		replay := f.grant()
		replay.Policy, replay.ReplayKey = other, first.ReplayKey // it would pin
		if err := f.Issue(t.Context(), replay); !errors.Is(err, store.ErrReplayed) {
			t.Fatalf("%v, want ErrReplayed", err)
		}
		if f.issued(t, replay) {
			t.Error("the replay was issued")
		}
		if _, err := f.Pin(t.Context(), f.org.ID, "github", "acme/other"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the replay left a pin: %v", err)
		}
	})
}

// over two handles, which is what two nodes are to a database.
func TestOneSubjectTokenAtTwoHundredCallersIsIssuedOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		handles := []*store.DB{f.DB, open(t, f.url)}
		var wg sync.WaitGroup
		var won, replayed atomic.Int64
		for i := range 200 {
			g := f.grant()
			g.ReplayKey = "the one"
			wg.Go(func() {
				switch err := handles[i%2].Issue(t.Context(), g); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrReplayed):
					replayed.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || replayed.Load() != 199 {
			t.Errorf("%d issued, %d replayed; want 1, 199", won.Load(), replayed.Load())
		}
	})
}

// Whichever of several first exchanges is first pins the repository, once, even
// over two nodes.
func TestManyFirstExchangesPinOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		handles := []*store.DB{f.DB, open(t, f.url)}
		var wg sync.WaitGroup
		for i := range 100 {
			g := f.grant()
			wg.Go(func() {
				if err := handles[i%2].Issue(t.Context(), g); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		pinned := 0
		for _, e := range f.allEvents(t) {
			if e.Type == agentidp.EventRepositoryPinned {
				pinned++
			}
		}
		if pinned != 1 {
			t.Errorf("%d events say that the repository was pinned, want 1", pinned)
		}
	})
}

func TestRecordWritesADeniedDecisionAndItsEvents(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		d := f.grant().Decision
		d.Outcome, d.Code, d.TokenID, d.Checks = agentidp.OutcomeDenied, agentidp.CodeBranchNotPermitted, "", nil
		d.Nearest = &agentidp.Miss{PolicyID: f.policy.ID, Failed: []string{"ref", "agent_status"}, Hint: "Läßt „dev“ ein.", Repairs: []agentidp.Repair{
			{Action: agentidp.RepairSet, Copy: true, Field: "branch", Value: json.RawMessage(`"dev"`)}, {Action: agentidp.RepairReactivate},
		}}
		d.Shadow = []agentidp.Shadow{{PolicyID: "a", Allowed: true}, {PolicyID: "b", Code: agentidp.CodeEventNotPermitted}}
		event := f.event(agentidp.EventExchangeDenied, d.ID)
		if err := f.Record(t.Context(), &d, event); err != nil {
			t.Fatal(err)
		}
		got, err := f.Decision(t.Context(), f.org.ID, d.ID)
		same(t, got, &d, err)
		same(t, f.allEvents(t), []agentidp.Event{event}, nil)
	})
}

func TestMatchesAreCounted(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := context.WithoutCancel(t.Context())
		deleted := newPolicy(f.org.ID, "acme/deleted", "")
		f.createPolicy(t, deleted)
		for round := range 2 { // what a process counted is added to what is there
			for i := range 3 {
				g := f.grant()
				g.Decision.At = now.Add(time.Duration(round*10-i) * time.Second)
				if err := f.Issue(ctx, g); err != nil {
					t.Fatal(err)
				}
			}
			if round == 0 {
				g := f.grant()
				g.Policy = deleted
				if err := f.Issue(ctx, g); err != nil {
					t.Fatal(err)
				}
				f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, f.org.ID, deleted.ID) })
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f.DB = open(t, f.url)
		}
		got, err := f.Policy(ctx, f.org.ID, f.policy.ID)
		same(t, got.MatchCount, 6, err)
		same(t, *got.LastMatchedAt, now.Add(10*time.Second), nil)
		same(t, store.Strings(t, f.DB, "SELECT policy_id FROM policy_usage"), []string{f.policy.ID}, nil)
	})
}

// A policy in shadow mode counts what it would have granted, whatever became of the
// exchange; one that would have refused, and one whose exchange was not written, do not.
func TestShadowsAreCounted(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := context.WithoutCancel(t.Context())
		shadow := func(repository string) *agentidp.TrustPolicy {
			p := newPolicy(f.org.ID, repository, f.agent.AgentID)
			p.Mode = agentidp.ModeShadow
			f.createPolicy(t, p)
			return p
		}
		would, wouldNot, deleted := shadow("acme/would"), shadow("acme/would-not"), shadow("acme/deleted")
		told := []agentidp.Shadow{
			{PolicyID: would.ID, Allowed: true}, {PolicyID: deleted.ID, Allowed: true},
			{PolicyID: wouldNot.ID, Code: agentidp.CodeBranchNotPermitted},
		}
		f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, f.org.ID, deleted.ID) })

		g := f.grant()
		g.Decision.Shadow = told
		if err := f.Issue(ctx, g); err != nil {
			t.Fatal(err)
		}
		again := f.grant() // the same token: nothing of it is written
		again.ReplayKey, again.Decision.Shadow, again.Decision.At = g.ReplayKey, told, now.Add(time.Hour)
		if err := f.Issue(ctx, again); !errors.Is(err, store.ErrReplayed) {
			t.Fatal(err)
		}
		f.record(t, now.Add(time.Minute), func(d *agentidp.Decision, e *agentidp.Event) {
			deny(agentidp.CodeEventNotPermitted)(d, e)
			d.Shadow = told
		})
		f.record(t, now.Add(2*time.Minute), deny(agentidp.CodeEventNotPermitted))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.DB = open(t, f.url)

		got, err := f.Policy(ctx, f.org.ID, would.ID)
		same(t, got.MatchCount, 2, err)
		same(t, *got.LastMatchedAt, now.Add(time.Minute), nil)
		got, err = f.Policy(ctx, f.org.ID, wouldNot.ID)
		same(t, got.MatchCount, 0, err)
		got, err = f.Policy(ctx, f.org.ID, f.policy.ID)
		same(t, got.MatchCount, 1, err) // which granted
		same(t, slices.Contains(store.Strings(t, f.DB, "SELECT policy_id FROM policy_usage"), deleted.ID), false, nil)
	})
}

// A credential counts as used when something is issued by it, or when whoever asks for
// nothing that is issued says so.
func TestUsesOfCredentialsAreKept(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := context.WithoutCancel(t.Context())
		issued := f.newCredential(t, func(*agentidp.Credential) {})
		asked := f.newCredential(t, func(*agentidp.Credential) {})
		refused := f.newCredential(t, func(c *agentidp.Credential) { c.RevokedAt = new(now) })
		for round := range 2 { // the later instant stays, whichever process counted it
			for _, c := range []*agentidp.Credential{issued, refused} {
				g := f.grant()
				g.Credential, g.Decision.At = c, now.Add(time.Duration(10-round)*time.Second)
				if err := f.Issue(ctx, g); (err == nil) != (c == issued) {
					t.Fatal(err)
				}
			}
			f.CredentialUsed(f.org.ID, asked.CredentialID, now.Add(time.Duration(round)*time.Minute))
			f.CredentialUsed(f.org.ID, asked.CredentialID, now)
			f.CredentialUsed(f.org.ID, newID(), now) // of none that there is
			f.CredentialUsed(newID(), asked.CredentialID, now.Add(time.Hour))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f.DB = open(t, f.url)
		}
		for c, want := range map[*agentidp.Credential]*time.Time{issued: new(now.Add(10 * time.Second)), asked: new(now.Add(time.Minute)), refused: nil} {
			got, err := f.Credential(ctx, f.org.ID, c.CredentialID)
			same(t, got.LastUsedAt, want, err)
		}
		same(t, len(store.Strings(t, f.DB, "SELECT credential_id FROM credential_usage")), 2, nil)
	})
}

// What is good for one use beside a subject token is used up by the grant, or not at all.
func TestAGrantUsesUpWhatCameWithIt(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		once := store.Once{Of: "dpop:key", Key: "proof", Until: now.Add(time.Minute)}
		grant := func() *store.Grant {
			g := f.grant()
			g.ReplayKey, g.Once = "", &once
			return g
		}
		stale := grant()
		stale.Agent = changed(f.agent, func(a *agentidp.Agent) { a.Revision++ })
		if err := f.Issue(t.Context(), stale); !errors.Is(err, store.ErrStale) {
			t.Errorf("what is not as seen: %v", err)
		}
		if err := f.Issue(t.Context(), grant()); err != nil {
			t.Errorf("the first time: %v", err)
		}
		if err := f.Issue(t.Context(), grant()); !errors.Is(err, store.ErrReplayed) {
			t.Errorf("again: %v", err)
		}
		if err := f.UseOnce(t.Context(), f.org.ID, once); !errors.Is(err, store.ErrReplayed) {
			t.Errorf("without a grant: %v", err)
		}
		if err := f.UseOnce(t.Context(), newID(), once); err != nil {
			t.Errorf("in another organization: %v", err)
		}
	})
}

// changed returns a changed copy.
func changed[T any](of *T, change func(*T)) *T {
	c := *of
	change(&c)
	return &c
}
