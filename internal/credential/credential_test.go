package credential

import (
	"context"
	"crypto"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// desk is a database with two agents of one organization and one of another, and a clock
// that stands still.
type desk struct {
	t   *testing.T
	url string // of the database
	*Authenticator
	db            *store.DB
	now           time.Time
	org, foreign  *agentidp.Organization
	agent, other  *agentidp.Agent
	foreignSecret string // of an agent of the foreign organization
}

func onEachEngine(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db")))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newDesk(t, pgtest.Start(t)))
	})
}

func newDesk(t *testing.T, url string) *desk {
	t.Helper()
	d := &desk{t: t, url: url, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	d.open(url)
	if err := d.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.org = &agentidp.Organization{ID: "a", Slug: "default", Issuer: "https://idp.example", Status: agentidp.OrganizationActive, Revision: 1}
	d.foreign = &agentidp.Organization{ID: "b", Slug: "b", Issuer: "https://idp.example/o/b", Status: agentidp.OrganizationActive, Revision: 1}
	for _, org := range []*agentidp.Organization{d.org, d.foreign} {
		d.write(func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), org) })
	}
	d.agent, d.other = d.newAgent(d.org), d.newAgent(d.org)
	_, d.foreignSecret = d.secret(d.newAgent(d.foreign), nil)
	return d
}

func (d *desk) open(url string) {
	d.t.Helper()
	clock := func() time.Time { return d.now }
	db, err := store.Open(d.t.Context(), url, store.Options{Clock: clock})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = db.Close() }) // some tests close it themselves
	d.db, d.Authenticator = db, New(Config{DB: db, Clock: clock})
}

