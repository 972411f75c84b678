package grant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// office is a server's insides with one organization and one agent, which has a secret,
// and a clock that stands still.
type office struct {
	t *testing.T
	*Granter
	now    time.Time
	org    *agentidp.Organization
	agent  *agentidp.Agent
	cred   *agentidp.Credential
	secret string
	looks  atomic.Int64 // at the organization
}

func onBothEngines(t *testing.T, test func(t *testing.T, o *office)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newOffice(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db")))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newOffice(t, pgtest.Start(t)))
	})
}

func newOffice(t *testing.T, url string) *office {
	t.Helper()
	o := &office{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return o.now }
	db, err := store.Open(t.Context(), url, store.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // one test closes it itself
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	master, err := keys.Unlock(t.Context(), db, keys.MasterKeySource{Value: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		t.Fatal(err)
	}
	ring := keys.NewRing(db, master, "ES256", clock)
	o.Granter = New(Config{
		DB: db, Tokens: token.New(db, ring, clock, 0),
		Clients: credential.New(credential.Config{DB: db, Clock: clock}), Organization: o.organization,
		TokenTTL: 15 * time.Minute, RefusalsPerMinute: 60, Clock: clock,
	})
	o.org = &agentidp.Organization{ID: "a", Slug: "default", Status: agentidp.OrganizationActive, Revision: 1}
	o.agent = &agentidp.Agent{AgentID: agentidp.NewID(o.now), OrganizationID: "a", Status: agentidp.AgentActive, CreatedAt: o.now, UpdatedAt: o.now, Revision: 1}
	o.agent.Name, o.agent.Capabilities = "deployer@acme.example", []string{"deploy:staging", "deploy:production"}
	o.agent.Audiences = []string{"https://deploy.example", "https://logs.example"}
	o.cred = &agentidp.Credential{CredentialID: agentidp.NewID(o.now), OrganizationID: "a", AgentID: o.agent.AgentID, CreatedAt: o.now, Revision: 1}
	o.cred.Type = agentidp.CredentialSecret
	o.secret, o.cred.SecretHash = credential.NewSecret(o.cred.CredentialID)
	o.write(func(tx *store.Tx) error {
		return errors.Join(tx.CreateOrganization(t.Context(), o.org), tx.CreateAgent(t.Context(), o.agent), tx.CreateCredential(t.Context(), o.cred))
	})
	if _, err := ring.Signer(t.Context(), o.org); err != nil { // makes the first key
		t.Fatal(err)
	}
	if o.org, err = o.organization(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	o.looks.Add(1)
	org, err := o.DB.Organization(ctx, slug)
	if err == nil && org.Status != agentidp.OrganizationActive {
		return nil, agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "closed")
	}
	if err != nil {
		return nil, agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "").WithCause(err)
	}
	org.Issuer = "https://idp.example"
	return org, nil
}

func (o *office) write(fn func(tx *store.Tx) error) {
	o.t.Helper()
	if err := o.DB.Write(o.t.Context(), fn); err != nil {
		o.t.Fatal(err)
	}
}

// change makes the agent another.
func (o *office) change(change func(*agentidp.Agent)) {
	o.t.Helper()
	o.write(func(tx *store.Tx) error {
		a, err := tx.LockAgent(o.t.Context(), "a", o.agent.AgentID)
		if err != nil {
			return err
		}
		change(a)
		a.Revision++
		return tx.UpdateAgent(o.t.Context(), a)
	})
}

func (o *office) revoke() {
	o.t.Helper()
	o.write(func(tx *store.Tx) error {
		c, err := tx.LockCredential(o.t.Context(), "a", o.cred.CredentialID)
		if err != nil {
			return err
		}
		c.RevokedAt, c.Revision = &o.now, c.Revision+1
		return tx.UpdateCredential(o.t.Context(), c)
	})
}

// client authenticates.
func (o *office) client() *agentidp.Client {
	o.t.Helper()
	c, err := o.Clients.Authenticate(o.t.Context(), o.org, &credential.Presented{ClientID: o.agent.AgentID, Secret: o.secret, Method: credential.MethodSecretBasic})
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func (o *office) ask(scope, audience string) (*agentidp.TokenResponse, error) {
	o.t.Helper()
	return o.ClientCredentials(o.t.Context(), o.org, &ClientCredentialsRequest{Client: o.client(), Scope: scope, Audience: audience, RequestID: "request"})
}

// decision is the record that an answer names.
func (o *office) decision(id string) *agentidp.Decision {
	o.t.Helper()
	d, err := o.DB.Decision(o.t.Context(), "a", id)
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

func (o *office) events(typ agentidp.EventType) []agentidp.Event {
	o.t.Helper()
	events, err := o.DB.Events(o.t.Context(), "a", &agentidp.EventFilter{Type: typ}, "", 100)
	if err != nil {
		o.t.Fatal(err)
	}
	return events
}

// What an agent gets by itself, and what is written of it.
func TestAClientGetsAToken(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		for name, tt := range map[string]struct {
			scope, audience         string
			wantScope, wantAudience string
		}{
			"for nothing in particular": {"", "", "deploy:staging deploy:production", "https://deploy.example"},
			"for less":                  {"deploy:staging", "", "deploy:staging", "https://deploy.example"},
			"in another order":          {"deploy:production deploy:staging", "", "deploy:production deploy:staging", "https://deploy.example"},
			"for its second audience":   {"", "https://logs.example", "deploy:staging deploy:production", "https://logs.example"},
		} {
			got, err := o.ask(tt.scope, tt.audience)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got.Scope != tt.wantScope || got.TokenType != "Bearer" || got.ExpiresIn != 900 || got.AgentID != o.agent.AgentID {
				t.Errorf("%s: scope %q, %s, %d s, agent %s", name, got.Scope, got.TokenType, got.ExpiresIn, got.AgentID)
			}
			claims := payload(t, got.AccessToken)
			if claims["aud"] != tt.wantAudience || claims["sub"] != o.agent.AgentID || claims["client_id"] != o.agent.AgentID || claims["agent_name"] != o.agent.Name || claims["cnf"] != nil {
				t.Errorf("%s: %v", name, claims)
			}
			d := o.decision(got.DecisionID)
			want := &agentidp.Decision{
				ID: got.DecisionID, OrganizationID: "a", RequestID: "request", At: o.now, Outcome: agentidp.OutcomeAllowed,
				GrantType: agentidp.GrantClientCredentials, AgentID: o.agent.AgentID, CredentialID: o.cred.CredentialID, TokenID: claims["jti"].(string),
			}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
			rec, err := o.DB.Token(t.Context(), "a", d.TokenID)
			if err != nil || rec.CredentialID != o.cred.CredentialID || rec.AgentID != o.agent.AgentID || rec.Kind != agentidp.PrincipalAgent || rec.DecisionID != d.ID {
				t.Errorf("%s: %+v, %v", name, rec, err)
			}
		}
		events := o.events(agentidp.EventTokenIssued)
		if len(events) != 4 {
			t.Fatalf("%d events", len(events))
		}
		if e := events[0]; e.ID != e.DecisionID || e.Actor != o.agent.AgentID || e.AgentID != o.agent.AgentID || !e.At.Equal(o.now) || e.RequestID != "request" {
			t.Errorf("%+v", e)
		}
	})
}

// An agent of which nothing is said gets a token that says who it is, for the issuer.
func TestAnAgentWithoutCapabilitiesGetsATokenWithoutScope(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		o.change(func(a *agentidp.Agent) { a.Capabilities, a.Audiences = nil, nil })
		got, err := o.ask("", "")
		if err != nil {
			t.Fatal(err)
		}
		if claims := payload(t, got.AccessToken); claims["scope"] != nil || claims["aud"] != "https://idp.example" || got.Scope != "" {
			t.Errorf("%v, %q", claims, got.Scope)
		}
		if _, err := o.ask("", "https://idp.example"); err != nil {
			t.Error(err)
		}
		if _, err := o.ask("", "https://idp.example/api/v1"); agentidp.AsError(err).Code != agentidp.CodeInvalidTarget {
			t.Errorf("nobody listed the management API: %v", err)
		}
		o.change(func(a *agentidp.Agent) { a.Audiences = []string{"https://idp.example/api/v1"} })
		if got, err = o.ask("", ""); err != nil || payload(t, got.AccessToken)["aud"] != "https://idp.example/api/v1" {
			t.Errorf("an administrator listed it: %v", err)
		}
	})
}

