package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// engines are the databases that every test of this package runs on.
var engines = []struct {
	name string
	url  func(testing.TB) string // of a new, empty database
}{
	{"SQLite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "agentidp.db") }},
	{"PostgreSQL", pgtest.Start},
}

// onEachEngine runs a test on a new database of each engine.
func onEachEngine(t *testing.T, test func(*testing.T, *fixture)) {
	t.Helper()
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			test(t, newFixture(t, engine.url(t)))
		})
	}
}

// now is the tests' present. It has microseconds, the store's resolution.
var now = time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)

// fixture is a database with one organization in it, which has a provider, a
// policy and an agent.
type fixture struct {
	*store.DB
	url      string
	direct   string // the same database, where url leads through a network
	org      *agentidp.Organization
	provider *agentidp.Provider
	policy   *agentidp.TrustPolicy
	agent    *agentidp.Agent

	credential *agentidp.Credential // of the agent, in tests that make one
	actor      *agentidp.Agent      // likewise
}

func newFixture(t testing.TB, url string) *fixture {
	t.Helper()
	db := open(t, url)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{DB: db, url: url}
	f.addOrganization(t, "default")
	return f
}

// open opens a database and closes it at the end of the test.
func open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// addOrganization makes the fixture's organization a new one.
func (f *fixture) addOrganization(t testing.TB, slug string) {
	t.Helper()
	org := newID()
	f.org = &agentidp.Organization{ID: org, Slug: slug, Name: "The " + slug, Status: agentidp.OrganizationActive, Revision: 3, CreatedAt: now}
	f.provider = &agentidp.Provider{
		ID: newID(), OrganizationID: org, Name: "ghes", Kind: "github", Issuer: "https://ghes.example/_services/token",
		Audiences: []string{"b", "a"}, Algorithms: []string{"RS256"}, JWKSURI: "https://ghes.example/jwks",
		MaxTokenAge: time.Hour, Replay: agentidp.ReplayReject, Revision: 4, CreatedAt: now,
	}
	f.agent = newAgent(org, "deployer@"+slug+".example")
	f.policy = newPolicy(org, "Acme/Deploy", f.agent.AgentID)
	f.write(t, func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), f.org) })
	f.write(t, func(tx *store.Tx) error { return tx.CreateProvider(t.Context(), f.provider) })
	f.createAgent(t, f.agent)
	f.createPolicy(t, f.policy)
}

func newAgent(orgID, name string) *agentidp.Agent {
	return &agentidp.Agent{
		AgentID: newID(), OrganizationID: orgID,
		AgentSpec: agentidp.AgentSpec{
			Name: name, Description: "deploys", AgentType: "custom", Version: "1.2", Capabilities: []string{"deploy:production"},
			Owner: "ops@acme.example", DeploymentEnv: "production", Labels: map[string]string{"team": "ops"},
		},
		Status:       agentidp.AgentActive,
		RegisteredBy: agentidp.RegisteredBy{Subject: "policy:p", PolicyID: "p", Provider: "github", Issuer: "https://ci.example", Repository: "a/b", RepositoryID: "7", Ref: "refs/heads/main", RunID: "9", WorkloadSubject: "build"},
		CreatedAt:    now, UpdatedAt: now, Revision: 1,
	}
}

func newPolicy(orgID, repository, agentID string) *agentidp.TrustPolicy {
	expires := now.Add(24 * time.Hour)
	return &agentidp.TrustPolicy{
		ID: newID(), OrganizationID: orgID,
		TrustPolicySpec: agentidp.TrustPolicySpec{
			Provider: "github", Repository: repository, Branch: "main", AgentID: agentID, RepositoryID: "74", RepositoryOwnerID: "65",
			Events: []string{"push"}, Claims: agentidp.ClaimConditions{"runner_environment": {"github-hosted"}, "größe": {"a", "b"}},
			Scopes: []string{"deploy:production"}, Audiences: []string{"https://deploy.example", "https://a.example"},
			TokenTTLSeconds: 600, MaxAgents: 5, AgentNamePattern: "*@acme.example", TrustRegisteredAgents: true, Mode: agentidp.ModeEnforce, ExpiresAt: &expires, Description: "deploys main",
		},
		CreatedBy: "admin:1", CreatedAt: now, UpdatedAt: now, Revision: 1,
	}
}