func (d *desk) write(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(context.WithoutCancel(d.t.Context()), fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) newAgent(org *agentidp.Organization) *agentidp.Agent {
	d.t.Helper()
	a := &agentidp.Agent{AgentID: agentidp.NewID(d.now), OrganizationID: org.ID, Status: agentidp.AgentActive, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	a.Name = a.AgentID + "@acme.example"
	d.write(func(tx *store.Tx) error { return tx.CreateAgent(d.t.Context(), a) })
	return a
}

// create stores a credential of an agent.
func (d *desk) create(a *agentidp.Agent, typ agentidp.CredentialType, with func(*agentidp.Credential)) *agentidp.Credential {
	d.t.Helper()
	c := &agentidp.Credential{CredentialID: agentidp.NewID(d.now), OrganizationID: a.OrganizationID, AgentID: a.AgentID, CreatedAt: d.now, Revision: 1}
	c.Type = typ
	with(c)
	d.write(func(tx *store.Tx) error { return tx.CreateCredential(d.t.Context(), c) })
	return c
}

func (d *desk) secret(a *agentidp.Agent, expires *time.Time) (*agentidp.Credential, string) {
	d.t.Helper()
	var secret string
	c := d.create(a, agentidp.CredentialSecret, func(c *agentidp.Credential) {
		secret, c.SecretHash = NewSecret(c.CredentialID)
		c.ExpiresAt = expires
	})
	return c, secret
}

// key registers a new key of an agent.
func (d *desk) key(a *agentidp.Agent, alg string) (*agentidp.Credential, *jose.Signer) {
	d.t.Helper()
	signer := newSigner(d.t, alg)
	return d.register(a, signer), signer
}

func newSigner(t *testing.T, alg string) *jose.Signer {
	t.Helper()
	_, signer := newPair(t, alg)
	return signer
}

func newPair(t *testing.T, alg string) (crypto.Signer, *jose.Signer) {
	t.Helper()
	private, err := jose.GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(alg, private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

func (d *desk) register(a *agentidp.Agent, signers ...*jose.Signer) *agentidp.Credential {
	d.t.Helper()
	var keys []string
	for _, s := range signers {
		keys = append(keys, jwkOf(d.t, s))
	}
	return d.create(a, agentidp.CredentialPublicKey, func(c *agentidp.Credential) { c.JWKS = []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) })
}

func jwkOf(t testing.TB, s *jose.Signer) string {
	t.Helper()
	jwk, err := s.Public().JWK()
	if err != nil {
		t.Fatal(err)
	}
	return string(jwk)
}

func (d *desk) revoke(c *agentidp.Credential) {
	d.t.Helper()
	d.write(func(tx *store.Tx) error {
		now, err := tx.LockCredential(d.t.Context(), c.OrganizationID, c.CredentialID)
		if err != nil {
			return err
		}
		now.RevokedAt, now.Revision = &d.now, now.Revision+1
		return tx.UpdateCredential(d.t.Context(), now)
	})
}

func (d *desk) suspend(a *agentidp.Agent) {
	d.t.Helper()
	d.write(func(tx *store.Tx) error {
		now, err := tx.LockAgent(d.t.Context(), a.OrganizationID, a.AgentID)
		if err != nil {
			return err
		}
		now.Status, now.Revision = agentidp.AgentSuspended, now.Revision+1
		return tx.UpdateAgent(d.t.Context(), now)
	})
}

func withSecret(clientID, secret string) *Presented {
	return &Presented{ClientID: clientID, Secret: secret, Method: MethodSecretBasic}
}

// refused asserts how an authentication ended: as one of the client (why empty), or with
// invalid_client and a sentence with why in it.
func (d *desk) refused(name string, c *agentidp.Client, err error, why string) {
	d.t.Helper()
	if why == "" {
		if err != nil || c.Agent.AgentID != c.Credential.AgentID {
			d.t.Errorf("%s: %+v, %v", name, c, err)
		}
		return
	}
	e, ok := errors.AsType[*agentidp.Error](err)
	if !ok || e.Kind != agentidp.Unauthenticated || e.Code != agentidp.CodeInvalidClient || !strings.Contains(e.Message, why) {
		d.t.Errorf("%s: %v, want %q", name, err, why)
	}
}

const notProven = "there is no such client, or what was presented is none of its credentials"

// who is not the client learns nothing, and is answered alike.
func TestASecretIsOneClients(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		_, secret := d.secret(d.agent, nil)
		_, others := d.secret(d.other, nil)
		unknown, _ := NewSecret(agentidp.NewID(d.now))
		c, _ := d.secret(d.agent, nil)
		wrong, _ := NewSecret(c.CredentialID) // the right id, and another secret
		keyed, _ := d.key(d.agent, jose.ES256)
		ofKey, _ := NewSecret(keyed.CredentialID)
		id := d.agent.AgentID
		for name, tt := range map[string]struct {
			p   *Presented
			why string
		}{
			"its secret":                              {withSecret(id, secret), ""},
			"its secret in the body":                  {&Presented{ClientID: id, Secret: secret, Method: MethodSecretPost}, ""},
			"a secret that was never made":            {withSecret(id, unknown), notProven},
			"another secret with the credential's id": {withSecret(id, wrong), notProven},
			"a secret where there is a key":           {withSecret(id, ofKey), notProven},
			"the secret of another agent":             {withSecret(id, others), notProven},
			"its secret and another agent's id":       {withSecret(d.other.AgentID, secret), notProven},
			"its secret and no agent's id":            {withSecret("nobody", secret), notProven},
			"its secret and no id":                    {withSecret("", secret), notProven},
			"a secret of another organization":        {withSecret(id, d.foreignSecret), notProven},
			"what is no secret":                       {withSecret(id, "correct horse battery staple"), notProven},
			"nothing":                                 {withSecret(id, ""), notProven},
			"no method":                               {&Presented{ClientID: id, Secret: secret, Method: MethodNone}, "The client did not authenticate. Send client_id and client_secret"},
			"a secret as an assertion":                {&Presented{ClientID: id, Assertion: secret, Method: MethodPrivateKeyJWT}, notProven},
		} {
			for _, warm := range []string{"", ", again"} {
				got, err := d.Authenticate(t.Context(), d.org, tt.p)
				d.refused(name+warm, got, err, tt.why)
				got, err = d.AuthenticateNow(t.Context(), d.org, tt.p)
				d.refused(name+warm+", now", got, err, tt.why)
			}
		}
	})
}

// What ended says so to whoever proves to have it, at once, also where it is remembered.
func TestACredentialEnds(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		expires := d.now.Add(time.Hour)
		ctx, id := t.Context(), d.agent.AgentID
		revoked, secret := d.secret(d.agent, nil)
		_, short := d.secret(d.agent, &expires)
		keyed, signer := d.key(d.agent, jose.ES256)
		p := func() *Presented { return d.assertion(signer, nil) }
		for _, one := range []*Presented{withSecret(id, secret), withSecret(id, short), p()} {
			got, err := d.Authenticate(ctx, d.org, one)
			d.refused("at first", got, err, "")
		}
		d.revoke(revoked)
		d.revoke(keyed)
		wrong, _ := NewSecret(revoked.CredentialID)
		for name, tt := range map[string]struct {
			p   *Presented
			why string
		}{
			"another secret":     {withSecret(id, wrong), notProven},
			"one that is left":   {withSecret(id, short), ""},
			"a revoked key":      {p(), "revoked at 2026-11-21T12:00:00Z"},
			"one of another key": {d.assertion(newSigner(t, jose.ES256), nil), notProven},
		} {
			got, err := d.AuthenticateNow(ctx, d.org, tt.p)
			d.refused(name, got, err, tt.why)
		}
		// A remembered row lets it in, for the commit to find out; read again, it does not.
		seen := &agentidp.Client{Agent: d.agent, Credential: revoked, Method: MethodSecretBasic}
		_, err := d.Again(ctx, d.org, seen)
		d.refused("again", nil, err, "revoked at 2026-11-21T12:00:00Z")
		got, err := d.Authenticate(ctx, d.org, withSecret(id, secret))
		d.refused("a revoked secret", got, err, "revoked at 2026-11-21T12:00:00Z")
		got, err = d.Authenticate(ctx, d.org, p())
		d.refused("a revoked key that is remembered", got, err, "revoked at 2026-11-21T12:00:00Z")
		d.now = expires
		got, err = d.Authenticate(ctx, d.org, withSecret(id, short))
		d.refused("one that expired", got, err, "expired at 2026-11-21T13:00:00Z")
	})
}

