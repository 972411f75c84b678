package store_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// newCredential is a secret of the fixture's agent, unless changed.
func (f *fixture) newCredential(t testing.TB, change func(*agentidp.Credential)) *agentidp.Credential {
	t.Helper()
	c := &agentidp.Credential{
		CredentialID: newID(), OrganizationID: f.org.ID, AgentID: f.agent.AgentID,
		CredentialSpec: agentidp.CredentialSpec{Type: agentidp.CredentialSecret, Description: "in the vault"},
		SecretHash:     "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", CreatedBy: "admin:1", CreatedAt: now, Revision: 1,
	}
	change(c)
	c.ClientID = c.AgentID
	f.write(t, func(tx *store.Tx) error { return tx.CreateCredential(t.Context(), c) })
	return c
}

func TestCredentialsReadAsTheyWereWritten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		plain := f.newCredential(t, func(*agentidp.Credential) {})
		keys := f.newCredential(t, func(c *agentidp.Credential) {
			c.Type, c.SecretHash, c.JWKS = agentidp.CredentialPublicKey, "", []byte(`{"keys":[]}`)
			c.ExpiresAt, c.RevokedAt = new(now.Add(time.Hour)), new(now.Add(time.Minute))
			c.Scopes = []string{"deploy:staging", "deploy:production"}
		})
		nothing := f.newCredential(t, func(c *agentidp.Credential) { c.Scopes = []string{} }) // which is not no bound
		for _, want := range []*agentidp.Credential{plain, keys, nothing} {
			got, err := f.Credential(ctx, f.org.ID, want.CredentialID)
			same(t, got, want, err)
		}
		store.Exec(t, f.DB, "INSERT INTO credential_usage (organization_id, credential_id, last_used_at) VALUES ($1, $2, $3)",
			f.org.ID, plain.CredentialID, now.UnixMicro())
		store.Exec(t, f.DB, "INSERT INTO credential_usage (organization_id, credential_id, last_used_at) VALUES ($1, $2, $3)",
			newID(), keys.CredentialID, now.UnixMicro()) // of another organization
		plain.LastUsedAt = new(now)
		got, err := f.Credentials(ctx, f.org.ID, f.agent.AgentID, "", 10)
		same(t, got, []agentidp.Credential{*plain, *keys, *nothing}, err)
		if err := f.Write(ctx, func(tx *store.Tx) error { return tx.CreateCredential(ctx, plain) }); !errors.Is(err, store.ErrExists) {
			t.Errorf("the same id again: %v, want ErrExists", err)
		}
	})
}

func TestOfACredentialOnlyItsEndCanChange(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		c := f.newCredential(t, func(*agentidp.Credential) {})
		next := *c
		next.Description, next.SecretHash, next.AgentID = "elsewhere", "another", newID()
		next.ExpiresAt, next.RevokedAt, next.Revision = new(now.Add(time.Hour)), new(now), 2
		update := func(c agentidp.Credential) error {
			return f.Write(ctx, func(tx *store.Tx) error { return tx.UpdateCredential(ctx, &c) })
		}
		if err := update(next); err != nil {
			t.Fatal(err)
		}
		want := *c
		want.ExpiresAt, want.RevokedAt, want.Revision = next.ExpiresAt, next.RevokedAt, 2
		got, err := f.Credential(ctx, f.org.ID, c.CredentialID)
		same(t, got, &want, err)
		gone, foreign := next, next
		gone.CredentialID, gone.Revision = newID(), 3
		foreign.OrganizationID, foreign.Revision = newID(), 3
		for name, c := range map[string]agentidp.Credential{"the same revision again": next, "one that is gone": gone, "another organization's": foreign} {
			if err := update(c); !errors.Is(err, store.ErrStale) {
				t.Errorf("%s: %v, want ErrStale", name, err)
			}
		}
	})
}

func TestLiveCredentialsOfAnAgentAreCountedAndListed(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		endless := f.newCredential(t, func(*agentidp.Credential) {})
		ending := f.newCredential(t, func(c *agentidp.Credential) { c.ExpiresAt = new(now.Add(time.Microsecond)) })
		f.newCredential(t, func(c *agentidp.Credential) { c.ExpiresAt = new(now) })
		f.newCredential(t, func(c *agentidp.Credential) { c.RevokedAt = new(now) })
		f.newCredential(t, func(c *agentidp.Credential) { c.AgentID = newID() })
		f.newCredential(t, func(c *agentidp.Credential) { c.OrganizationID = newID() })
		n, err := f.CountLiveCredentials(t.Context(), f.org.ID, f.agent.AgentID, now)
		same(t, n, 2, err)
		live, err := f.LiveCredentials(t.Context(), f.org.ID, f.agent.AgentID, now)
		same(t, live, []agentidp.Credential{*endless, *ending}, err)
	})
}

