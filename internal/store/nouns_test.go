package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestEverythingReadsAsItWasWritten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, org := t.Context(), f.org.ID

		got, err := f.Organization(ctx, "default")
		same(t, got, f.org, err)
		other := *f
		other.addOrganization(t, "acme")
		other.org.CreatedAt = f.org.CreatedAt // of one instant: by id
		all, err := f.Organizations(ctx)
		same(t, all, []agentidp.Organization{*f.org, *other.org}, err)
		providers, err := f.Providers(ctx, org, "", 10)
		same(t, providers, []agentidp.Provider{*f.provider}, err)
		policy, err := f.Policy(ctx, org, f.policy.ID)
		same(t, policy, f.policy, err)
		agent, err := f.Agent(ctx, org, f.agent.AgentID)
		same(t, agent, f.agent, err)
		agent, err = f.AgentByName(ctx, org, "DEPLOYER@Default.example")
		same(t, agent, f.agent, err)

		static := &agentidp.Provider{
			ID: newID(), OrganizationID: org, Name: "static", Kind: "oidc", Issuer: "https://static.example", Algorithms: []string{"ES256"},
			JWKS: []byte(`{"keys":[]}`), MaxTokenAge: 90 * time.Second, Replay: agentidp.ReplayAllow, Revision: 1, CreatedAt: now, UpdatedAt: now.Add(time.Second),
		}
		f.write(t, func(tx *store.Tx) error { return tx.CreateProvider(ctx, static) })
		providers, err = f.Providers(ctx, org, "", 10)
		same(t, providers, []agentidp.Provider{*f.provider, *static}, err)
		providers, err = f.Providers(ctx, org, f.provider.ID, 10)
		same(t, providers, []agentidp.Provider{*static}, err)
		provider, err := f.Provider(ctx, org, "static")
		same(t, provider, static, err)
		provider, err = f.ProviderByIssuer(ctx, org, "https://static.example")
		same(t, provider, static, err)

		bare := &agentidp.TrustPolicy{ID: newID(), OrganizationID: org, CreatedAt: now, UpdatedAt: now, Revision: 1,
			TrustPolicySpec: agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/bare", Mode: agentidp.ModeEnforce}}
		f.createPolicy(t, bare)
		policy, err = f.Policy(ctx, org, bare.ID)
		same(t, policy, bare, err)

		token := f.grant().Token
		token.RevokedAt = now
		f.write(t, func(tx *store.Tx) error { return tx.CreateToken(ctx, &token) })
		gotToken, err := f.Token(ctx, org, token.ID)
		same(t, gotToken, &token, err)

		first, second := f.event(agentidp.EventPolicyCreated, ""), f.event(agentidp.EventAgentRegistered, "")
		second.Data = nil
		f.write(t, func(tx *store.Tx) error { return tx.Append(ctx, first, second) })
		events, err := f.Events(ctx, org, &agentidp.EventFilter{}, "", 10)
		same(t, events, []agentidp.Event{second, first}, err)
	})
}

