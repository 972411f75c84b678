package store_test

import (
	"errors"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// A proof is used up once, by whoever is first, of all who come at once; another key's
// and another organization's are others, whatever they are called.
func TestAProofIsUsedUpOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		proof := &agentidp.Proof{Thumbprint: "key", ID: "proof", Until: now.Add(time.Minute)}
		const clients = 8
		errs := make(chan error, clients)
		for range clients {
			go func() { errs <- f.UseProof(t.Context(), f.org.ID, proof) }()
		}
		first := 0
		for range clients {
			if err := <-errs; err == nil {
				first++
			} else if !errors.Is(err, store.ErrReplayed) {
				t.Error(err)
			}
		}
		same(t, first, 1, nil)
		same(t, f.UseProof(t.Context(), f.org.ID, &agentidp.Proof{Thumbprint: "key", ID: "another", Until: proof.Until}), nil, nil)
		same(t, f.UseProof(t.Context(), f.org.ID, &agentidp.Proof{Thumbprint: "another", ID: "proof", Until: proof.Until}), nil, nil)
		f.addOrganization(t, "other")
		same(t, f.UseProof(t.Context(), f.org.ID, proof), nil, nil)
	})
}

// The exchange that used a subject token up is found by it, whatever refusals there were
// since: of a registered provider and of the configuration's, and not beyond its own
// organization and provider.
func TestTheDecisionThatUsedAToken(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for _, provider := range []*agentidp.Provider{github, f.provider} {
			g, again := f.grant(), f.grant()
			g.Provider, again.Provider, again.ReplayKey = provider, provider, g.ReplayKey
			if err := f.Issue(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if err := f.Issue(t.Context(), again); !errors.Is(err, store.ErrReplayed) {
				t.Fatal(err)
			}
			f.record(t, now, deny(agentidp.CodeInvalidToken))
			got, err := f.DecisionThatUsed(t.Context(), f.org.ID, provider, g.ReplayKey)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got.ID+" "+got.TokenID+" "+string(got.Outcome), g.Decision.ID+" "+g.Token.ID+" allowed", nil)

			other := &agentidp.Provider{ID: newID(), Name: "other", Issuer: "https://other.example"}
			for _, nothing := range []struct {
				org string
				p   *agentidp.Provider
				key string
			}{{newID(), provider, g.ReplayKey}, {f.org.ID, other, g.ReplayKey}, {f.org.ID, provider, "unused"}} {
				if d, err := f.DecisionThatUsed(t.Context(), nothing.org, nothing.p, nothing.key); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%+v, %v", d, err)
				}
			}
		}
	})
}
