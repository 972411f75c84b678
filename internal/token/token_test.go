package token

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
)

// desk is a database with two organizations, and a clock that stands still.
type desk struct {
	t    *testing.T
	db   *store.DB
	ring *keys.Ring
	*Tokens
	now  time.Time
	a, b *agentidp.Organization
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
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
	d.ring = keys.NewRing(d.db, master, "ES256", clock)
	d.Tokens = New(d.db, d.ring, clock, 0)
	d.a = &agentidp.Organization{ID: "a", Slug: "default", Issuer: "https://idp.example", Status: agentidp.OrganizationActive, Revision: 1}
	d.b = &agentidp.Organization{ID: "b", Slug: "b", Issuer: "https://idp.example/o/b", Status: agentidp.OrganizationActive, Revision: 1}
	for _, org := range []*agentidp.Organization{d.a, d.b} {
		d.write(func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), org) })
	}
	return d
}

func (d *desk) write(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(d.t.Context(), fn); err != nil {
		d.t.Fatal(err)
	}
}

// record returns the record of a token of a kind for an organization's own API.
func (d *desk) record(org *agentidp.Organization, kind agentidp.PrincipalKind) *agentidp.AccessToken {
	return &agentidp.AccessToken{
		ID: agentidp.NewID(d.now), OrganizationID: org.ID, Kind: kind, Subject: string(kind) + ":x", Scope: "agents:read policies:read",
		Audience: org.ManagementAudience(), IssuedAt: d.now, ExpiresAt: d.now.Add(time.Hour),
	}
}

// issue records and mints a token.
func (d *desk) issue(org *agentidp.Organization, rec *agentidp.AccessToken) string {
	d.t.Helper()
	d.write(func(tx *store.Tx) error { return tx.CreateToken(d.t.Context(), rec) })
	return d.mint(org, rec)
}