func TestCredentialsAreListedInPages(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		var all []string
		for range 3 {
			all = append(all, f.newCredential(t, func(*agentidp.Credential) {}).CredentialID)
			f.newCredential(t, func(c *agentidp.Credential) { c.AgentID = newID() })
		}
		own, agent := f.org.ID, f.agent.AgentID
		page := func(orgID, after string) []string {
			credentials, err := f.Credentials(t.Context(), orgID, agent, after, 2)
			return idsOf(t, credentials, err, func(c agentidp.Credential) string { return c.CredentialID })
		}
		same(t, page(own, ""), all[:2], nil)
		same(t, page(own, all[1]), all[2:], nil)
		same(t, page(newID(), ""), []string{}, nil)
	})
}

func TestTheCredentialsOfAnAgentAreServedByTheirIndex(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	text, args := store.CredentialsQuery(f.org.ID, f.agent.AgentID, newID(), 50)
	plan := store.Plan(t, f.DB, text, args...)
	if !slices.ContainsFunc(plan, func(step string) bool {
		return strings.Contains(step, "USING INDEX credentials_agent") && strings.Contains(step, "id>?")
	}) {
		t.Errorf("SQLite: %q", plan)
	}
	few := map[string][]any{ // what they find they sort: the credentials of one agent are few
		store.KeyCredentialsQuery:        {f.org.ID, "a7", "public_key", 10, 50},
		store.KeyCredentialVersionsQuery: {f.org.ID, "a7", "public_key", 50},
		store.SuperfluousQuery:           {f.org.ID, "a7", 10, 50, 100},
	}
	for text, args := range few {
		plan := store.Plan(t, f.DB, text, args...)
		if !strings.Contains(plan[0], "USING INDEX credentials_agent (organization_id=? AND agent_id=?)") {
			t.Errorf("SQLite: %q", plan)
		}
	}
	for index, text := range store.EndedCredentials {
		plan := strings.Join(store.Plan(t, f.DB, text, f.org.ID, 1000, 50), "; ")
		if !strings.Contains(plan, "USING COVERING INDEX "+index) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("SQLite: %s", plan)
		}
	}
	f = newFixture(t, pgtest.Start(t))
	store.Exec(t, f.DB, `INSERT INTO credentials (organization_id, id, agent_id, type, description, scopes, secret_hash, jwks, expires_at, revoked_at, created_by, created_at, revision)
		SELECT $1, 'x' || g, 'a' || g % 2000, '', '', '', '', '', g % 50, g % 50, '', 0, 1 FROM generate_series(1, 20000) g`, f.org.ID)
	store.Exec(t, f.DB, "ANALYZE")
	text, args = store.CredentialsQuery(f.org.ID, "a7", newID(), 50)
	if plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, args...), "\n"); !strings.Contains(plan, "using credentials_agent ") || strings.Contains(plan, "Sort") {
		t.Errorf("PostgreSQL:\n%s", plan)
	}
	for text, args := range few {
		args[0] = f.org.ID
		plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, args...), "\n")
		if !strings.Contains(plan, " credentials_agent ") || strings.Contains(plan, "Seq Scan on credentials ") {
			t.Errorf("PostgreSQL:\n%s", plan)
		}
	}
	for index, text := range store.EndedCredentials {
		plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, f.org.ID, 10, 50), "\n")
		if !strings.Contains(plan, "using "+index+" ") || strings.Contains(plan, "Sort") {
			t.Errorf("PostgreSQL:\n%s", plan)
		}
	}
}