// A credential gives what the agent may do, and of that what its bound lets through.
func TestTheBoundOfACredential(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		for _, tt := range []struct {
			name  string
			bound []string
			want  string // of tokens, and where it asks about tokens
		}{
			{"no bound", nil, "deploy:staging deploy:production"},
			{"less than the agent", []string{"deploy:production"}, "deploy:production"},
			{"also what the agent has lost", []string{"deploy:everything", "deploy:staging"}, "deploy:staging"},
			{"nothing", []string{}, ""},
		} {
			o.cred = &agentidp.Credential{CredentialID: agentidp.NewID(o.now), OrganizationID: "a", AgentID: o.agent.AgentID, CreatedAt: o.now, Revision: 1}
			o.cred.Type, o.cred.Scopes = agentidp.CredentialSecret, tt.bound
			o.secret, o.cred.SecretHash = credential.NewSecret(o.cred.CredentialID)
			o.write(func(tx *store.Tx) error { return tx.CreateCredential(t.Context(), o.cred) })
			got, err := o.ask("", "")
			if err != nil || got.Scope != tt.want {
				t.Errorf("%s: %+v, %v", tt.name, got, err)
			}
			if asks := strings.Join(o.client().Principal().Scopes, " "); asks != tt.want {
				t.Errorf("%s: it asks about tokens with %q", tt.name, asks)
			}
			_, err = o.ask("deploy:staging deploy:production", "")
			if tt.bound == nil && err == nil {
				continue
			}
			if e := agentidp.AsError(err); e.Code != agentidp.CodeInvalidScope || !strings.Contains(e.Message, "beyond the bound of the credential") {
				t.Errorf("%s, asked for more: %v", tt.name, err)
			}
		}
	})
}