func TestKeysAndSettingsReadAsTheyWereWritten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, org := t.Context(), f.org.ID

		older := store.SigningKey{OrganizationID: org, KeyID: "b", Algorithm: "ES256", PublicJWK: []byte(`{"kty":"EC"}`), SealedPrivateKey: []byte{0, 1, 255}, CreatedAt: now}
		newer := older
		newer.KeyID, newer.CreatedAt = "a", now.Add(time.Second)
		newer.SignsFrom, newer.SignsUntil, newer.CompromisedAt = now.Add(time.Minute), now.Add(time.Hour), now.Add(2*time.Hour)
		f.write(t, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSigningKey(ctx, &newer), tx.CreateSigningKey(ctx, &older))
		})
		keys, err := f.SigningKeys(ctx, org)
		same(t, keys, []store.SigningKey{older, newer}, err)
		older.SealedPrivateKey, older.SignsFrom, older.SignsUntil, older.CompromisedAt = []byte{}, now, now.Add(time.Hour), now.Add(time.Second)
		f.write(t, func(tx *store.Tx) error { return tx.UpdateSigningKey(ctx, &older) })
		keys, err = f.SigningKeys(ctx, org)
		same(t, keys, []store.SigningKey{older, newer}, err)
		foreign := newer
		foreign.OrganizationID = newID()
		if err := f.Write(ctx, func(tx *store.Tx) error { return tx.UpdateSigningKey(ctx, &foreign) }); !errors.Is(err, store.ErrStale) {
			t.Errorf("another organization's key: %v, want ErrStale", err)
		}

		f.write(t, func(tx *store.Tx) error { return tx.PutSetting(ctx, "master_key_check", "x") })
		value, err := f.Setting(ctx, "master_key_check")
		same(t, value, "x", err)

		const source = "https://issuer.example/jwks"
		save := func(jwks string, at time.Time) {
			f.write(t, func(tx *store.Tx) error { return tx.SaveKeySet(ctx, source, []byte(jwks), at) })
		}
		save("1", now)
		save("2", now.Add(time.Minute))
		save("fetched before the second", now.Add(time.Second))
		set, err := f.KeySet(ctx, source)
		same(t, string(set.JWKS), "2", err)
		same(t, set.FetchedAt, now.Add(time.Minute), nil)
	})
}

// Of nodes that want an issuer's keys at the same time one fetches them, and the others
// are told what it did.
func TestWhoFetchesAKeySet(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const source = "https://issuer.example/jwks"
		ask := func(at time.Time) (ours bool) {
			f.write(t, func(tx *store.Tx) (err error) {
				ours, err = tx.AskKeySet(ctx, source, at, at.Add(-5*time.Second), at.Add(30*time.Second))
				return err
			})
			return ours
		}
		state := func(want store.KeySet) {
			t.Helper()
			set, err := f.KeySet(ctx, source)
			if err != nil {
				t.Fatal(err)
			}
			same(t, *set, want, nil)
		}
		for _, at := range []time.Time{now, now.Add(time.Hour)} { // the first time, and with a row that is there
			var ours atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if ask(at) {
						ours.Add(1)
					}
				})
			}
			wg.Wait()
			same(t, ours.Load(), 1, nil)
			state(store.KeySet{AskedAt: at})
		}
		later := now.Add(time.Hour)
		for _, tt := range []struct {
			name string
			at   time.Time
			want bool
		}{
			{"a moment later", later.Add(5*time.Second - time.Microsecond), false},
			{"by a clock that is a little behind", later.Add(-30 * time.Second), false},
			{"five seconds later", later.Add(5 * time.Second), true},
			{"by a clock that was set back", later.Add(-time.Hour), true},
		} {
			if got := ask(tt.at); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		asked := later.Add(-time.Hour)
		f.write(t, func(tx *store.Tx) error { return tx.KeySetFailed(ctx, source, asked.Add(time.Second)) })
		state(store.KeySet{AskedAt: asked, FailedAt: asked.Add(time.Second)})
		f.write(t, func(tx *store.Tx) error { return tx.SaveKeySet(ctx, source, []byte("1"), later) })
		state(store.KeySet{JWKS: []byte("1"), FetchedAt: later, AskedAt: asked, FailedAt: asked.Add(time.Second)})

		// One is kept for as long as it was fetched, or asked for, since then.
		forget := func(before time.Time) {
			if err := f.ForgetKeySets(ctx, before); err != nil {
				t.Fatal(err)
			}
		}
		forget(later)
		state(store.KeySet{JWKS: []byte("1"), FetchedAt: later, AskedAt: asked, FailedAt: asked.Add(time.Second)})
		ask(later.Add(time.Hour))
		forget(later.Add(time.Hour))
		if _, err := f.KeySet(ctx, source); err != nil {
			t.Error(err)
		}
		forget(later.Add(time.Hour + time.Microsecond))
		if _, err := f.KeySet(ctx, source); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	})
}

