package app

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

const typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

// ownForm is the exchange of a token of ours; more are further parameters, each with its
// value.
func ownForm(subject string, more ...string) string {
	form := url.Values{"grant_type": {agentidp.GrantTokenExchange}, "subject_token": {subject}, "subject_token_type": {typeAccessToken}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form.Encode()
}

// actForm is one in which another agent acts, by its token.
func actForm(subject, actor string, more ...string) string {
	return ownForm(subject, append([]string{"actor_token", actor, "actor_token_type", typeAccessToken}, more...)...)
}

// ownExchange sends such a form.
func (w *world) ownExchange(form string) *answer {
	w.t.Helper()
	return w.do("POST", tokenPath, "", form, "Content-Type", formType)
}

// ownPair are an agent, one that may act for it, and a token of each.
type ownPair struct{ subject, actor, held, actors string }

// newPair makes them.
func (w *world) newPair(admin, name string) *ownPair {
	w.t.Helper()
	p := &ownPair{actor: w.register(admin, name+"-actor@ci.acme.example"), subject: w.register(admin, name+"@ci.acme.example", "deploy:staging", "deploy:production")}
	w.mayDelegate(p.subject, p.actor)
	for _, id := range []string{p.subject, p.actor} {
		w.policy(admin, map[string]any{"agentId": id, "branch": "main"}) // the audience is the issuer
	}
	p.held = w.granted(exchangeBody(w.subject(nil), p.subject)).str("access_token")
	p.actors = w.granted(exchangeBody(w.subject(nil), p.actor)).str("access_token")
	return p
}

// mayDelegate says who may act for an agent.
func (w *world) mayDelegate(agent string, to ...string) {
	w.t.Helper()
	err := w.app.db.Write(w.t.Context(), func(tx *store.Tx) error {
		a, err := tx.LockAgent(w.t.Context(), w.org().ID, agent)
		if err != nil {
			return err
		}
		a.MayDelegateTo, a.Revision = to, a.Revision+1
		return tx.UpdateAgent(w.t.Context(), a)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// ownChanges are what can be done about a delegation that is under way.
var ownChanges = []struct {
	name string
	make func(w *world, admin string, p *ownPair)
	code string
	ends bool // what was got before, too
}{
	{"the token is revoked", func(w *world, _ string, p *ownPair) { w.ended(w.revoke("", p.held)) }, agentidp.CodeInvalidToken, true},
	{"the actor's token is revoked", func(w *world, _ string, p *ownPair) { w.ended(w.revoke("", p.actors)) }, agentidp.CodeInvalidToken, false},
	{"the agent is suspended", func(w *world, admin string, p *ownPair) {
		w.want(w.do("POST", agentsPath+"/"+p.subject+"/suspend", admin, nil), 200)
	}, agentidp.CodeInvalidToken, true},
	{"the actor is suspended", func(w *world, admin string, p *ownPair) {
		w.want(w.do("POST", agentsPath+"/"+p.actor+"/suspend", admin, nil), 200)
	}, agentidp.CodeInvalidToken, true},
	{"the agent lets nobody act for it", func(w *world, _ string, p *ownPair) { w.mayDelegate(p.subject) }, agentidp.CodeDelegationNotPermitted, false},
	{"all tokens of the actor are revoked", func(w *world, admin string, p *ownPair) {
		w.want(w.do("POST", revokeAllPath, admin, map[string]any{"agentId": p.actor}), 200)
	}, agentidp.CodeInvalidToken, false}, // what is issued meanwhile it may cover
}

// nothing is got for a token that begins after it, or what it stands for,
// has ended, while agents exchange all the time; and what ends with it is good at no node.
func TestNoDelegationBeginsAfterAChange(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		admin := nodes[0].admin()
		for i, c := range ownChanges {
			t.Run(c.name, func(t *testing.T) {
				w := nodes[0].in(t)
				p := w.newPair(admin, fmt.Sprintf("pair%d", i))
				var mu sync.Mutex
				var got []string
				r := &exchangeRace{world: w, nodes: nodes, code: c.code, own: actForm(p.held, p.actors), warm: make(chan struct{}), keep: func(token string) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, token)
				}}
				r.run(func() { c.make(w, admin, p) })
				if !c.ends {
					return
				}
				for i := 0; i < len(got); i += max(1, len(got)/10) {
					nodes[i%len(nodes)].inactive(c.name, nodes[i%len(nodes)].introspect("", got[i]))
				}
				nodes[len(nodes)-1].inactive(c.name, nodes[len(nodes)-1].introspect("", got[len(got)-1]))
			})
		}
	})
}