// What lives comes first, so that what ended can crowd it out of no list.
func TestKeysOfAnAgent(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		key := func(change func(*agentidp.Credential)) *agentidp.Credential {
			return f.newCredential(t, func(c *agentidp.Credential) {
				c.Type, c.SecretHash, c.JWKS = agentidp.CredentialPublicKey, "", []byte(`{"keys":[]}`)
				change(c)
			})
		}
		f.newCredential(t, func(*agentidp.Credential) {}) // a secret
		old := key(func(*agentidp.Credential) {})
		revoked := key(func(c *agentidp.Credential) { c.RevokedAt = new(now) })
		young := key(func(*agentidp.Credential) {})
		expired := key(func(c *agentidp.Credential) { c.ExpiresAt = new(now) })
		ending := key(func(c *agentidp.Credential) { c.ExpiresAt = new(now.Add(time.Second)) })
		key(func(c *agentidp.Credential) { c.AgentID = newID() })
		for limit, want := range map[int][]agentidp.Credential{10: {*ending, *young, *old, *expired, *revoked}, 3: {*ending, *young, *old}} {
			got, err := f.KeyCredentials(ctx, f.org.ID, f.agent.AgentID, now, limit)
			same(t, got, want, err)
		}
		got, err := f.KeyCredentials(ctx, newID(), f.agent.AgentID, now, 10)
		same(t, got, []agentidp.Credential{}, err)

		young.RevokedAt, young.Revision = new(now), 2
		f.write(t, func(tx *store.Tx) error { return tx.UpdateCredential(ctx, young) })
		all := []store.CredentialVersion{{ending.CredentialID, 1}, {expired.CredentialID, 1}, {young.CredentialID, 2}, {revoked.CredentialID, 1}, {old.CredentialID, 1}}
		for limit, want := range map[int][]store.CredentialVersion{10: all, 3: all[:3]} {
			got, err := f.KeyCredentialVersions(ctx, f.org.ID, f.agent.AgentID, limit)
			same(t, got, want, err)
		}
		none, err := f.KeyCredentialVersions(ctx, newID(), f.agent.AgentID, 10)
		same(t, none, []store.CredentialVersion{}, err)
		if revision, err := f.CredentialRevision(ctx, f.org.ID, young.CredentialID); revision != 2 || err != nil {
			t.Errorf("revision %d, %v", revision, err)
		}
		if _, err := f.CredentialRevision(ctx, newID(), young.CredentialID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of another organization: %v", err)
		}
	})
}

// Of what ended, the newest ends are kept; what lives is not touched, nor is anybody else's.
func TestEndedCredentialsAreForgotten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		ago := func(d time.Duration) *time.Time { return new(now.Add(-d)) }
		revoked := func(d time.Duration) string {
			return f.newCredential(t, func(c *agentidp.Credential) { c.RevokedAt = ago(d) }).CredentialID
		}
		last := revoked(time.Minute)
		later := f.newCredential(t, func(c *agentidp.Credential) { c.ExpiresAt, c.RevokedAt = ago(5*time.Minute), ago(2*time.Minute) }).CredentialID
		expired := f.newCredential(t, func(c *agentidp.Credential) { c.ExpiresAt = ago(3 * time.Minute) }).CredentialID
		first := revoked(4 * time.Minute)
		for _, id := range []string{first, expired} {
			store.Exec(t, f.DB, "INSERT INTO credential_usage (organization_id, credential_id, last_used_at) VALUES ($1, $2, 1)", f.org.ID, id)
		}
		live := f.newCredential(t, func(c *agentidp.Credential) { c.ExpiresAt = ago(-time.Hour) }).CredentialID
		others := f.newCredential(t, func(c *agentidp.Credential) { c.AgentID, c.RevokedAt = newID(), ago(time.Hour) })
		foreign := f.newCredential(t, func(c *agentidp.Credential) { c.OrganizationID, c.RevokedAt = newID(), ago(time.Hour) })

		forget := func(at time.Time, keep int) []string {
			f.write(t, func(tx *store.Tx) error { return tx.ForgetEnded(ctx, f.org.ID, f.agent.AgentID, at, keep) })
			left, err := f.Credentials(ctx, f.org.ID, f.agent.AgentID, "", 10)
			return idsOf(t, left, err, func(c agentidp.Credential) string { return c.CredentialID })
		}
		same(t, forget(now, 4), []string{last, later, expired, first, live}, nil)
		same(t, forget(now, 3), []string{last, later, expired, live}, nil)
		same(t, store.Strings(t, f.DB, "SELECT credential_id FROM credential_usage"), []string{expired}, nil)
		same(t, forget(now.Add(1000*time.Hour), 2), []string{last, live}, nil) // by a clock that is ahead
		for _, c := range []*agentidp.Credential{others, foreign} {
			if _, err := f.Credential(ctx, c.OrganizationID, c.CredentialID); err != nil {
				t.Errorf("somebody else's: %v", err)
			}
		}
	})
}
