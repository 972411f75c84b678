package token

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// What a token is worth stands in its record; of what it says itself, only the agent's
// name and the workload are told, which are nowhere else.
func TestIntrospectionIsOfTheRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAgent)
	rec.AgentID = d.agent(agentidp.AgentActive)
	rec.Subject, rec.Scope, rec.Audience = rec.AgentID, "deploy:staging", "https://deploy.example"
	d.write(func(tx *store.Tx) error { return tx.CreateToken(t.Context(), rec) })
	wider := *rec
	wider.Scope, wider.Subject, wider.Audience = "admin", "admin:other", d.a.ManagementAudience()
	wider.IssuedAt, wider.ExpiresAt = d.now.AddDate(-1, 0, 0), d.now.AddDate(1, 0, 0)
	workload := &agentidp.Workload{Provider: "github", Repository: "acme/deploy"}
	token, err := d.Mint(t.Context(), d.a, &wider, "x@ci.acme.example", workload)
	if err != nil {
		t.Fatal(err)
	}
	at := d.now.Unix()
	want := &agentidp.Introspection{
		Active: true, Scope: "deploy:staging", ClientID: rec.AgentID, Subject: rec.AgentID, Audience: "https://deploy.example", Issuer: "https://idp.example",
		IssuedAt: at, NotBefore: at, ExpiresAt: at + 3600, ID: rec.ID, TokenType: "Bearer", AgentName: "x@ci.acme.example", Workload: workload,
	}
	for _, bearer := range []string{"", token} {
		got, err := d.Introspect(t.Context(), d.a, bearer, token)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	d.now = rec.ExpiresAt
	if got, err := d.Introspect(t.Context(), d.a, "", token); err != nil || *got != (agentidp.Introspection{}) {
		t.Errorf("the record has expired: %+v, %v", got, err)
	}
	if got, err := d.Introspect(t.Context(), d.a, token, token); agentidp.AsError(err).Kind != agentidp.Unauthenticated {
		t.Errorf("an expired token authenticates the question about itself: %+v, %v", got, err)
	}
}

// Whoever cannot look says neither yes nor no.
func TestIntrospectionWithoutStorage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	token, bearer := d.issue(d.a, d.record(d.a, agentidp.PrincipalAdmin)), d.issue(d.a, d.record(d.a, agentidp.PrincipalAdmin))
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"", token, bearer} {
		got, err := d.Introspect(t.Context(), d.a, by, token)
		if e := agentidp.AsError(err); got != nil || e.Kind != agentidp.Unavailable || e.RetryAfter == 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
