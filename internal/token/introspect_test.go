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
		got, err := d.Introspect(t.Context(), d.a, bearer, nil, token)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	d.now = rec.ExpiresAt
	if got, err := d.Introspect(t.Context(), d.a, "", nil, token); err != nil || *got != (agentidp.Introspection{}) {
		t.Errorf("the record has expired: %+v, %v", got, err)
	}
	if got, err := d.Introspect(t.Context(), d.a, token, nil, token); agentidp.AsError(err).Kind != agentidp.Unauthenticated {
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
		got, err := d.Introspect(t.Context(), d.a, by, nil, token)
		if e := agentidp.AsError(err); got != nil || e.Kind != agentidp.Unavailable || e.RetryAfter == 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// Who may know of a token, and end it: whoever holds the scope for any, and its own
// client, which of a delegated token is its subject and whoever acts for that.
func TestWhoseTokensAClientKnowsAndEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	subject, actor, other := d.agent(agentidp.AgentActive), d.agent(agentidp.AgentActive), d.agent(agentidp.AgentActive)
	const none, knows, ends = "", "knows", "knows and ends"
	client := func(id string, capabilities ...string) *agentidp.Principal {
		return (&agentidp.Client{Credential: &agentidp.Credential{}, Agent: &agentidp.Agent{OrganizationID: d.a.ID, AgentID: id, AgentSpec: agentidp.AgentSpec{Capabilities: capabilities}}}).Principal()
	}
	for _, r := range []struct {
		name string
		by   *agentidp.Principal
		of   [3]string // the agent's own token, a delegated one, an administrator's
	}{
		{"the subject", client(subject), [3]string{ends, ends, none}},
		{"whoever acts for it", client(actor), [3]string{none, ends, none}},
		{"somebody else", client(other), [3]string{none, none, none}},
		{"somebody else with tokens:read", client(other, "tokens:read"), [3]string{knows, knows, knows}},
		{"somebody else with both", client(other, "tokens:read", "tokens:revoke"), [3]string{ends, ends, ends}},
		{"somebody else that is admin", client(other, "admin"), [3]string{ends, ends, ends}},
	} {
		for i, kind := range []agentidp.PrincipalKind{agentidp.PrincipalAgent, agentidp.PrincipalAgent, agentidp.PrincipalAdmin} {
			rec := d.record(d.a, kind)
			if kind == agentidp.PrincipalAgent {
				rec.AgentID, rec.Subject = subject, subject
			}
			if i == 1 {
				rec.ActorID = actor
			}
			token := d.issue(d.a, rec)
			got, err := d.IntrospectFor(t.Context(), d.a, r.by, token)
			if err != nil || got.Active != (r.of[i] != none) {
				t.Errorf("%s of token %d: %+v, %v", r.name, i, got, err)
			}
			err = d.RevokeFor(t.Context(), d.a, r.by, "request", token)
			if ended := !d.stored(rec.ID).RevokedAt.IsZero(); ended != (r.of[i] == ends) || ended != (err == nil) {
				t.Errorf("%s of token %d: ended is %v, %v", r.name, i, ended, err)
			}
			if e := agentidp.AsError(err); err != nil && (e.Code != agentidp.CodeUnauthorizedClient || e.Kind != agentidp.Invalid) {
				t.Errorf("%s of token %d: %v", r.name, i, err)
			}
		}
	}
}