func (d *desk) mint(org *agentidp.Organization, rec *agentidp.AccessToken) string {
	d.t.Helper()
	token, err := d.Mint(d.t.Context(), org, rec, "", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return token
}

func (d *desk) agent(status agentidp.AgentStatus) string {
	d.t.Helper()
	a := &agentidp.Agent{AgentID: agentidp.NewID(d.now), OrganizationID: d.a.ID, Status: status, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	a.Name = a.AgentID + "@ci.acme.example"
	d.write(func(tx *store.Tx) error { return tx.CreateAgent(d.t.Context(), a) })
	return a.AgentID
}

func (d *desk) policy(mode agentidp.PolicyMode, expires *time.Time) string {
	d.t.Helper()
	p := &agentidp.TrustPolicy{ID: agentidp.NewID(d.now), OrganizationID: d.a.ID, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	p.Provider, p.Repository, p.Mode, p.ExpiresAt = "github", "acme/deploy", mode, expires
	d.write(func(tx *store.Tx) error { return tx.CreatePolicy(d.t.Context(), p, p.ID) })
	return p.ID
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	workload := &agentidp.Workload{Provider: "github", RepositoryID: "74"}
	for _, kind := range []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent, agentidp.PrincipalBootstrap} {
		rec := d.record(d.a, kind)
		want := &agentidp.Principal{Kind: kind, OrganizationID: "a", Subject: rec.Subject, TokenID: rec.ID, Scopes: []string{"agents:read", "policies:read"}}
		switch kind {
		case agentidp.PrincipalAgent:
			rec.AgentID = d.agent(agentidp.AgentActive)
			want.AgentID = rec.AgentID
		case agentidp.PrincipalBootstrap:
			rec.PolicyID = d.policy(agentidp.ModeEnforce, nil)
			want.PolicyID, want.Workload = rec.PolicyID, workload
		}
		d.write(func(tx *store.Tx) error { return tx.CreateToken(t.Context(), rec) })
		token, err := d.Mint(t.Context(), d.a, rec, "", want.Workload)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Authenticate(t.Context(), d.a, token, nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", kind, got, err, want)
		}
	}
}

func TestEveryRefusal(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	good := d.issue(d.a, d.record(d.a, agentidp.PrincipalAdmin))
	own, err := jose.GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	mallory, err := jose.NewSigner("ES256", own)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	signed := func(s *jose.Signer, typ string) string {
		token, err := s.Sign(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ours, err := d.ring.Signer(t.Context(), d.a)
	if err != nil {
		t.Fatal(err)
	}
	rec := func(kind agentidp.PrincipalKind, change func(*agentidp.AccessToken)) *agentidp.AccessToken {
		r := d.record(d.a, kind)
		change(r)
		return r
	}
	admin := func(change func(*agentidp.AccessToken)) string {
		return d.issue(d.a, rec(agentidp.PrincipalAdmin, change))
	}
	agent := func(id string) string {
		return d.issue(d.a, rec(agentidp.PrincipalAgent, func(r *agentidp.AccessToken) { r.AgentID = id }))
	}
	boot := func(id string) string {
		return d.issue(d.a, rec(agentidp.PrincipalBootstrap, func(r *agentidp.AccessToken) { r.PolicyID = id }))
	}
	past := d.now
	moved := *d.a
	moved.Issuer = "https://old.example"
	parts := strings.Split(good, ".")
	const notOurs, notSigned, expired = "It is not an access token of this server", "No key of this organization signed it: ", "It expired at "
	for _, tt := range []struct{ name, token, why string }{
		{"nothing", "", notOurs},
		{"words", "changeme", notOurs},
		{"two segments", parts[0] + "." + parts[1], notOurs},
		{"no signature", parts[0] + "." + parts[1] + ".", notOurs},
		{"alg none", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + ".AA", notSigned},
		{"a line break behind it", good + "\n", notOurs},
		{"an ID token of ours", signed(ours, "JWT"), notOurs},
		{"A-239 an introspection answer", signed(ours, "token-introspection+jwt"), notOurs},
		{"typ in another case", signed(ours, "AT+JWT"), notOurs},
		{"typ in full", signed(ours, "application/at+jwt"), notOurs},
		{"a stranger's key", signed(mallory, "at+jwt"), notSigned},
		{"a stranger's signature under our key id", parts[0] + "." + parts[1] + "." + strings.Split(signed(mallory, "at+jwt"), ".")[2], notSigned},
		{"another organization's", d.issue(d.b, d.record(d.b, agentidp.PrincipalAdmin)), notSigned},
		{"issued under another public URL", d.issue(&moved, d.record(d.a, agentidp.PrincipalAdmin)), "It was issued by another organization or under another public URL."},
		{"for a service", admin(func(r *agentidp.AccessToken) { r.Audience = "https://deploy.example" }), "this API accepts only tokens whose aud is https://idp.example/api/v1"},
		{"for the issuer", admin(func(r *agentidp.AccessToken) { r.Audience = d.a.Issuer }), "It is meant for another service"},
		{"for a longer audience", admin(func(r *agentidp.AccessToken) { r.Audience += "/" }), "It is meant for another service"},
		{"for another organization", admin(func(r *agentidp.AccessToken) { r.Audience = d.b.ManagementAudience() }), "It is meant for another service"},
		{"expired an hour ago", admin(func(r *agentidp.AccessToken) { r.ExpiresAt = d.now.Add(-time.Hour) }), expired},
		{"expired right now", admin(func(r *agentidp.AccessToken) { r.ExpiresAt = d.now }), expired},
		{"never recorded", d.mint(d.a, d.record(d.a, agentidp.PrincipalAdmin)), "There is no record of it."},
		{"revoked", admin(func(r *agentidp.AccessToken) { r.RevokedAt = d.now }), "It was revoked."},
		{"of a suspended agent", agent(d.agent(agentidp.AgentSuspended)), "Its agent is not active."},
		{"of a decommissioned agent", agent(d.agent(agentidp.AgentDecommissioned)), "Its agent is not active."},
		{"of an agent that there is not", agent("none"), "Its agent is not active."},
		{"of no agent", agent(""), "Its agent is not active."},
		{"of a policy that there is not", boot("none"), "The trust policy that granted it is no longer in force."},
		{"of a disabled policy", boot(d.policy(agentidp.ModeDisabled, nil)), "is no longer in force"},
		{"of a policy that expires now", boot(d.policy(agentidp.ModeEnforce, &past)), "is no longer in force"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := d.Authenticate(t.Context(), d.a, tt.token, nil)
			e := agentidp.AsError(err)
			if err == nil || p != nil || e.Kind != agentidp.Unauthenticated || e.Code != agentidp.CodeInvalidToken || !strings.Contains(e.Message, tt.why) {
				t.Errorf("%+v, %v; want %q", p, err, tt.why)
			}
			if len(tt.token) > 20 && err != nil && strings.Contains(err.Error(), tt.token) {
				t.Error("the error holds the token")
			}
			// What is refused here for its audience alone is good elsewhere; of the rest nothing is said.
			in, err := d.Introspect(t.Context(), d.a, "", nil, tt.token)
			unsigned := strings.HasPrefix(tt.why, "It is not an access token") || strings.HasPrefix(tt.why, "No key of")
			if elsewhere := strings.HasPrefix(tt.name, "for "); err != nil || in.Active != elsewhere || !elsewhere && *in != (agentidp.Introspection{Unproven: unsigned}) {
				t.Errorf("introspection: %+v, %v", in, err)
			}
		})
	}
	if _, err := d.Authenticate(t.Context(), d.a, good, nil); err != nil {
		t.Errorf("the good one: %v", err)
	}
	d.now = d.now.Add(time.Hour)
	if _, err := d.Authenticate(t.Context(), d.a, good, nil); err == nil {
		t.Error("the good one, an hour later: accepted")
	}
	d.now = d.now.Add(-time.Hour)
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate(t.Context(), d.a, good, nil); agentidp.AsError(err).Kind != agentidp.Unavailable || agentidp.AsError(err).RetryAfter == 0 {
		t.Errorf("without storage: %v", err)
	}
}

// What a token is worth stands in its record; a signed claim adds nothing to it.
func TestScopesAreThoseOfTheRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAdmin)
	d.write(func(tx *store.Tx) error { return tx.CreateToken(t.Context(), rec) })
	wider := *rec
	wider.Scope, wider.Subject, wider.Kind = "admin", "admin:other", agentidp.PrincipalAgent
	p, err := d.Authenticate(t.Context(), d.a, d.mint(d.a, &wider), nil)
	if err != nil || p.Has(agentidp.ScopeAdmin) || p.Subject != rec.Subject || p.Kind != agentidp.PrincipalAdmin {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestMint(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAgent)
	rec.Subject, rec.Scope, rec.Audience = "agent-id", "deploy:staging", "https://deploy.example"
	token, err := d.Mint(t.Context(), d.a, rec, "x@ci.acme.example", &agentidp.Workload{Provider: "github", Repository: "acme/deploy", RunID: "9"})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	part := func(i int) (m map[string]any) {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	signer, err := d.ring.Signer(t.Context(), d.a)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := part(0), (map[string]any{"alg": "ES256", "kid": signer.KeyID(), "typ": "at+jwt"}); !reflect.DeepEqual(got, want) {
		t.Errorf("header %v, want %v", got, want)
	}
	at := float64(d.now.Unix())
	want := map[string]any{
		"iss": "https://idp.example", "sub": "agent-id", "client_id": "agent-id", "aud": "https://deploy.example", "iat": at, "nbf": at, "exp": at + 3600,
		"jti": rec.ID, "scope": "deploy:staging", "agent_name": "x@ci.acme.example", "workload": map[string]any{"provider": "github", "repository": "acme/deploy", "run_id": "9"},
	}
	if got := part(1); !reflect.DeepEqual(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
}

func TestIssueAdmin(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, tt := range []struct {
		name, scope string
		ttl         time.Duration
		bad         string // the field that is refused
		wantScope   string
		wantTTL     time.Duration
	}{
		{"by default", "", 0, "", "admin", time.Hour},
		{"one scope", "agents:read", time.Second, "", "agents:read", time.Second},
		{"scopes and a capability, for the longest", "policies:write deploy:staging", 720 * time.Hour, "", "policies:write deploy:staging", 720 * time.Hour},
		{"too long", "", 720*time.Hour + 1, "ttl", "", 0},
		{"too short", "", time.Millisecond, "ttl", "", 0},
		{"negative", "", -time.Hour, "ttl", "", 0},
		{"no scope of ours", "root", 0, "scope", "", 0},
		{"twice", "admin admin", 0, "scope", "", 0},
		{"two spaces", "agents:read  agents:write", 0, "scope", "", 0},
	} {
		token, rec, err := d.IssueAdmin(t.Context(), d.a, tt.scope, tt.ttl)
		if tt.bad != "" {
			if e := agentidp.AsError(err); e.Kind != agentidp.Invalid || len(e.Details) != 1 || e.Details[0].Field != tt.bad {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || rec.Scope != tt.wantScope || rec.ExpiresAt.Sub(rec.IssuedAt) != tt.wantTTL || !strings.HasPrefix(rec.Subject, "admin:") {
			t.Errorf("%s: %+v, %v", tt.name, rec, err)
			continue
		}
		if p, err := d.Authenticate(t.Context(), d.a, token, nil); err != nil || p.Kind != agentidp.PrincipalAdmin || p.Subject != rec.Subject {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
	}
	events, err := d.db.Events(t.Context(), d.a.ID, &agentidp.EventFilter{}, "", 100)
	issued := 0
	for _, e := range events {
		if e.Type == agentidp.EventAdminTokenIssued {
			issued++
		}
	}
	if err != nil || issued != 3 {
		t.Errorf("%d events of admin tokens, %v", issued, err)
	}
}
