package grant_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/grant"
	"github.com/sentryagent/agentidp/internal/store"
)

// S-056, A-163: what is got for a token is what it is, or less.
func TestATokenIsExchangedForLess(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	const all, staging = "deploy:staging deploy:production agents:read", "deploy:staging"
	minute := func(a *agentidp.AccessToken) { a.ExpiresAt = d.now.Add(time.Minute) }
	byCredential := by(d.client(d.subject))
	admin := func(a *agentidp.AccessToken) {
		a.Kind, a.Subject, a.AgentID, a.PolicyID, a.Audience, a.Scope = agentidp.PrincipalAdmin, "admin:1", "", "", api, "admin"
	}
	bootstrap := func(a *agentidp.AccessToken) {
		a.Kind, a.Subject, a.AgentID, a.Audience, a.Scope = agentidp.PrincipalBootstrap, "policy:"+d.policy.ID, "", api, "agents:write"
	}
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.Capabilities = append(a.Capabilities, "deploy:gone") })
	wide := func(a *agentidp.AccessToken) { a.Scope += " deploy:gone" }
	wider := d.token(d.subject, wide)
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.Capabilities = strings.Fields(all) })
	own := d.client(d.subject)
	for _, tt := range []struct {
		name      string
		subject   string
		req       grant.OwnRequest
		scope     string
		audience  string
		life      time.Duration
		code, say string // of a refusal
	}{
		{"nothing asked", d.token(d.subject), grant.OwnRequest{}, all, one, 10 * time.Minute, "", ""},
		{"one of its scopes", d.token(d.subject), grant.OwnRequest{Scope: staging}, staging, one, 10 * time.Minute, "", ""},
		{"half a minute", d.token(d.subject), grant.OwnRequest{ExpiresIn: "30"}, all, one, 30 * time.Second, "", ""},
		{"longer than it has", d.token(d.subject, minute), grant.OwnRequest{ExpiresIn: "3600"}, all, one, time.Minute, "", ""},
		{"one that has no scope", d.token(d.subject, func(a *agentidp.AccessToken) { a.Scope = "" }), grant.OwnRequest{}, "", one, 10 * time.Minute, "", ""},
		{"its own audience, by name", d.token(d.subject), grant.OwnRequest{Audience: one}, all, one, 10 * time.Minute, "", ""},
		{"a scope that it does not have", d.token(d.subject), grant.OwnRequest{Scope: "deploy:staging deploy:more"}, "", "", 0, agentidp.CodeInvalidScope, "asks for deploy:more, which"},
		{"admin", d.token(d.subject), grant.OwnRequest{Scope: "admin"}, "", "", 0, agentidp.CodeInvalidScope, "asks for admin"},
		{"a scope of its agent that it does not have", d.token(d.subject, func(a *agentidp.AccessToken) { a.Scope = staging }), grant.OwnRequest{Scope: "deploy:production"}, "", "", 0, agentidp.CodeInvalidScope, "deploy:production"},
		{"all, where its agent lost one", wider, grant.OwnRequest{}, all, one, 10 * time.Minute, "", ""},
		{"the one that its agent lost", wider, grant.OwnRequest{Scope: "deploy:gone"}, "", "", 0, agentidp.CodeInvalidScope, "or its agent no longer"},
		{"a scope twice", d.token(d.subject), grant.OwnRequest{Scope: "deploy:staging deploy:staging"}, "", "", 0, agentidp.CodeInvalidScope, "none twice"},
		{"a scope of 4 KiB", d.token(d.subject), grant.OwnRequest{Scope: strings.Repeat("a:b ", 1024) + "c:d"}, "", "", 0, agentidp.CodeInvalidScope, "2048 bytes"},

		{"no seconds", d.token(d.subject), grant.OwnRequest{ExpiresIn: "0"}, "", "", 0, agentidp.CodeInvalidRequest, "requested_expires_in must be a whole number"},
		{"fewer than none", d.token(d.subject), grant.OwnRequest{ExpiresIn: "-1"}, "", "", 0, agentidp.CodeInvalidRequest, "requested_expires_in"},
		{"half a second", d.token(d.subject), grant.OwnRequest{ExpiresIn: "0.5"}, "", "", 0, agentidp.CodeInvalidRequest, "requested_expires_in"},
		{"a duration", d.token(d.subject), grant.OwnRequest{ExpiresIn: "5m"}, "", "", 0, agentidp.CodeInvalidRequest, "requested_expires_in"},
		{"more seconds than there are", d.token(d.subject), grant.OwnRequest{ExpiresIn: "99999999999999999999"}, "", "", 0, agentidp.CodeInvalidRequest, "requested_expires_in"},
		{"one with a second left", d.token(d.subject, func(a *agentidp.AccessToken) { a.ExpiresAt = d.now.Add(time.Second) }), grant.OwnRequest{}, all, one, time.Second, "", ""},
		{"one with less than that", d.token(d.subject, func(a *agentidp.AccessToken) { a.ExpiresAt = d.now.Add(999 * time.Millisecond) }), grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidToken, "subject_token has less than a second left"},

		{"another audience, by whoever has it", d.token(d.subject), grant.OwnRequest{Audience: two}, "", "", 0, agentidp.CodeInvalidTarget, "may be the service that it was sent to"},
		{"another that is not listed either", d.token(d.subject), grant.OwnRequest{Audience: other}, "", "", 0, agentidp.CodeInvalidTarget, "may be the service that it was sent to"},
		{"the management API, by whoever has it", d.token(d.subject), grant.OwnRequest{Audience: api}, "", "", 0, agentidp.CodeInvalidTarget, "may be the service that it was sent to"},
		{"another of its policy's, by one for this server", d.token(d.subject, to(issuer)), grant.OwnRequest{Audience: two}, all, two, 10 * time.Minute, "", ""},
		{"another of its policy's, by one for the management API", d.token(d.subject, to(api)), grant.OwnRequest{Audience: two}, all, two, 10 * time.Minute, "", ""},
		{"another of its policy's, by its agent", d.token(d.subject), grant.OwnRequest{Audience: two, Client: own}, all, two, 10 * time.Minute, "", ""},
		{"another of its policy's, by its key", d.token(d.subject, key("k")), grant.OwnRequest{Audience: two, Proof: d.proof("k")}, all, two, 10 * time.Minute, "", ""},
		{"another that its policy does not list", d.token(d.subject), grant.OwnRequest{Audience: other, Client: own}, "", "", 0, agentidp.CodeInvalidTarget, "came from (it is to be spelled exactly as listed: "},
		{"the management API, which its policy lists", d.token(d.subject), grant.OwnRequest{Audience: api, Client: own}, all, api, 10 * time.Minute, "", ""},
		{"another of its agent's, of one by credential", d.token(d.subject, byCredential), grant.OwnRequest{Audience: other, Client: own}, all, other, 10 * time.Minute, "", ""},
		{"another of a policy, of one by credential", d.token(d.subject, byCredential), grant.OwnRequest{Audience: two, Client: own}, "", "", 0, agentidp.CodeInvalidTarget, "listed"},
		{"the management API, of one by credential", d.token(d.subject, byCredential), grant.OwnRequest{Audience: api, Client: own}, "", "", 0, agentidp.CodeInvalidTarget, "listed"},
		{"no URI, under its other name", d.token(d.subject), grant.OwnRequest{Audience: "two", AudienceName: "resource"}, "", "", 0, agentidp.CodeInvalidTarget, "resource must be one absolute URI"},
		{"its agent says its name, and proves nothing", d.token(d.subject), grant.OwnRequest{ClientID: d.subject.AgentID}, all, one, 10 * time.Minute, "", ""},
		{"another says its name, and proves nothing", d.token(d.subject), grant.OwnRequest{ClientID: d.actor.AgentID}, "", "", 0, agentidp.CodeInvalidRequest, "client_id is another agent's"},
		{"no URI", d.token(d.subject), grant.OwnRequest{Audience: "two"}, "", "", 0, agentidp.CodeInvalidTarget, "absolute URI"},

		{"an administrator's", d.token(d.subject, admin), grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidRequest, "tokens of administrators and bootstrap tokens cannot be exchanged"},
		{"a bootstrap token", d.token(d.subject, bootstrap), grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidRequest, "tokens of administrators and bootstrap tokens cannot be exchanged"},
		{"nothing", "", grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidRequest, "subject_token is required"},
		{"words", "changeme", grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidToken, "subject_token: "},
		{"a revoked one", d.token(d.subject, func(a *agentidp.AccessToken) { a.RevokedAt = d.now }), grant.OwnRequest{}, "", "", 0, agentidp.CodeInvalidToken, "It was revoked."},
	} {
		req := tt.req
		req.SubjectToken = tt.subject
		got, err := d.exchange(&req)
		if tt.code != "" {
			if e := agentidp.AsError(err); err == nil || e.Code != tt.code || !strings.Contains(e.Message, tt.say) {
				t.Errorf("%s: %v, want %s %q", tt.name, err, tt.code, tt.say)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c, parent := read(t, got.AccessToken), read(t, tt.subject)
		if c.Scope != tt.scope || c.Audience != tt.audience || time.Duration(c.ExpiresAt-c.IssuedAt)*time.Second != tt.life || c.ExpiresAt > parent.ExpiresAt ||
			c.Subject != d.subject.AgentID || c.ClientID != c.Subject || c.Act != nil || c.ID == parent.ID || c.AgentName != d.subject.Name || !reflect.DeepEqual(c.Workload, parent.Workload) {
			t.Errorf("%s: %+v", tt.name, c)
		}
		if got.Scope != c.Scope || got.ExpiresIn != c.ExpiresAt-c.IssuedAt || got.IssuedTokenType != "urn:ietf:params:oauth:token-type:access_token" {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// A-164, S-055: nobody acts for an agent but whom it names, and the answer to all others
// is the same.
func TestNobodyActsWhoIsNotNamed(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	both := d.agent(func(a *agentidp.Agent) { a.MayDelegateTo = []string{d.actor.AgentID, d.stranger.AgentID} })
	nobody := d.agent(func(a *agentidp.Agent) { a.MayDelegateTo = nil })
	forUs, expires := to(issuer), func(a *agentidp.AccessToken) { a.ExpiresAt = d.now.Add(time.Minute) }
	chain := func(ids ...*agentidp.Agent) (actor *agentidp.Actor) {
		for _, a := range ids {
			actor = &agentidp.Actor{Subject: a.AgentID, Actor: actor}
		}
		return actor
	}
	denied := ""
	for _, tt := range []struct {
		name      string
		subject   string
		req       grant.OwnRequest
		act       *agentidp.Actor
		audience  string
		life      time.Duration
		code, say string
	}{
		{"whom it names, by its token", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, forUs)}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"whom it names, by its credential", d.token(d.subject), grant.OwnRequest{Client: d.client(d.actor)}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"whom it names, by both", d.token(d.subject), grant.OwnRequest{Client: d.client(d.actor), ActorToken: d.token(d.actor)}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"for another audience", d.token(d.subject), grant.OwnRequest{Client: d.client(d.actor), Audience: two}, chain(d.actor), two, 10 * time.Minute, "", ""},
		{"no longer than the actor's token", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, forUs, expires)}, chain(d.actor), one, time.Minute, "", ""},
		{"behind another", d.token(both, actedBy(d.actor)), grant.OwnRequest{Client: d.client(d.stranger)}, chain(d.actor, d.stranger), one, 10 * time.Minute, "", ""},
		{"who acts already, for less", d.token(d.subject, actedBy(d.actor)), grant.OwnRequest{Client: d.client(d.actor)}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"who acts already, by that token alone", d.token(d.subject, actedBy(d.actor)), grant.OwnRequest{}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"the agent itself, by its token", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.subject, forUs)}, nil, one, 10 * time.Minute, "", ""},
		{"the agent itself, by its credential", d.token(d.subject), grant.OwnRequest{Client: d.client(d.subject)}, nil, one, 10 * time.Minute, "", ""},

		{"whom it does not name", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.stranger, forUs)}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},
		{"whom it does not name, by its credential", d.token(d.subject), grant.OwnRequest{Client: d.client(d.stranger)}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},
		{"whoever it is, where nobody is named", d.token(nobody), grant.OwnRequest{Client: d.client(d.actor)}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},
		{"the other way round", d.token(d.actor), grant.OwnRequest{Client: d.client(d.subject)}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},
		{"the agent itself, behind another", d.token(d.subject, actedBy(d.actor)), grant.OwnRequest{Client: d.client(d.subject)}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},
		{"whom it does not name, and too much of all", d.token(d.subject), grant.OwnRequest{Client: d.client(d.stranger), Scope: "admin", Audience: api}, nil, "", 0, agentidp.CodeDelegationNotPermitted, "mayDelegateTo"},

		{"for the management API", d.token(d.subject), grant.OwnRequest{Client: d.client(d.actor), Audience: api}, nil, "", 0, agentidp.CodeInvalidTarget, "nothing is managed in another's name"},
		{"for the management API, as its token is", d.token(d.subject, to(api)), grant.OwnRequest{Client: d.client(d.actor)}, nil, "", 0, agentidp.CodeInvalidTarget, "nothing is managed in another's name"},
		{"for a service, by a token for the management API", d.token(d.subject, to(api)), grant.OwnRequest{Client: d.client(d.actor), Audience: two}, chain(d.actor), two, 10 * time.Minute, "", ""},
		{"for the management API, who acts already", d.token(d.subject, actedBy(d.actor)), grant.OwnRequest{Client: d.client(d.actor), Audience: api}, nil, "", 0, agentidp.CodeInvalidTarget, "nothing is managed in another's name"},
		{"more scope than the subject's", d.token(d.subject), grant.OwnRequest{Client: d.client(d.actor), Scope: "deploy:more"}, nil, "", 0, agentidp.CodeInvalidScope, "deploy:more"},

		{"an actor's token for a service", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor)}, nil, "", 0, agentidp.CodeInvalidRequest, "actor_token is for another service"},
		{"the agent's own token for a service", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.subject), Audience: two}, nil, "", 0, agentidp.CodeInvalidRequest, "actor_token is for another service"},
		{"an actor's token that is bound to a key", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, key("k")), Proof: d.proof("k")}, chain(d.actor), one, 10 * time.Minute, "", ""},
		{"an actor's token with which another acts", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, forUs, actedBy(d.stranger))}, nil, "", 0, agentidp.CodeInvalidRequest, "actor_token is a delegated token"},
		{"an actor's token beside another client", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, forUs), Client: d.client(d.stranger)}, nil, "", 0, agentidp.CodeInvalidRequest, "actor_token is another agent's"},
		{"an administrator as the actor", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, forUs, func(a *agentidp.AccessToken) { a.Kind = agentidp.PrincipalAdmin })}, nil, "", 0, agentidp.CodeInvalidRequest, "actor_token is not an agent's"},
		{"a revoked token of the actor", d.token(d.subject), grant.OwnRequest{ActorToken: d.token(d.actor, func(a *agentidp.AccessToken) { a.RevokedAt = d.now })}, nil, "", 0, agentidp.CodeInvalidToken, "actor_token: "},
		{"words for an actor's token", d.token(d.subject), grant.OwnRequest{ActorToken: "changeme"}, nil, "", 0, agentidp.CodeInvalidToken, "actor_token: "},
	} {
		req := tt.req
		req.SubjectToken = tt.subject
		got, err := d.exchange(&req)
		if e := agentidp.AsError(err); tt.code == agentidp.CodeDelegationNotPermitted && err != nil {
			e.DecisionID = ""
			if denied == "" {
				denied = e.Error()
			}
			if e.Error() != denied || e.Kind != agentidp.Denied {
				t.Errorf("%s: %v, and not %s", tt.name, err, denied)
			}
		}
		if tt.code != "" {
			if e := agentidp.AsError(err); err == nil || e.Code != tt.code || !strings.Contains(e.Message, tt.say) {
				t.Errorf("%s: %v, want %s %q", tt.name, err, tt.code, tt.say)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c, parent := read(t, got.AccessToken), read(t, tt.subject)
		if diff := cmp.Diff(tt.act, c.Act); diff != "" {
			t.Errorf("%s: act %s", tt.name, diff)
		}
		if c.Audience != tt.audience || time.Duration(c.ExpiresAt-c.IssuedAt)*time.Second != tt.life || c.Subject != parent.Subject || c.ClientID != c.Subject || got.AgentID != c.Subject {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
}

// What is bound to a key stays bound to one, and whose key it is is proven.
func TestAKeyIsProvenAndStays(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	used := d.proof("k")
	if _, err := d.exchange(&grant.OwnRequest{SubjectToken: d.token(d.subject), Proof: used}); err != nil {
		t.Fatal(err)
	}
	actor, bound := d.client(d.actor), d.token(d.actor, key("a"))
	for _, tt := range []struct {
		name, subject string
		req           grant.OwnRequest
		bound         string // to this key; "": a bearer token
		say           string // of the refusal
	}{
		{"no key, no proof", d.token(d.subject), grant.OwnRequest{}, "", ""},
		{"no key, a proof", d.token(d.subject), grant.OwnRequest{Proof: d.proof("k")}, "k", ""},
		{"its key", d.token(d.subject, key("k")), grant.OwnRequest{Proof: d.proof("k")}, "k", ""},
		{"no proof", d.token(d.subject, key("k")), grant.OwnRequest{}, "", "is bound to a key; send a DPoP proof"},
		{"no proof, by its agent", d.token(d.subject, key("k")), grant.OwnRequest{Client: d.client(d.subject)}, "", "is bound to a key; send a DPoP proof"},
		{"another's key", d.token(d.subject, key("k")), grant.OwnRequest{Proof: d.proof("l")}, "", "by another key"},
		{"a proof that was used", d.token(d.subject, key("k")), grant.OwnRequest{Proof: used}, "", "used before"},
		{"an actor with a key, for one with none", d.token(d.subject), grant.OwnRequest{ActorToken: bound, Proof: d.proof("a")}, "a", ""},
		{"an actor with a key, for one with another", d.token(d.subject, key("k")), grant.OwnRequest{ActorToken: bound, Proof: d.proof("a")}, "a", ""},
		{"an actor with the subject's key", d.token(d.subject, key("k")), grant.OwnRequest{ActorToken: bound, Proof: d.proof("k")}, "", "by another key"},
		{"an actor without its proof", d.token(d.subject), grant.OwnRequest{ActorToken: bound}, "", "send a DPoP proof"},
		{"an actor by credential, for one with a key", d.token(d.subject, key("k")), grant.OwnRequest{Client: actor, Proof: d.proof("c")}, "c", ""},
		{"an actor by credential, for one with a key, without a proof", d.token(d.subject, key("k")), grant.OwnRequest{Client: actor}, "", "send a DPoP proof"},
	} {
		req := tt.req
		req.SubjectToken = tt.subject
		got, err := d.exchange(&req)
		if tt.say != "" {
			if e := agentidp.AsError(err); err == nil || e.Code != agentidp.CodeInvalidDPoPProof || !strings.Contains(e.Message, tt.say) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.say)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c, kind := read(t, got.AccessToken), "Bearer"
		if tt.bound != "" {
			kind = "DPoP"
		}
		if got.TokenType != kind || (c.Cnf == nil) != (tt.bound == "") || c.Cnf != nil && c.Cnf.KeyThumbprint != tt.bound {
			t.Errorf("%s: %s %+v", tt.name, got.TokenType, c.Cnf)
		}
	}
}

// What is left behind: of a grant, of a refusal, and of somebody who proved nothing.
func TestTheRecordOfAnOwnExchange(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	subject, actor := d.token(d.subject), d.client(d.actor)
	parent := read(t, subject).ID
	if _, err := d.exchange(&grant.OwnRequest{SubjectToken: subject + "x"}); err == nil || d.decision() != nil {
		t.Errorf("%v left %+v", err, d.decision())
	}
	if _, err := d.exchange(&grant.OwnRequest{SubjectToken: d.token(d.subject, key("k"))}); err == nil || d.decision() != nil {
		t.Errorf("without its key: %v left %+v", err, d.decision())
	}
	d.now = d.now.Add(time.Millisecond)
	got, err := d.exchange(&grant.OwnRequest{SubjectToken: subject, Client: actor, Audience: two, Scope: "deploy:staging", Proof: d.proof("k")})
	if err != nil {
		t.Fatal(err)
	}
	id := read(t, got.AccessToken).ID
	want := &agentidp.Decision{
		ID: got.DecisionID, OrganizationID: d.org.ID, RequestID: "request", At: d.now, Outcome: agentidp.OutcomeAllowed, GrantType: agentidp.GrantTokenExchange,
		AgentID: d.subject.AgentID, ActorID: d.actor.AgentID, CredentialID: actor.Credential.CredentialID, ParentTokenID: parent, PolicyID: d.policy.ID, TokenID: id,
	}
	if diff := cmp.Diff(want, d.decision()); diff != "" {
		t.Error(diff)
	}
	rec, err := d.db.Token(t.Context(), d.org.ID, id)
	wantRec := &agentidp.AccessToken{
		ID: id, OrganizationID: d.org.ID, Kind: agentidp.PrincipalAgent, Subject: d.subject.AgentID, AgentID: d.subject.AgentID, PolicyID: d.policy.ID,
		DecisionID: got.DecisionID, Provider: "github", RepositoryID: "74", ParentID: parent, Depth: 1, ActorID: d.actor.AgentID, KeyThumbprint: "k",
		Scope: "deploy:staging", Audience: two, IssuedAt: d.now.Truncate(time.Second), ExpiresAt: d.now.Truncate(time.Second).Add(10 * time.Minute),
	}
	if diff := cmp.Diff(wantRec, rec); err != nil || diff != "" {
		t.Error(err, diff)
	}
	d.events(agentidp.Event{
		ID: got.DecisionID, OrganizationID: d.org.ID, At: d.now, Type: agentidp.EventTokenIssued, Actor: d.actor.AgentID, AgentID: d.subject.AgentID,
		PolicyID: d.policy.ID, TokenID: id, DecisionID: got.DecisionID, RequestID: "request", Data: map[string]string{"parent_token_id": parent},
	})

	d.now = d.now.Add(time.Millisecond)
	stranger := d.client(d.stranger)
	_, err = d.exchange(&grant.OwnRequest{SubjectToken: subject, Client: stranger})
	denied := d.decision()
	want = &agentidp.Decision{
		ID: agentidp.AsError(err).DecisionID, OrganizationID: d.org.ID, RequestID: "request", At: d.now, Outcome: agentidp.OutcomeDenied, Code: agentidp.CodeDelegationNotPermitted,
		GrantType: agentidp.GrantTokenExchange, AgentID: d.subject.AgentID, ActorID: d.stranger.AgentID, CredentialID: stranger.Credential.CredentialID, ParentTokenID: parent,
	}
	if diff := cmp.Diff(want, denied); diff != "" {
		t.Error(diff)
	}
	d.events(agentidp.Event{
		OrganizationID: d.org.ID, At: d.now, Type: agentidp.EventExchangeDenied, Actor: d.stranger.AgentID, AgentID: d.subject.AgentID,
		DecisionID: denied.ID, RequestID: "request", Data: map[string]string{"code": agentidp.CodeDelegationNotPermitted},
	})

	d.now = d.now.Add(time.Millisecond)
	_, err = d.exchange(&grant.OwnRequest{SubjectToken: "changeme", Client: stranger})
	want = &agentidp.Decision{
		ID: agentidp.AsError(err).DecisionID, OrganizationID: d.org.ID, RequestID: "request", At: d.now, Outcome: agentidp.OutcomeDenied, Code: agentidp.CodeInvalidToken,
		GrantType: agentidp.GrantTokenExchange, AgentID: d.stranger.AgentID, CredentialID: stranger.Credential.CredentialID,
	}
	if diff := cmp.Diff(want, d.decision()); diff != "" {
		t.Error("of a client with a bad token:", diff)
	}
	d.now = d.now.Add(time.Millisecond)
	_, err = d.exchange(&grant.OwnRequest{SubjectToken: d.token(d.subject, key("k")), Client: actor})
	if got := d.decision(); agentidp.AsError(err).DecisionID != got.ID || got.Code != agentidp.CodeInvalidDPoPProof || got.AgentID != d.subject.AgentID || got.ActorID != d.actor.AgentID {
		t.Errorf("of a client without a proof: %v left %+v", err, got)
	}
}

// events asserts the latest event; one without an id may have any.
func (d *ownDesk) events(want agentidp.Event) {
	d.t.Helper()
	events, err := d.db.Events(d.t.Context(), d.org.ID, &agentidp.EventFilter{}, "", 1)
	if err != nil || len(events) != 1 {
		d.t.Fatal(err, events)
	}
	if want.ID == "" {
		want.ID = events[0].ID
	}
	if diff := cmp.Diff(want, events[0]); diff != "" {
		d.t.Error(diff)
	}
}

// Nothing is granted on what no longer is: the policy that an audience rests on, the
// agents, the credential. Without storage, nothing is decided.
func TestWhatAnOwnExchangeRestsOnHasEnded(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	subject, actor, own := d.token(d.subject), d.client(d.actor), d.client(d.subject)
	ask := func(name string, req grant.OwnRequest, code string) {
		t.Helper()
		req.SubjectToken = subject
		_, err := d.exchange(&req)
		if e := agentidp.AsError(err); (err != nil) != (code != "") || err != nil && e.Code != code {
			t.Errorf("%s: %v, want %s", name, err, code)
		}
	}
	replace := func(change func(p *agentidp.TrustPolicy)) {
		t.Helper()
		change(d.policy)
		d.policy.Revision++
		d.write(func(tx *store.Tx) error { return tx.ReplacePolicy(t.Context(), d.policy, d.policy.ID) })
	}
	elsewhere := grant.OwnRequest{Client: own, Audience: two}
	ask("the policy lists it", elsewhere, "")
	soon := d.now.Add(90*time.Second + time.Millisecond)
	replace(func(p *agentidp.TrustPolicy) { p.ExpiresAt = &soon })
	req := elsewhere
	req.SubjectToken = subject
	if got, err := d.exchange(&req); err != nil || got.ExpiresIn != 90 {
		t.Errorf("the policy ends soon: %+v, %v", got, err)
	}
	replace(func(p *agentidp.TrustPolicy) { p.ExpiresAt = &d.now })
	ask("the policy has ended", elsewhere, agentidp.CodeInvalidTarget)
	replace(func(p *agentidp.TrustPolicy) { p.ExpiresAt, p.Mode = nil, agentidp.ModeDisabled })
	ask("the policy is disabled", elsewhere, agentidp.CodeInvalidTarget)
	replace(func(p *agentidp.TrustPolicy) { p.Mode, p.Audiences = agentidp.ModeEnforce, []string{one} })
	ask("the policy lists it no longer", elsewhere, agentidp.CodeInvalidTarget)
	d.write(func(tx *store.Tx) error { return tx.DeletePolicy(t.Context(), d.org.ID, d.policy.ID) })
	ask("the policy is gone", elsewhere, agentidp.CodeInvalidTarget)
	ask("the policy is gone, and nothing rests on it", grant.OwnRequest{Client: own}, "")

	issued, source := subject, d.client(d.subject)
	subject = d.token(d.subject, by(source), to(issuer))
	ask("the agent lists it", grant.OwnRequest{Audience: other}, "")
	d.revoke(source)
	ask("the credential was revoked", grant.OwnRequest{Audience: other}, agentidp.CodeInvalidTarget)
	ask("the credential was revoked, and the actor asks", grant.OwnRequest{Client: actor, Audience: other}, agentidp.CodeInvalidTarget)
	ask("the credential was revoked, and nothing rests on it", grant.OwnRequest{}, "")
	subject = issued

	byActor := grant.OwnRequest{Client: actor}
	ask("the agent names the actor", byActor, "")
	delegated := d.token(d.subject, actedBy(d.actor))
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.MayDelegateTo = nil })
	ask("the agent names nobody", byActor, agentidp.CodeDelegationNotPermitted)
	subject = delegated
	ask("the agent names nobody, and the actor has a token already", byActor, agentidp.CodeDelegationNotPermitted)
	ask("the agent names nobody, and somebody has a token of the actor's", grant.OwnRequest{}, agentidp.CodeDelegationNotPermitted)
	subject = issued
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.MayDelegateTo = []string{d.actor.AgentID} })
	d.change(d.actor.AgentID, func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended })
	ask("the actor is suspended", byActor, agentidp.CodeAgentNotActive)
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended })
	ask("the agent is suspended", grant.OwnRequest{}, agentidp.CodeInvalidToken)
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.Status = agentidp.AgentActive })
	ask("the agent is active again", grant.OwnRequest{}, "")

	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.granter.ExchangeOwn(t.Context(), d.org, &grant.OwnRequest{SubjectToken: subject}); agentidp.AsError(err).Kind != agentidp.Unavailable {
		t.Errorf("without storage: %v", err)
	}
}