// S-054: each token is what its type says, and nothing else.
func TestATokenUnderAnotherType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	p := w.newPair(admin, "typed")
	w.policy(admin, nil)
	boot, other := w.bootstrap(nil), w.tenant("bravo")
	otherAdmin := other.admin()
	theirs := other.newPair(otherAdmin, "typed")
	with := func(token, typ string) string {
		return url.Values{"grant_type": {agentidp.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {typ}}.Encode()
	}
	const urn = "urn:ietf:params:oauth:token-type:"
	unknown := ""
	for _, tt := range []struct{ name, form, code string }{
		{"A-165 a CI's token as an access token", with(w.subject(nil), urn+"access_token"), agentidp.CodeInvalidToken},
		{"A-158 A-165 an access token as a CI's", with(p.held, urn+"jwt") + "&agent_id=" + p.subject, agentidp.CodeInvalidToken},
		{"A-158 A-165 an access token as an id token", with(p.held, urn+"id_token") + "&agent_id=" + p.subject, agentidp.CodeInvalidToken},
		{"A-165 as a refresh token", with(p.held, urn+"refresh_token"), agentidp.CodeInvalidRequest},
		{"A-165 as an assertion of SAML", with(p.held, urn+"saml2"), agentidp.CodeInvalidRequest},
		{"A-165 as what there is not", with(p.held, "urn:example:token"), agentidp.CodeInvalidRequest},
		{"A-165 as nothing", with(p.held, ""), agentidp.CodeInvalidRequest},
		{"A-165 in another case", with(p.held, urn+"Access_Token"), agentidp.CodeInvalidRequest},
		{"an administrator's", ownForm(admin), agentidp.CodeInvalidRequest},
		{"a bootstrap token", ownForm(boot), agentidp.CodeInvalidRequest},
		{"A-164 an actor's token without its type", ownForm(p.held, "actor_token", p.actors), agentidp.CodeInvalidRequest},
		{"A-164 the type without an actor's token", ownForm(p.held, "actor_token_type", typeAccessToken), agentidp.CodeInvalidRequest},
		{"A-164 an actor's token as a CI's", ownForm(p.held, "actor_token", p.actors, "actor_token_type", urn+"jwt"), agentidp.CodeInvalidRequest},
		{"A-164 a CI's token as an actor's", actForm(p.held, w.subject(nil)), agentidp.CodeInvalidToken},
		{"A-164 an actor that is not named", actForm(p.actors, p.held), agentidp.CodeDelegationNotPermitted},
		{"another organization's", ownForm(theirs.held), agentidp.CodeInvalidToken},
		{"an actor of another organization", actForm(p.held, theirs.actors), agentidp.CodeInvalidToken},
		{"A-166 for another kind of token", ownForm(p.held, "requested_token_type", urn+"refresh_token"), agentidp.CodeInvalidRequest},
		{"for a named agent", ownForm(p.held, "agent_id", p.subject), agentidp.CodeInvalidRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			a := w.ownExchange(tt.form)
			if w.want(a, 400, tt.code); a.str("error") != "invalid_request" {
				t.Errorf("%s", a.Raw)
			}
			if w.isOAuth(a); tt.name == "another organization's" {
				unknown = a.str("error_description")
			}
		})
	}
	// A token that is nobody's is answered alike.
	if a := w.ownExchange(ownForm(newWorld(t).admin())); a.str("error_description") != unknown {
		t.Errorf("%s, and of another organization's %s", a.Raw, unknown)
	}
}

// what is in the token, as a service reads it, and at introspection.
func TestA163ADelegatedTokenAsAServiceReadsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	p := w.newPair(w.admin(), "read")
	w.clock.advance(time.Minute)
	got := w.want(w.ownExchange(actForm(p.held, p.actors, "scope", "deploy:staging")), 200)
	token := got.str("access_token")
	claims, parent := jwtClaims(t, token), jwtClaims(t, p.held)
	for _, same := range []string{"iss", "sub", "client_id", "aud", "exp", "agent_name", "workload"} {
		if fmt.Sprint(claims[same]) != fmt.Sprint(parent[same]) {
			t.Errorf("%s is %v, and was %v", same, claims[same], parent[same])
		}
	}
	if fmt.Sprint(claims["act"]) != fmt.Sprint(map[string]any{"sub": p.actor}) || claims["scope"] != "deploy:staging" || claims["sub"] != p.subject || got.Body["expires_in"] != 840.0 {
		t.Errorf("%v\n%s", claims, got.Raw)
	}
	w.active("a delegated token", w.introspect("", token), token)
	w.want(w.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken)
	for range 3 { // and on, each for the one before
		token = w.want(w.ownExchange(ownForm(token)), 200).str("access_token")
	}
	w.want(w.ownExchange(ownForm(token)), 400, agentidp.CodeInvalidRequest)
}

// A-163, as the row says it: fifty times, each for the one before, with another acting each
// time or not. Four are granted, none of them lives longer or may do more, and all end with
// the first.
func TestA163FiftyExchangesInARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	admin := w.admin()
	for name, form := range map[string]func(p *ownPair, token string) string{
		"for itself":     func(_ *ownPair, token string) string { return ownForm(token) },
		"another acting": func(p *ownPair, token string) string { return actForm(token, p.actors) },
		"for longer":     func(_ *ownPair, token string) string { return ownForm(token, "requested_expires_in", "3600") },
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			p := w.newPair(admin, strings.ReplaceAll(name, " ", "-"))
			line := []string{p.held}
			for range 50 {
				w.clock.advance(time.Second)
				a := w.ownExchange(form(p, line[len(line)-1]))
				if a.Status != 200 {
					w.want(a, 400, agentidp.CodeInvalidRequest)
					continue
				}
				line = append(line, a.str("access_token"))
			}
			if len(line) != 5 {
				t.Fatalf("%d were granted, want 4", len(line)-1)
			}
			first := jwtClaims(t, p.held)
			for i, token := range line[1:] {
				said := jwtClaims(t, token)
				if said["exp"] != first["exp"] || said["scope"] != first["scope"] || said["sub"] != first["sub"] || said["aud"] != first["aud"] {
					t.Errorf("the %dth says %v, and the first %v", i+1, said, first)
				}
			}
			more := w.ownExchange(ownForm(line[1], "scope", "deploy:staging deploy:production admin"))
			w.want(more, 400, agentidp.CodeInvalidScope)
			w.ended(w.revoke("", p.held))
			for i, token := range line {
				w.inactive(fmt.Sprint("the one at ", i), w.introspect("", token))
			}
		})
	}
}