func (f *fixture) write(t testing.TB, fn func(*store.Tx) error) {
	t.Helper()
	if err := f.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) createPolicy(t testing.TB, p *agentidp.TrustPolicy) {
	t.Helper()
	f.write(t, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), p, "fingerprint of "+p.ID) })
}

func (f *fixture) createAgent(t testing.TB, a *agentidp.Agent) {
	t.Helper()
	f.write(t, func(tx *store.Tx) error { return tx.CreateAgent(t.Context(), a) })
}

// github is the provider that comes from the configuration.
var github = &agentidp.Provider{Name: "github", Kind: "github", Issuer: "https://token.actions.githubusercontent.com"}

// grant returns an exchange of a new subject token that everything allows.
func (f *fixture) grant() *store.Grant {
	id, token := newID(), newID()
	issued := f.event(agentidp.EventTokenIssued, id)
	issued.ID = id
	return &store.Grant{
		Organization: f.org, Provider: github, Policy: f.policy, Agent: f.agent,
		Pin:       agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65"},
		ReplayKey: "jti-" + newID(), ReplayUntil: now.Add(time.Hour),
		Token: agentidp.AccessToken{
			ID: token, OrganizationID: f.org.ID, Kind: agentidp.PrincipalAgent, Subject: f.agent.AgentID, AgentID: f.agent.AgentID, PolicyID: f.policy.ID,
			DecisionID: id, Provider: "github", RepositoryID: "74", Scope: "deploy:production", Audience: "https://deploy.example",
			IssuedAt: now.Truncate(time.Second), ExpiresAt: now.Truncate(time.Second).Add(10 * time.Minute),
		},
		Decision: agentidp.Decision{
			ID: id, OrganizationID: f.org.ID, RequestID: "req-1", At: now, Outcome: agentidp.OutcomeAllowed, Provider: "github", Repository: "Acme/Deploy",
			RepositoryID: "74", RepositoryOwnerID: "65", Ref: "refs/heads/main", Event: "push", RunID: "123", Subject: "build", AgentID: f.agent.AgentID,
			PolicyID: f.policy.ID, TokenID: token,
			Checks: []agentidp.Check{
				{PolicyID: f.policy.ID, Check: "repository", Claim: "repository", Expected: "Acme/Deploy", Got: "Acme/Deploy", OK: true},
				{PolicyID: f.policy.ID, Check: "branch", Claim: "ref", Expected: "refs/heads/main", Got: "refs/heads/main", OK: true},
				{PolicyID: f.policy.ID, Check: "event", Claim: "event", Expected: "push", Got: "push", OK: true},
			},
		},
		Events:   []agentidp.Event{issued},
		PinEvent: new(f.event(agentidp.EventRepositoryPinned, id)),
	}
}

func (f *fixture) event(kind agentidp.EventType, decisionID string) agentidp.Event {
	return agentidp.Event{
		ID: newID(), OrganizationID: f.org.ID, At: now, Type: kind, Actor: "github:Acme/Deploy",
		AgentID: f.agent.AgentID, PolicyID: f.policy.ID, DecisionID: decisionID, RequestID: "req-1", Data: map[string]string{"ref": "refs/heads/main"},
	}
}

// issued reports whether a grant left its records, and fails the test if it left
// only some of them.
func (f *fixture) issued(t testing.TB, g *store.Grant) bool {
	t.Helper()
	_, tokenErr := f.Token(t.Context(), g.Organization.ID, g.Token.ID)
	_, decisionErr := f.Decision(t.Context(), g.Organization.ID, g.Decision.ID)
	if (tokenErr == nil) != (decisionErr == nil) {
		t.Fatalf("half a grant: token %v, decision %v", tokenErr, decisionErr)
	}
	return tokenErr == nil
}

// ids counts up, so that the ids of a test are in the order of their making.
var ids atomic.Int64

func newID() string {
	return fmt.Sprintf("019a0000-0000-7000-8000-%012x", ids.Add(1))
}

// allEvents reads every event of an organization, in the order of their making.
func (f *fixture) allEvents(t testing.TB) []agentidp.Event {
	t.Helper()
	events, err := f.Events(context.WithoutCancel(t.Context()), f.org.ID, &agentidp.EventFilter{}, "", 100000)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(events)
	return events
}