// what changes between the look and the commit is seen by the commit, and decided
// on again.
func TestAChangeInTheMiddleOfAnOwnExchange(t *testing.T) {
	t.Parallel()
	suspended := func(a *agentidp.Agent) { a.Status = agentidp.AgentSuspended }
	for _, tt := range []struct {
		name     string
		byClient bool
		change   func(d *ownDesk, actor *agentidp.Client, parent string)
		code     string
		active   bool // what was granted is good
	}{
		{"nothing", false, func(*ownDesk, *agentidp.Client, string) {}, "", true},
		{"the agent is suspended", false, func(d *ownDesk, _ *agentidp.Client, _ string) { d.change(d.subject.AgentID, suspended) }, agentidp.CodeInvalidToken, false},
		{"the actor is suspended", false, func(d *ownDesk, _ *agentidp.Client, _ string) { d.change(d.actor.AgentID, suspended) }, agentidp.CodeInvalidToken, false},
		{"the actor that authenticated is suspended", true, func(d *ownDesk, _ *agentidp.Client, _ string) { d.change(d.actor.AgentID, suspended) }, agentidp.CodeAgentNotActive, false},
		{"the agent lets nobody act for it", false, func(d *ownDesk, _ *agentidp.Client, _ string) {
			d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.MayDelegateTo = nil })
		}, agentidp.CodeDelegationNotPermitted, false},
		{"the agent loses a capability", false, func(d *ownDesk, _ *agentidp.Client, _ string) {
			d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.Capabilities = nil })
		}, agentidp.CodeInvalidScope, false},
		{"the credential is revoked", true, func(d *ownDesk, c *agentidp.Client, _ string) {
			d.revoke(c)
		}, agentidp.CodeInvalidClient, false},
		{"the token is revoked", false, func(d *ownDesk, _ *agentidp.Client, parent string) {
			d.write(func(tx *store.Tx) error {
				_, err := tx.RevokeToken(d.t.Context(), d.org.ID, parent, d.now)
				return err
			})
		}, "", false}, // the exchange began before
	} {
		d := newOwnDesk(t)
		subject, actor := d.token(d.subject), d.client(d.actor)
		req := &grant.OwnRequest{SubjectToken: subject, Scope: "deploy:staging", ActorToken: d.token(d.actor, to(issuer))}
		if tt.byClient {
			req.Client, req.ActorToken = actor, ""
		}
		d.between = func() { tt.change(d, actor, read(t, subject).ID) }
		got, err := d.exchange(req)
		if e := agentidp.AsError(err); (err != nil) != (tt.code != "") || err != nil && e.Code != tt.code {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
		}
		if err != nil {
			continue
		}
		in, err := d.tokens.Introspect(t.Context(), &agentidp.Organization{ID: d.org.ID, Slug: d.org.Slug, Issuer: issuer, Revision: d.org.Revision + 1}, "", nil, got.AccessToken)
		if err != nil || in.Active != tt.active {
			t.Errorf("%s: what was granted: %+v, %v", tt.name, in, err)
		}
	}
}