// What is remembered grants only what the commit compares, and refuses nothing.
func TestNoRefusalRestsOnWhatIsRemembered(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	ctx, expires := t.Context(), d.now.Add(time.Minute)
	c, secret := d.secret(d.agent, &expires)
	p := withSecret(d.agent.AgentID, secret)
	authenticate := func(name, why string) {
		t.Helper()
		got, err := d.Authenticate(ctx, d.org, p)
		d.refused(name, got, err, why)
	}
	authenticate("at first", "")
	d.write(func(tx *store.Tx) error { // it lives longer now
		longer := *c
		longer.ExpiresAt, longer.Revision = new(expires.Add(time.Hour)), 2
		return tx.UpdateCredential(ctx, &longer)
	})
	d.now = expires
	authenticate("prolonged", "")

	first := newSigner(t, jose.ES256)
	d.register(d.agent, first)
	p = d.assertion(first, nil)
	authenticate("a key", "")
	second := newSigner(t, jose.ES384)
	p = d.assertion(second, nil)
	authenticate("a key that is not registered", notProven)
	d.register(d.agent, second)
	p = d.assertion(second, nil)
	authenticate("a key that was just registered", "")

	// One key may be that of two credentials, as when it is given another end.
	old := d.register(d.agent, first)
	again := func(name string) {
		t.Helper()
		got, err := d.AuthenticateNow(ctx, d.org, d.assertion(first, nil))
		d.refused(name, got, err, "")
	}
	again("a key of two credentials")
	for _, ended := range d.keysBut(old) {
		d.revoke(ended)
	}
	again("a key of two credentials, of which one was revoked")
	d.register(d.agent, first)
	d.revoke(old)
	again("a key that was registered again before its credential was revoked")
}