// Every refusal is a decision with its reason, and an event.
func TestWhatAClientIsRefused(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		suspended := func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended }
		active := func(a *agentidp.Agent) { a.Status = agentidp.AgentActive }
		for _, tt := range []struct {
			name, scope, audience string
			kind                  agentidp.Kind
			code, says            string
		}{
			{"a scope that it has not", "deploy:staging admin", "", agentidp.Invalid, agentidp.CodeInvalidScope, "asks for admin,"},
			{"a scope in another case", "Deploy:staging", "", agentidp.Invalid, agentidp.CodeInvalidScope, "asks for Deploy:staging,"},
			{"a scope twice", "deploy:staging deploy:staging", "", agentidp.Invalid, agentidp.CodeInvalidScope, "none twice"},
			{"what is no scope", "deploy:staging  ", "", agentidp.Invalid, agentidp.CodeInvalidScope, "single spaces"},
			{"an audience that it has not", "", "https://elsewhere.example", agentidp.Invalid, agentidp.CodeInvalidTarget, "none of the agent's audiences"},
			{"an audience with a slash too many", "", "https://logs.example/", agentidp.Invalid, agentidp.CodeInvalidTarget, "none of the agent's audiences (it is to be spelled exactly as listed: case and a slash at the end count);"},
			{"an audience in another case", "", "https://Logs.example", agentidp.Invalid, agentidp.CodeInvalidTarget, "spelled exactly as listed"},
			{"what is no URI", "", "logs.example", agentidp.Invalid, agentidp.CodeInvalidTarget, "must be one absolute URI without a fragment"},
			{"the issuer, where others are listed", "", "https://idp.example", agentidp.Invalid, agentidp.CodeInvalidTarget, "none of the agent's audiences"},
			{"the management API", "", "https://idp.example/api/v1", agentidp.Invalid, agentidp.CodeInvalidTarget, "none of the agent's audiences"},
			{"anything, suspended", "", "", agentidp.Denied, agentidp.CodeAgentNotActive, "is suspended"},
		} {
			if tt.code == agentidp.CodeAgentNotActive {
				o.change(suspended)
			}
			before := len(o.events(agentidp.EventExchangeDenied))
			_, err := o.ask(tt.scope, tt.audience)
			e := agentidp.AsError(err)
			if e.Kind != tt.kind || e.Code != tt.code || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			want := &agentidp.Decision{
				ID: e.DecisionID, OrganizationID: "a", RequestID: "request", At: o.now, Outcome: agentidp.OutcomeDenied, Code: tt.code,
				GrantType: agentidp.GrantClientCredentials, AgentID: o.agent.AgentID, CredentialID: o.cred.CredentialID,
			}
			if diff := cmp.Diff(want, o.decision(e.DecisionID)); diff != "" {
				t.Errorf("%s:\n%s", tt.name, diff)
			}
			events := o.events(agentidp.EventExchangeDenied)
			ofIt := func(event agentidp.Event) bool {
				return event.DecisionID == e.DecisionID && event.Data[agentidp.DataCode] == tt.code
			}
			if len(events) != before+1 || !slices.ContainsFunc(events, ofIt) {
				t.Errorf("%s: %d events, want %d, the last of %s", tt.name, len(events), before+1, tt.code)
			}
		}
		o.change(active)
		if _, err := o.ask("", ""); err != nil {
			t.Errorf("active again: %v", err)
		}
		_, err := o.ClientCredentials(o.t.Context(), o.org, &ClientCredentialsRequest{Client: o.client(), Audience: "https://elsewhere.example", AudienceName: "resource"})
		if e := agentidp.AsError(err); e.Code != agentidp.CodeInvalidTarget || len(e.Details) != 1 || e.Details[0].Field != "resource" {
			t.Errorf("a resource that it has not: %v, %+v", err, e.Details)
		}
	})
}

