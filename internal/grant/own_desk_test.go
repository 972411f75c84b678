package grant_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/grant"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// The audiences of the desk.
const (
	issuer = "https://idp.example"
	api    = issuer + "/api/v1"
	one    = "https://one.example"
	two    = "https://two.example"
	other  = "https://other.example"
)

// ownDesk is a database with an organization, a policy and three agents, of which the
// first lets the second act for it, and a clock that stands still.
type ownDesk struct {
	t       testing.TB
	db      *store.DB
	tokens  *token.Tokens
	granter *grant.Granter
	org     *agentidp.Organization
	now     time.Time
	asked   int    // how often the granter asked for the time
	at      int    // before which of these between runs; 0: the second
	between func() // runs once, between what an exchange reads of agents and its commit

	subject, actor, stranger *agentidp.Agent
	policy                   *agentidp.TrustPolicy
}

func newOwnDesk(t *testing.T) *ownDesk {
	t.Helper()
	d := &ownDesk{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return d.now }
	var err error
	if d.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"), store.Options{Clock: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() }) // one test closes it itself
	if err := d.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	master, err := keys.Unlock(t.Context(), d.db, keys.MasterKeySource{Value: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		t.Fatal(err)
	}
	d.tokens = token.New(d.db, keys.NewRing(d.db, master, "ES256", clock), clock, 0)
	d.org = &agentidp.Organization{ID: "a", Slug: "default", Issuer: issuer, Status: agentidp.OrganizationActive, Revision: 1}
	d.write(func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), d.org) })
	d.actor, d.stranger = d.agent(nil), d.agent(nil)
	d.subject = d.agent(func(a *agentidp.Agent) {
		a.Capabilities, a.MayDelegateTo = []string{"deploy:staging", "deploy:production", "agents:read"}, []string{d.actor.AgentID}
		a.Audiences = []string{one, other}
	})
	d.policy = &agentidp.TrustPolicy{ID: agentidp.NewID(d.now), OrganizationID: d.org.ID, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	d.policy.Provider, d.policy.Repository, d.policy.Mode, d.policy.Audiences = "github", "acme/deploy", agentidp.ModeEnforce, []string{one, two, api}
	d.write(func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), d.policy, d.policy.ID) })
	d.limit(0, 1_000_000)
	return d
}

// limit gives it a granter that has issued and refused nothing yet.
func (d *ownDesk) limit(tokens, refusals int) {
	d.granter = grant.New(grant.Config{
		DB: d.db, Tokens: d.tokens, Clients: credential.New(credential.Config{DB: d.db, Clock: func() time.Time { return d.now }}), TokenTTL: 15 * time.Minute,
		RefusalsPerMinute: refusals, Organization: d.organization, Agents: token.NewAgentLimit(tokens), Clock: d.clock,
	})
}

// clock is the granter's. It is asked first when the tokens were judged, and then for the
// token's times, when the agents were read.
func (d *ownDesk) clock() time.Time {
	if d.asked++; d.asked == cmp.Or(d.at, 2) && d.between != nil {
		d.between()
	}
	return d.now
}

// organization reads it as it is now, and gives it its issuer.
func (d *ownDesk) organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	org, err := d.db.Organization(ctx, slug)
	if err == nil {
		org.Issuer = issuer
	}
	return org, err
}

