package store_test

import (
	"errors"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// What a token rests on is read with it, as it is then.
func TestATokenStands(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		rec := agentidp.AccessToken{ID: newID(), OrganizationID: f.org.ID, Kind: agentidp.PrincipalAgent, AgentID: f.agent.AgentID, IssuedAt: now, ExpiresAt: now.Add(time.Minute)}
		admin := agentidp.AccessToken{ID: newID(), OrganizationID: f.org.ID, Kind: agentidp.PrincipalAdmin, IssuedAt: now, ExpiresAt: now.Add(time.Minute)}
		for _, token := range []*agentidp.AccessToken{&rec, &admin} {
			f.write(t, func(tx *store.Tx) error { return tx.CreateToken(ctx, token) })
		}
		stands := func(token agentidp.AccessToken, status agentidp.AgentStatus, revision int64) {
			t.Helper()
			got, err := f.Standing(ctx, f.org.ID, token.ID)
			same(t, got, &store.Standing{AccessToken: token, AgentStatus: status, OrganizationRevision: revision}, err)
		}
		stands(rec, agentidp.AgentActive, f.org.Revision)
		stands(admin, "", f.org.Revision)
		f.write(t, func(tx *store.Tx) error {
			return tx.UpdateAgent(ctx, changed(f.agent, func(a *agentidp.Agent) { a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1 }))
		})
		stands(rec, agentidp.AgentSuspended, f.org.Revision)
		f.write(t, func(tx *store.Tx) error {
			return tx.UpdateOrganization(ctx, changed(f.org, func(o *agentidp.Organization) { o.Status, o.Revision = agentidp.OrganizationClosed, o.Revision+1 }))
		})
		stands(rec, agentidp.AgentSuspended, 0)
		if _, err := f.OrganizationRevision(ctx, f.org.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a closed organization has a revision: %v", err)
		}
		if _, err := f.Standing(ctx, newID(), rec.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("in another organization: %v", err)
		}
	})
}

// A client is compared as the commit of a grant would.
func TestAClientStands(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		seen := &agentidp.Client{Agent: f.agent, Credential: f.newCredential(t, func(*agentidp.Credential) {})}
		other := newAgent(f.org.ID, "other@default.example")
		f.createAgent(t, other)
		stands := func(name string, org *agentidp.Organization, c *agentidp.Client, want error) {
			t.Helper()
			if err := f.ClientStands(ctx, org, c); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		stands("as seen", f.org, seen, nil)
		for name, c := range map[string]*agentidp.Client{
			"an agent that was seen before":      {Agent: changed(f.agent, func(a *agentidp.Agent) { a.Revision-- }), Credential: seen.Credential},
			"a credential that was seen before":  {Agent: f.agent, Credential: changed(seen.Credential, func(c *agentidp.Credential) { c.Revision-- })},
			"the credential of another agent":    {Agent: other, Credential: seen.Credential},
			"a credential that there is not":     {Agent: f.agent, Credential: changed(seen.Credential, func(c *agentidp.Credential) { c.CredentialID = newID() })},
			"a credential that has been revoked": {Agent: f.agent, Credential: f.newCredential(t, func(c *agentidp.Credential) { c.RevokedAt = new(now) })},
		} {
			stands(name, f.org, c, store.ErrStale)
		}
		stands("an organization that was seen before", changed(f.org, func(o *agentidp.Organization) { o.Revision-- }), seen, store.ErrStale)
		stands("another organization", changed(f.org, func(o *agentidp.Organization) { o.ID = newID() }), seen, store.ErrStale)
		suspended := changed(f.agent, func(a *agentidp.Agent) { a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1 })
		f.write(t, func(tx *store.Tx) error { return tx.UpdateAgent(ctx, suspended) })
		stands("a suspended agent", f.org, &agentidp.Client{Agent: suspended, Credential: seen.Credential}, store.ErrStale)
	})
}