// A proof binds the token, and is good for one.
func TestAClientsTokenIsBoundToItsKey(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		proof := &agentidp.Proof{Thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", ID: "one", Until: o.now.Add(time.Minute)}
		req := func() *ClientCredentialsRequest { return &ClientCredentialsRequest{Client: o.client(), Proof: proof} }
		got, err := o.ClientCredentials(t.Context(), o.org, req())
		if err != nil || got.TokenType != "DPoP" {
			t.Fatalf("%+v, %v", got, err)
		}
		if diff := cmp.Diff(map[string]any{"jkt": proof.Thumbprint}, payload(t, got.AccessToken)["cnf"]); diff != "" {
			t.Error(diff)
		}
		_, err = o.ClientCredentials(t.Context(), o.org, req())
		if e := agentidp.AsError(err); e.Kind != agentidp.Invalid || e.Code != agentidp.CodeInvalidDPoPProof || e.DecisionID == "" {
			t.Errorf("the proof again: %v", err)
		}
		if err := o.DB.UseOnce(t.Context(), "a", store.Once{Of: "dpop:" + proof.Thumbprint, Key: "one", Until: proof.Until}); !errors.Is(err, store.ErrReplayed) {
			t.Errorf("the proof elsewhere: %v", err)
		}
		proof.ID = "two"
		if _, err := o.ClientCredentials(t.Context(), o.org, req()); err != nil {
			t.Errorf("another proof: %v", err)
		}
	})
}

// What changes between the authentication and the commit is found out there.
func TestNothingIsIssuedOnWhatHasChanged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(o *office)
		code   string // empty: granted on what there is now
	}{
		"the credential is revoked":           {(*office).revoke, agentidp.CodeInvalidClient},
		"the agent is suspended":              {func(o *office) { o.change(func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended }) }, agentidp.CodeAgentNotActive},
		"the agent may less":                  {func(o *office) { o.change(func(a *agentidp.Agent) { a.Capabilities = []string{"deploy:production"} }) }, agentidp.CodeInvalidScope},
		"the agent is for another service":    {func(o *office) { o.change(func(a *agentidp.Agent) { a.Audiences = []string{"https://x.example"} }) }, agentidp.CodeInvalidTarget},
		"the organization is closed":          {closeOrganization, agentidp.CodeNotFound},
		"the agent is described in new words": {func(o *office) { o.change(func(a *agentidp.Agent) { a.Description = "new" }) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothEngines(t, func(t *testing.T, o *office) {
				req := &ClientCredentialsRequest{Client: o.client(), Scope: "deploy:staging", Audience: "https://deploy.example"}
				tt.change(o)
				got, err := o.ClientCredentials(t.Context(), o.org, req)
				if tt.code == "" {
					if err != nil || o.decision(got.DecisionID).Outcome != agentidp.OutcomeAllowed {
						t.Errorf("%+v, %v", got, err)
					}
					return
				}
				if err == nil || agentidp.AsError(err).Code != tt.code {
					t.Errorf("%+v, %v, want %s", got, err, tt.code)
				}
			})
		})
	}
}