func TestWhatIsNotThereIsErrNotFound(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, org, none := t.Context(), f.org.ID, newID()
		mine := f.newCredential(t, func(*agentidp.Credential) {})
		f.addOrganization(t, "other") // what f has now belongs to somebody else
		reads := map[string]func() error{
			"organization":       func() error { _, err := f.Organization(ctx, "nobody"); return err },
			"provider":           func() error { _, err := f.Provider(ctx, org, "none"); return err },
			"provider by issuer": func() error { _, err := f.ProviderByIssuer(ctx, org, f.provider.Issuer+"/"); return err },
			"another organization's provider to lock": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockProvider(ctx, none, f.provider.Name); return err })
			},
			"another organization's provider to delete": func() error {
				return f.Write(ctx, func(tx *store.Tx) error {
					return tx.DeleteProvider(ctx, &agentidp.Provider{OrganizationID: org, ID: f.provider.ID, Name: f.provider.Name})
				})
			},
			"provider to hold": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { return tx.HoldProvider(ctx, org, "none") })
			},
			"policy":                        func() error { _, err := f.Policy(ctx, org, none); return err },
			"another organization's policy": func() error { _, err := f.Policy(ctx, org, f.policy.ID); return err },
			"agent":                         func() error { _, err := f.Agent(ctx, org, none); return err },
			"another organization's agent":  func() error { _, err := f.Agent(ctx, org, f.agent.AgentID); return err },
			"credential":                    func() error { _, err := f.Credential(ctx, org, none); return err },
			"another organization's credential": func() error {
				_, err := f.Credential(ctx, f.org.ID, mine.CredentialID)
				return err
			},
			"another organization's credential to lock": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockCredential(ctx, f.org.ID, mine.CredentialID); return err })
			},
			"agent by name": func() error { _, err := f.AgentByName(ctx, org, "nobody@x"); return err },
			"token":         func() error { _, err := f.Token(ctx, org, none); return err },
			"decision":      func() error { _, err := f.Decision(ctx, org, none); return err },
			"pin":           func() error { _, err := f.Pin(ctx, org, "github", "acme/deploy"); return err },
			"setting":       func() error { _, err := f.Setting(ctx, "none"); return err },
			"key set":       func() error { _, err := f.KeySet(ctx, "https://none"); return err },
			"organization to lock": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockOrganization(ctx, none); return err })
			},
			"policy to lock": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockPolicy(ctx, org, none); return err })
			},
			"another organization's to lock": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockAgent(ctx, org, f.agent.AgentID); return err })
			},
			"policy to delete": func() error { return f.Write(ctx, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, org, none) }) },
			"another organization's to delete": func() error {
				return f.Write(ctx, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, org, f.policy.ID) })
			},
		}
		for name, read := range reads {
			if err := read(); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
	})
}

func TestWhatMustBeUniqueIsErrExistsAndTheTransactionGoesOn(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		mine := newAgent(f.org.ID, "DEPLOYER@default.EXAMPLE")
		sameSlug := *f.org
		sameSlug.ID = newID()
		sameName, sameIssuer := *f.provider, *f.provider
		sameName.ID, sameName.Issuer = newID(), "https://elsewhere.example"
		sameIssuer.ID, sameIssuer.Name = newID(), "elsewhere"
		key := &store.SigningKey{OrganizationID: f.org.ID, KeyID: "k", CreatedAt: now}
		f.write(t, func(tx *store.Tx) error {
			return errors.Join(tx.CreateSigningKey(ctx, key), tx.PutSetting(ctx, "s", "first"))
		})
		creates := map[string]func(*store.Tx) error{
			"organization with the same slug": func(tx *store.Tx) error { return tx.CreateOrganization(ctx, &sameSlug) },
			"provider with the same name":     func(tx *store.Tx) error { return tx.CreateProvider(ctx, &sameName) },
			"provider with the same issuer":   func(tx *store.Tx) error { return tx.CreateProvider(ctx, &sameIssuer) },
			"policy with the same fingerprint": func(tx *store.Tx) error {
				return tx.CreatePolicy(ctx, newPolicy(f.org.ID, "a/b", ""), "fingerprint of "+f.policy.ID)
			},
			"agent whose name differs in case": func(tx *store.Tx) error { return tx.CreateAgent(ctx, mine) },
			"signing key with the same id":     func(tx *store.Tx) error { return tx.CreateSigningKey(ctx, key) },
			"setting that was put":             func(tx *store.Tx) error { return tx.PutSetting(ctx, "s", "second") },
		}
		for name, create := range creates {
			f.write(t, func(tx *store.Tx) error {
				if err := create(tx); !errors.Is(err, store.ErrExists) {
					t.Errorf("%s: %v, want ErrExists", name, err)
				}
				_, err := tx.AgentByName(ctx, f.org.ID, mine.Name)
				return err
			})
		}
	})
}