// Who asks too often harms itself alone: refusals count against whoever asks, tokens
// against the agent that they are for, and what is beyond costs no write.
func TestOwnExchangesAreLimited(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	d.limit(2, 2)
	stranger, actor, subject := d.client(d.stranger), d.client(d.actor), d.token(d.subject)
	decisions := 0
	ask := func(name string, req grant.OwnRequest, code string, recorded bool) {
		t.Helper()
		req.SubjectToken = subject
		got, err := d.exchange(&req)
		switch e := agentidp.AsError(err); {
		case (err != nil) != (code != "") || err != nil && e.Code != code:
			t.Errorf("%s: %v, want %s", name, err, code)
		case code == agentidp.CodeRateLimited && (e.Kind != agentidp.TooMany || e.RetryAfter == 0):
			t.Errorf("%s: %+v", name, e)
		case err == nil && got.RateLimit.Name != "tokens-of-agent":
			t.Errorf("%s: %+v", name, got.RateLimit)
		}
		if recorded {
			decisions++
		}
		all, err := d.db.Decisions(t.Context(), d.org.ID, &agentidp.DecisionFilter{}, "", 100)
		if err != nil || len(all) != decisions {
			t.Errorf("%s: %d decisions, %v; want %d", name, len(all), err, decisions)
		}
	}
	for range 2 {
		ask("a stranger", grant.OwnRequest{Client: stranger}, agentidp.CodeDelegationNotPermitted, true)
	}
	ask("a stranger again", grant.OwnRequest{Client: stranger}, agentidp.CodeRateLimited, false)
	own, holder := d.client(d.subject), grant.OwnRequest{}
	ask("the agent, refused", grant.OwnRequest{Client: own, Scope: "deploy:more"}, agentidp.CodeInvalidScope, true)
	ask("the agent", grant.OwnRequest{Client: own}, "", true)

	// Whoever has the token may be a service: what it causes is not the agent's.
	for range 2 {
		ask("whoever has the token", holder, "", true)
		ask("whoever has the token, refused", grant.OwnRequest{Scope: "deploy:more"}, agentidp.CodeInvalidScope, true)
	}
	ask("whoever has the token again", holder, agentidp.CodeRateLimited, false)
	ask("whoever has the token, refused again", grant.OwnRequest{Scope: "deploy:more"}, agentidp.CodeRateLimited, false)
	issued := subject
	subject = d.token(d.subject, to(two))
	ask("whoever has one for another service", holder, "", true)
	subject = issued

	ask("the actor", grant.OwnRequest{Client: actor}, "", true)
	ask("the agent again", grant.OwnRequest{Client: own}, agentidp.CodeRateLimited, false)
	ask("the actor again", grant.OwnRequest{Client: actor}, agentidp.CodeRateLimited, false)
	ask("the agent, refused for the second time", grant.OwnRequest{Client: own, Scope: "deploy:more"}, agentidp.CodeInvalidScope, true)
	ask("the actor, refused", grant.OwnRequest{Client: actor, Scope: "deploy:more"}, agentidp.CodeInvalidScope, true)
	d.now = d.now.Add(time.Minute)
	ask("the agent, later", grant.OwnRequest{Client: own}, "", true)
}

// A-154 for the credential that a token came from.
func TestACredentialEndsInTheMiddleOfAnOwnExchange(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	source := d.client(d.subject)
	subject := d.token(d.subject, by(source), to(issuer))
	d.at = 3 // for the credential's end, once it was read
	d.between = func() { d.revoke(source) }
	_, err := d.exchange(&grant.OwnRequest{SubjectToken: subject, Audience: other})
	if e := agentidp.AsError(err); err == nil || e.Code != agentidp.CodeInvalidTarget {
		t.Errorf("%v, want %s", err, agentidp.CodeInvalidTarget)
	}
}