func closeOrganization(o *office) {
	o.write(func(tx *store.Tx) error {
		org, err := tx.LockOrganization(o.t.Context(), "a")
		if err != nil {
			return err
		}
		org.Status, org.Revision = agentidp.OrganizationClosed, org.Revision+1
		return tx.UpdateOrganization(o.t.Context(), org)
	})
}

// No refusal rests on what was remembered: what has since been allowed is granted.
func TestNothingIsRefusedOnWhatHasChanged(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, o *office) {
		o.change(func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended })
		req := &ClientCredentialsRequest{Client: o.client(), Scope: "deploy:staging"}
		o.change(func(a *agentidp.Agent) { a.Status = agentidp.AgentActive })
		if _, err := o.ClientCredentials(t.Context(), o.org, req); err != nil {
			t.Errorf("reactivated: %v", err)
		}
		req = &ClientCredentialsRequest{Client: o.client(), Scope: "logs:read", Audience: "https://new.example"}
		o.change(func(a *agentidp.Agent) {
			a.Capabilities, a.Audiences = append(a.Capabilities, "logs:read"), append(a.Audiences, "https://new.example")
		})
		if _, err := o.ClientCredentials(t.Context(), o.org, req); err != nil {
			t.Errorf("widened: %v", err)
		}
	})
}

// A grant that nothing stands in the way of does not read the organization again.
func TestAGrantReadsNothingAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db"))
	before := o.looks.Load()
	for range 3 {
		if _, err := o.ask("", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := o.looks.Load() - before; n != 0 {
		t.Errorf("%d looks at the organization", n)
	}
}

func TestTheLimitsOfAnAgent(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db"))
	o.Granter = New(Config{
		DB: o.DB, Tokens: o.Tokens, Clients: o.Clients, Organization: o.organization, TokenTTL: time.Minute, Clock: o.Clock,
		RefusalsPerMinute: 2, Agents: token.NewAgentLimit(3),
	})
	limited := func(err error) string {
		if e := agentidp.AsError(err); e.Kind == agentidp.TooMany && e.RetryAfter > 0 && e.DecisionID == "" {
			return e.RateLimit.Name
		}
		return ""
	}
	for i := range 2 {
		if _, err := o.ask("admin", ""); agentidp.AsError(err).Code != agentidp.CodeInvalidScope {
			t.Errorf("refusal %d: %v", i+1, err)
		}
	}
	if _, err := o.ask("admin", ""); limited(err) != "refusals-of-agent" {
		t.Errorf("one refusal more: %v", err)
	}
	for i := range 3 { // refusals take nothing from it
		got, err := o.ask("", "")
		if err != nil || got.RateLimit.Name != "tokens-of-agent" || got.RateLimit.Remaining != 2-i {
			t.Errorf("token %d: %+v, %v", i+1, got, err)
		}
	}
	if _, err := o.ask("", ""); limited(err) != "tokens-of-agent" {
		t.Errorf("one token more: %v", err)
	}
	o.now = o.now.Add(time.Minute)
	if _, err := o.ask("", ""); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// Whatever cannot be recorded is neither granted nor refused.
func TestWithoutStorageNothingIsDecided(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db"))
	if _, err := o.ask("", ""); err != nil { // the keys are at hand
		t.Fatal(err)
	}
	client := o.client()
	if err := o.DB.Close(); err != nil {
		t.Fatal(err)
	}
	for name, scope := range map[string]string{"a grant": "", "a refusal": "admin"} {
		_, err := o.ClientCredentials(t.Context(), o.org, &ClientCredentialsRequest{Client: client, Scope: scope})
		if e := agentidp.AsError(err); e.Kind != agentidp.Unavailable || e.DecisionID != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func payload(t *testing.T, compact string) map[string]any {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