// keysBut returns the agent's credentials that are public keys, but one.
func (d *desk) keysBut(one *agentidp.Credential) (all []*agentidp.Credential) {
	d.t.Helper()
	found, err := d.DB.KeyCredentials(d.t.Context(), d.org.ID, d.agent.AgentID, d.now, 100)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range found {
		if found[i].CredentialID != one.CredentialID {
			all = append(all, &found[i])
		}
	}
	return all
}

// Strangers take no room: only what is in the database is remembered.
func TestStrangersTakeNoRoom(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	signer := newSigner(t, jose.ES256)
	for range 5 {
		id := agentidp.NewID(d.now)
		secret, _ := NewSecret(id)
		for _, p := range []*Presented{withSecret(id, secret), d.assertion(signer, map[string]any{"iss": id, "sub": id})} {
			if _, err := d.Authenticate(t.Context(), d.org, p); err == nil {
				t.Fatal("authenticated")
			}
		}
	}
	if n := d.cache.credentials.Len() + d.cache.signers.Len() + d.cache.agents.Len(); n != 0 {
		t.Errorf("%d entries", n)
	}
}

// Whoever asks now is told of the agent; whoever issues decides by itself.
func TestAClientWhoseAgentIsNotActive(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		_, secret := d.secret(d.agent, nil)
		p := withSecret(d.agent.AgentID, secret)
		d.suspend(d.agent)
		got, err := d.Authenticate(t.Context(), d.org, p)
		d.refused("to issue", got, err, "")
		if got.Agent.Status != agentidp.AgentSuspended {
			t.Errorf("the agent is %s", got.Agent.Status)
		}
		_, err = d.AuthenticateNow(t.Context(), d.org, p)
		d.refused("now", nil, err, "The agent is suspended")
	})
}

// The organization may have been read a while ago.
func TestAnOrganizationThatHasChanged(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		_, secret := d.secret(d.agent, nil)
		p := withSecret(d.agent.AgentID, secret)
		change := func(status agentidp.OrganizationStatus) {
			d.write(func(tx *store.Tx) error {
				org, err := tx.LockOrganization(t.Context(), d.org.ID)
				if err != nil {
					return err
				}
				org.Status, org.Revision = status, org.Revision+1
				return tx.UpdateOrganization(t.Context(), org)
			})
		}
		change(agentidp.OrganizationActive)
		got, err := d.AuthenticateNow(t.Context(), d.org, p)
		d.refused("its keys were rotated", got, err, "")
		change(agentidp.OrganizationClosed)
		_, err = d.AuthenticateNow(t.Context(), d.org, p)
		if e := agentidp.AsError(err); e.Kind != agentidp.NotFound {
			t.Errorf("it was closed: %v", err)
		}
	})
}

// What cannot be looked up is neither authenticated nor refused.
func TestWithoutStorageNobodyIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	_, secret := d.secret(d.agent, nil)
	_, signer := d.key(d.agent, jose.ES256)
	p := withSecret(d.agent.AgentID, secret)
	c, err := d.Authenticate(t.Context(), d.org, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, again := d.Again(t.Context(), d.org, c)
	_, now := d.AuthenticateNow(t.Context(), d.org, p)
	_, assertion := d.Authenticate(t.Context(), d.org, d.assertion(signer, nil))
	for name, err := range map[string]error{"again": again, "now": now, "an assertion": assertion} {
		if e := agentidp.AsError(err); e.Kind != agentidp.Unavailable || e.RetryAfter == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Authenticate(t.Context(), d.org, p); err != nil {
		t.Errorf("remembered, for a commit that will not come: %v", err)
	}
}