func (d *ownDesk) write(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(d.t.Context(), fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *ownDesk) agent(change func(*agentidp.Agent)) *agentidp.Agent {
	d.t.Helper()
	a := &agentidp.Agent{AgentID: agentidp.NewID(d.now), OrganizationID: d.org.ID, Status: agentidp.AgentActive, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	a.Name = a.AgentID + "@ci.acme.example"
	if change != nil {
		change(a)
	}
	d.write(func(tx *store.Tx) error { return tx.CreateAgent(d.t.Context(), a) })
	return a
}

// change changes an agent as an administrator does.
func (d *ownDesk) change(id string, change func(*agentidp.Agent)) {
	d.t.Helper()
	d.write(func(tx *store.Tx) error {
		a, err := tx.LockAgent(d.t.Context(), d.org.ID, id)
		if err != nil {
			return err
		}
		change(a)
		a.Revision++
		return tx.UpdateAgent(d.t.Context(), a)
	})
}

// client is an agent that authenticated.
func (d *ownDesk) client(a *agentidp.Agent) *agentidp.Client {
	d.t.Helper()
	c := &agentidp.Credential{CredentialID: strings.ReplaceAll(agentidp.NewID(d.now), "-", ""), OrganizationID: d.org.ID, AgentID: a.AgentID, ClientID: a.AgentID, CreatedAt: d.now, Revision: 1}
	c.Type = agentidp.CredentialSecret
	d.write(func(tx *store.Tx) error { return tx.CreateCredential(d.t.Context(), c) })
	return &agentidp.Client{Agent: a, Credential: c, Method: "client_secret_basic"}
}

// revoke ends the credential of a client.
func (d *ownDesk) revoke(c *agentidp.Client) {
	d.t.Helper()
	d.write(func(tx *store.Tx) error {
		ended := *c.Credential
		ended.RevokedAt, ended.Revision = &d.now, ended.Revision+1
		return tx.UpdateCredential(d.t.Context(), &ended)
	})
}

// token issues a token of an agent by the policy, for ten minutes and one audience,
// unless changed.
func (d *ownDesk) token(of *agentidp.Agent, changes ...func(*agentidp.AccessToken)) string {
	d.t.Helper()
	rec := &agentidp.AccessToken{
		ID: agentidp.NewID(d.now), OrganizationID: d.org.ID, Kind: agentidp.PrincipalAgent, Subject: of.AgentID, AgentID: of.AgentID,
		PolicyID: d.policy.ID, Provider: "github", RepositoryID: "74", Scope: strings.Join(of.Capabilities, " "), Audience: one,
		IssuedAt: d.now.Truncate(time.Second), ExpiresAt: d.now.Truncate(time.Second).Add(10 * time.Minute),
	}
	for _, change := range changes {
		change(rec)
	}
	d.write(func(tx *store.Tx) error { return tx.CreateToken(d.t.Context(), rec) })
	var acts *agentidp.Actor
	if rec.ActorID != "" {
		acts = &agentidp.Actor{Subject: rec.ActorID}
	}
	signed, err := d.tokens.MintFor(d.t.Context(), d.org, rec, of.Name, &agentidp.Workload{Provider: "github", RepositoryID: "74"}, acts)
	if err != nil {
		d.t.Fatal(err)
	}
	return signed
}

// by is a token that a client got by its credential.
func by(c *agentidp.Client) func(*agentidp.AccessToken) {
	return func(a *agentidp.AccessToken) {
		a.PolicyID, a.Provider, a.RepositoryID, a.CredentialID = "", "", "", c.Credential.CredentialID
	}
}

func to(audience string) func(*agentidp.AccessToken) {
	return func(a *agentidp.AccessToken) { a.Audience = audience }
}

func key(thumbprint string) func(*agentidp.AccessToken) {
	return func(a *agentidp.AccessToken) { a.KeyThumbprint = thumbprint }
}

func actedBy(a *agentidp.Agent) func(*agentidp.AccessToken) {
	return func(rec *agentidp.AccessToken) { rec.ActorID = a.AgentID }
}

func (d *ownDesk) proof(thumbprint string) *agentidp.Proof {
	return &agentidp.Proof{Thumbprint: thumbprint, ID: agentidp.NewID(d.now), Until: d.now.Add(time.Minute)}
}

func (d *ownDesk) exchange(req *grant.OwnRequest) (*agentidp.TokenResponse, error) {
	req.RequestID, d.asked = "request", 0
	org, err := d.organization(d.t.Context(), d.org.Slug)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.granter.ExchangeOwn(d.t.Context(), org, req)
}

// said are the claims of a token.
type said struct {
	Subject   string                 `json:"sub"`
	ClientID  string                 `json:"client_id"`
	Audience  string                 `json:"aud"`
	ID        string                 `json:"jti"`
	IssuedAt  int64                  `json:"iat"`
	ExpiresAt int64                  `json:"exp"`
	Scope     string                 `json:"scope"`
	AgentName string                 `json:"agent_name"`
	Workload  *agentidp.Workload     `json:"workload"`
	Act       *agentidp.Actor        `json:"act"`
	Cnf       *agentidp.Confirmation `json:"cnf"`
}

func read(t testing.TB, signed string) *said {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(signed, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	c := new(said)
	if err := json.Unmarshal(payload, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// decision returns the latest decision, nil where there is none.
func (d *ownDesk) decision() *agentidp.Decision {
	d.t.Helper()
	all, err := d.db.Decisions(d.t.Context(), d.org.ID, &agentidp.DecisionFilter{}, "", 1)
	if err != nil {
		d.t.Fatal(err)
	}
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}
