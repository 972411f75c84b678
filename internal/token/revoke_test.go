package token

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// stored returns the record of a token as it is now.
func (d *desk) stored(id string) *agentidp.AccessToken {
	d.t.Helper()
	rec, err := d.db.Token(d.t.Context(), d.a.ID, id)
	if err != nil {
		d.t.Fatal(err)
	}
	return rec
}

// eventsOf returns what is recorded of one type.
func (d *desk) eventsOf(typ agentidp.EventType) (found []agentidp.Event) {
	d.t.Helper()
	events, err := d.db.Events(d.t.Context(), d.a.ID, &agentidp.EventFilter{}, "", 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == typ {
			found = append(found, e)
		}
	}
	return found
}

func TestATokenEndsOnceAndLeavesOneEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAgent)
	rec.Audience, rec.AgentID, rec.PolicyID, rec.DecisionID = "https://deploy.example", "agent", "policy", "decision"
	token := d.issue(d.a, rec)
	at := d.now
	for range 3 {
		if _, err := d.RevokeOwn(t.Context(), d.a, "request", token); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(time.Minute)
	}
	if got := d.stored(rec.ID).RevokedAt; !got.Equal(at) {
		t.Errorf("revoked at %v, want %v", got, at)
	}
	events := d.eventsOf(agentidp.EventTokenRevoked)
	if len(events) != 1 {
		t.Fatalf("%d events, want one", len(events))
	}
	want := agentidp.Event{
		ID: events[0].ID, OrganizationID: d.a.ID, At: at, Type: agentidp.EventTokenRevoked, Actor: rec.Subject, RequestID: "request",
		TokenID: rec.ID, AgentID: "agent", PolicyID: "policy", DecisionID: "decision", Data: map[string]string{"subject": rec.Subject},
	}
	if diff := cmp.Diff(want, events[0]); diff != "" {
		t.Error(diff)
	}
}

func TestWhoMayRevokeWhat(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	caller := func(kind agentidp.PrincipalKind, scopes ...string) *agentidp.Principal {
		return &agentidp.Principal{Kind: kind, OrganizationID: d.a.ID, Subject: "caller", TokenID: agentidp.NewID(d.now), Scopes: scopes}
	}
	const own, token, id, unknown, garbage = "its own", "a token", "an id", "an unknown id", "garbage"
	for _, tt := range []struct {
		name   string
		by     *agentidp.Principal
		what   string
		denied bool
	}{
		{"admin, a token", caller(agentidp.PrincipalAdmin, agentidp.ScopeAdmin), token, false},
		{"admin, an id", caller(agentidp.PrincipalAdmin, agentidp.ScopeAdmin), id, false},
		{"tokens:revoke, a token", caller(agentidp.PrincipalAdmin, agentidp.ScopeTokensRevoke), token, false},
		{"tokens:revoke, an id", caller(agentidp.PrincipalAgent, agentidp.ScopeTokensRevoke), id, false},
		{"tokens:revoke, an unknown id", caller(agentidp.PrincipalAdmin, agentidp.ScopeTokensRevoke), unknown, false},
		{"another scope, a token", caller(agentidp.PrincipalAdmin, agentidp.ScopeTokensRead), token, true},
		{"another scope, an id", caller(agentidp.PrincipalAdmin, agentidp.ScopePoliciesWrite), id, true},
		{"another scope, an unknown id", caller(agentidp.PrincipalAdmin, agentidp.ScopePoliciesWrite), unknown, true},
		{"another scope, garbage", caller(agentidp.PrincipalAdmin, agentidp.ScopePoliciesWrite), garbage, false},
		{"no scope, its own id", caller(agentidp.PrincipalAgent), own, false},
		{"bootstrap, a token", caller(agentidp.PrincipalBootstrap, agentidp.ScopeAgentsWrite), token, true},
		{"bootstrap, whatever its scopes say", caller(agentidp.PrincipalBootstrap, agentidp.ScopeAdmin), id, true},
		{"bootstrap, its own id", caller(agentidp.PrincipalBootstrap, agentidp.ScopeAgentsWrite), own, false},
	} {
		rec := d.record(d.a, agentidp.PrincipalAdmin)
		signed := d.issue(d.a, rec)
		given := map[string]string{token: signed, id: rec.ID, own: rec.ID, unknown: agentidp.NewID(d.now), garbage: "changeme"}[tt.what]
		if tt.what == own {
			tt.by.TokenID = rec.ID
		}
		err := d.Revoke(t.Context(), d.a, tt.by, "request", given)
		if e := agentidp.AsError(err); tt.denied != (err != nil) || tt.denied && (e.Kind != agentidp.Denied || e.Scope != agentidp.ScopeTokensRevoke) {
			t.Errorf("%s: %v", tt.name, err)
		}
		ended := !tt.denied && tt.what != unknown && tt.what != garbage
		if got := !d.stored(rec.ID).RevokedAt.IsZero(); got != ended {
			t.Errorf("%s: revoked is %v, want %v", tt.name, got, ended)
		}
	}
}

func TestOfAnotherOrganizationNothingEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAdmin)
	token := d.issue(d.a, rec)
	admin := &agentidp.Principal{Kind: agentidp.PrincipalAdmin, OrganizationID: d.b.ID, Scopes: []string{agentidp.ScopeAdmin}}
	_, err := d.RevokeOwn(t.Context(), d.b, "", token)
	for _, given := range []string{token, rec.ID} {
		err = errors.Join(err, d.Revoke(t.Context(), d.b, admin, "", given))
	}
	n, all := d.RevokeAll(t.Context(), d.b, admin, "", &agentidp.TokenSelection{IssuedBefore: new(d.now.Add(time.Hour))})
	if err = errors.Join(err, all); err != nil || n != 0 || !d.stored(rec.ID).RevokedAt.IsZero() {
		t.Errorf("%d, %v, %+v", n, err, d.stored(rec.ID))
	}
}

func TestRevokeAll(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	admin := &agentidp.Principal{Kind: agentidp.PrincipalAdmin, OrganizationID: d.a.ID, Subject: "admin:1", Scopes: []string{agentidp.ScopeTokensRevoke}}
	const tokens = 1003 // more than one step
	d.write(func(tx *store.Tx) error {
		for range tokens {
			rec := d.record(d.a, agentidp.PrincipalAgent)
			rec.AgentID, rec.RepositoryID = "agent", "74"
			if err := tx.CreateToken(t.Context(), rec); err != nil {
				return err
			}
		}
		return nil
	})
	before := d.now.Add(1500 * time.Millisecond)
	chosen := &agentidp.TokenSelection{AgentID: "agent", RepositoryID: "74", IssuedBefore: &before}
	for _, want := range []int64{tokens, 0} {
		if n, err := d.RevokeAll(t.Context(), d.a, admin, "request", chosen); err != nil || n != want {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
	var got []map[string]string
	for _, e := range d.eventsOf(agentidp.EventTokensRevoked) {
		if e.Actor != "admin:1" || e.AgentID != "agent" || e.RequestID != "request" {
			t.Errorf("%+v", e)
		}
		got = append(got, e.Data)
	}
	// The clock stands still here, so the order of the two events is open.
	slices.SortFunc(got, func(a, b map[string]string) int { return len(b["revoked"]) - len(a["revoked"]) })
	const at = "2026-11-21T12:00:01.5Z"
	want := []map[string]string{{"revoked": "1000", "repository_id": "74", "issued_before": at}, {"revoked": "3", "repository_id": "74", "issued_before": at}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := d.RevokeAll(t.Context(), d.a, admin, "", &agentidp.TokenSelection{}); agentidp.AsError(err).Kind != agentidp.Invalid {
		t.Errorf("nothing is chosen: %v", err)
	}
}

// A caller is never told that a token has ended when that is not known.
func TestRevocationWithoutStorage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAdmin)
	token := d.issue(d.a, rec)
	admin := &agentidp.Principal{Kind: agentidp.PrincipalAdmin, Scopes: []string{agentidp.ScopeAdmin}}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := d.RevokeOwn(left, d.a, "", token); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller has left: %v", err)
	}
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, own := d.RevokeOwn(t.Context(), d.a, "", token)
	_, all := d.RevokeAll(t.Context(), d.a, admin, "", &agentidp.TokenSelection{AgentID: "x"})
	for name, err := range map[string]error{
		"its own": own,
		"an id":   d.Revoke(t.Context(), d.a, admin, "", rec.ID),
		"all":     all,
	} {
		if e := agentidp.AsError(err); e.Kind != agentidp.Unavailable || e.RetryAfter == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
