package token

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// line is a token, and those that were got for it, each for the one before: of the
// first's agent, with an actor from the second on.
type line struct {
	agent, actor, formerActor string
	recs                      []*agentidp.AccessToken
	last                      string // the last one itself
}

func (d *desk) line() *line {
	d.t.Helper()
	l := &line{agent: d.agent(agentidp.AgentActive), actor: d.agent(agentidp.AgentActive), formerActor: d.agent(agentidp.AgentActive)}
	for i, actor := range []string{"", l.formerActor, l.actor, l.actor} {
		rec := d.record(d.a, agentidp.PrincipalAgent)
		rec.Subject, rec.AgentID, rec.ActorID, rec.Depth, rec.Audience = l.agent, l.agent, actor, i, "https://deploy.example"
		if i > 0 {
			rec.ParentID = l.recs[i-1].ID
		}
		l.recs, l.last = append(l.recs, rec), d.issue(d.a, rec)
	}
	return l
}

func (d *desk) suspend(agent string) {
	d.write(func(tx *store.Tx) error {
		a, err := tx.LockAgent(d.t.Context(), d.a.ID, agent)
		if err != nil {
			return err
		}
		a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1
		return tx.UpdateAgent(d.t.Context(), a)
	})
}

// whatever ends a token ends all that was got for it, and for those.
func TestATokenEndsWithWhatItCameFrom(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	revoke := func(i int) func(*line) {
		return func(l *line) {
			d.write(func(tx *store.Tx) error {
				_, err := tx.RevokeToken(t.Context(), d.a.ID, l.recs[i].ID, d.now)
				return err
			})
		}
	}
	for _, tt := range []struct {
		name string
		end  func(*line)
		why  string // empty: it is good
	}{
		{"nothing ended", func(*line) {}, ""},
		{"it was revoked itself", revoke(3), "It was revoked."},
		{"its parent was revoked", revoke(2), "A token that it was got for was revoked."},
		{"its parent's parent was revoked", revoke(1), "A token that it was got for was revoked."},
		{"the first was revoked", revoke(0), "A token that it was got for was revoked."},
		{"its agent was suspended", func(l *line) { d.suspend(l.agent) }, "Its agent is not active."},
		{"who acts was suspended", func(l *line) { d.suspend(l.actor) }, "The agent that acts for its agent is not active."},
		{"who acted before was suspended", func(l *line) { d.suspend(l.formerActor) }, "The agent that acts for its agent is not active."},
		{"all tokens of its agent were revoked", func(l *line) { d.revokeAll(&agentidp.TokenSelection{AgentID: l.agent}) }, "It was revoked."},
		{"all tokens of who acts were revoked", func(l *line) { d.revokeAll(&agentidp.TokenSelection{AgentID: l.actor}) }, "It was revoked."},
		{"all tokens of who acted before were revoked", func(l *line) { d.revokeAll(&agentidp.TokenSelection{AgentID: l.formerActor}) }, "A token that it was got for was revoked."},
		{"there is no record of its parent", func(l *line) {
			orphan := *l.recs[3]
			orphan.ID, orphan.ParentID = agentidp.NewID(d.now), agentidp.NewID(d.now)
			l.last = d.issue(d.a, &orphan)
		}, "There is no record of the token that it was got for."},
	} {
		l := d.line()
		tt.end(l)
		presented, err := d.Subject(t.Context(), d.a, l.last)
		in, inErr := d.Introspect(t.Context(), d.a, "", nil, l.last)
		switch e := agentidp.AsError(err); {
		case inErr != nil || in.Active != (tt.why == ""):
			t.Errorf("%s: introspection %+v, %v", tt.name, in, inErr)
		case tt.why == "" && (err != nil || presented.ID != l.recs[3].ID):
			t.Errorf("%s: %v", tt.name, err)
		case tt.why != "" && (err == nil || e.Kind != agentidp.Unauthenticated || !strings.HasSuffix(e.Message, tt.why)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.why)
		}
	}
}

func (d *desk) revokeAll(chosen *agentidp.TokenSelection) {
	d.t.Helper()
	if n, err := d.RevokeAll(d.t.Context(), d.a, &agentidp.Principal{Subject: "admin:1"}, "", chosen); err != nil || n == 0 {
		d.t.Errorf("%d revoked, %v", n, err)
	}
}

// Nothing is managed in another's name, whatever the record's audience.
func TestADelegatedTokenIsNoPrincipal(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAgent)
	rec.AgentID = d.agent(agentidp.AgentActive)
	if _, err := d.Authenticate(t.Context(), d.a, d.issue(d.a, rec), nil); err != nil {
		t.Errorf("its agent's own: %v", err)
	}
	rec.ID, rec.ActorID = agentidp.NewID(d.now), d.agent(agentidp.AgentActive)
	p, err := d.Authenticate(t.Context(), d.a, d.issue(d.a, rec), nil)
	if e := agentidp.AsError(err); err == nil || e.Kind != agentidp.Unauthenticated || !strings.Contains(e.Message, "delegated") {
		t.Errorf("%+v, %v", p, err)
	}
}

// S-055: the claim act, and whose doing it is when such a token ends itself.
func TestWhoActsStandsInTheToken(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAgent)
	rec.AgentID, rec.ActorID, rec.KeyThumbprint, rec.Audience = d.agent(agentidp.AgentActive), d.agent(agentidp.AgentActive), "thumb", "https://deploy.example"
	rec.Subject = rec.AgentID
	d.write(func(tx *store.Tx) error { return tx.CreateToken(t.Context(), rec) })
	chain := &agentidp.Actor{Subject: rec.ActorID, Actor: &agentidp.Actor{Subject: "before"}}
	signed, err := d.MintFor(t.Context(), d.a, rec, "x@ci.acme.example", nil, chain)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(signed, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	act := map[string]any{"sub": rec.ActorID, "act": map[string]any{"sub": "before"}}
	if !reflect.DeepEqual(got["act"], any(act)) || got["sub"] != rec.AgentID || got["client_id"] != rec.AgentID || !reflect.DeepEqual(got["cnf"], any(map[string]any{"jkt": "thumb"})) {
		t.Errorf("claims %v", got)
	}
	in, err := d.Introspect(t.Context(), d.a, "", nil, signed)
	if err != nil || !reflect.DeepEqual(in.Actor, chain) || in.TokenType != "DPoP" || in.Confirmation == nil || in.Confirmation.KeyThumbprint != "thumb" {
		t.Errorf("introspection %+v, %v", in, err)
	}
	presented, err := d.Subject(t.Context(), d.a, signed)
	if err != nil || !reflect.DeepEqual(presented.Actor, chain) || presented.AgentName != "x@ci.acme.example" || presented.ActorID != rec.ActorID {
		t.Errorf("presented %+v, %v", presented, err)
	}
	d.now = d.now.Add(time.Minute)
	if _, err := d.RevokeOwn(t.Context(), d.a, "request", signed); err != nil {
		t.Fatal(err)
	}
	if events := d.eventsOf(agentidp.EventTokenRevoked); len(events) != 1 || events[0].Actor != rec.ActorID || events[0].AgentID != rec.AgentID {
		t.Errorf("%+v", events)
	}
}