func TestListsGoOnAfterAnID(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, org := t.Context(), f.org.ID
		agents := []string{f.agent.AgentID}
		policies := []string{f.policy.ID}
		for _, name := range []string{"c@x", "a@x", "b@x"} {
			a, p := newAgent(org, name), newPolicy(org, "acme/"+name, "")
			f.createAgent(t, a)
			f.createPolicy(t, p)
			agents, policies = append(agents, a.AgentID), append(policies, p.ID)
		}
		page := func(after string) (gotAgents, gotPolicies []string) {
			as, err := f.Agents(ctx, org, &agentidp.AgentFilter{}, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range as {
				gotAgents = append(gotAgents, a.AgentID)
			}
			ps, err := f.Policies(ctx, org, &agentidp.PolicyFilter{}, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ps {
				gotPolicies = append(gotPolicies, p.ID)
			}
			return gotAgents, gotPolicies
		}
		gotAgents, gotPolicies := page("")
		same(t, gotAgents, agents[:3], nil)
		same(t, gotPolicies, policies[:3], nil)
		gotAgents, _ = page(agents[2])
		same(t, gotAgents, agents[3:], nil)
		_, gotPolicies = page(policies[2])
		same(t, gotPolicies, policies[3:], nil)
	})
}

func TestTheRowsOfTwoOrganizationsNeverMix(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		other := *f
		other.addOrganization(t, "other") // the same repository, provider names and issuers
		subject := f.grant()
		twin := other.grant()
		twin.ReplayKey = subject.ReplayKey
		for _, g := range []*store.Grant{subject, twin} {
			if err := f.Issue(ctx, g); err != nil {
				t.Fatalf("each organization has its own pins and used tokens: %v", err)
			}
		}
		for _, side := range []*fixture{f, &other} {
			org := side.org.ID
			candidates, err := f.Candidates(ctx, org, "github", "acme/deploy", "74")
			if err != nil || len(candidates) != 1 || candidates[0].ID != side.policy.ID {
				t.Errorf("candidates of %s: %v, %v", org, candidates, err)
			}
			agents, err := f.Agents(ctx, org, &agentidp.AgentFilter{}, "", 10)
			if err != nil || len(agents) != 1 || agents[0].AgentID != side.agent.AgentID {
				t.Errorf("agents of %s: %v, %v", org, agents, err)
			}
			for _, e := range side.allEvents(t) {
				if e.OrganizationID != org {
					t.Errorf("%s shows an event of %s", org, e.OrganizationID)
				}
			}
			if n := len(side.allEvents(t)); n != 2 {
				t.Errorf("%s has %d events, want 2", org, n)
			}
		}
		crossed := f.grant() // this organization's records, that organization's policy
		crossed.Policy = other.policy
		if err := f.Issue(ctx, crossed); !errors.Is(err, store.ErrStale) {
			t.Errorf("a grant under another organization's policy: %v, want ErrStale", err)
		}
	})
}

func TestLivingAgentsOfAPolicyAreCounted(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for name, status := range map[string]agentidp.AgentStatus{"a@x": agentidp.AgentActive, "b@x": agentidp.AgentSuspended, "c@x": agentidp.AgentDecommissioned} {
			a := newAgent(f.org.ID, name)
			a.Status, a.RegisteredBy.PolicyID = status, f.policy.ID
			f.createAgent(t, a)
		}
		n, err := f.CountLivingAgents(t.Context(), f.org.ID, f.policy.ID)
		same(t, n, 2, err)
	})
}

// same fails the test unless err is nil and got is want.
func same[T any](t testing.TB, got, want T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
