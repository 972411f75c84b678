package registry

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Each field of a bootstrap policy either goes to the policies of its agents or is
// known to be about bootstrap alone; one that is added later goes there, and if it
// may not, the result is no valid policy and this fails.
func TestThePolicyOfARegisteredAgentSaysAllThatItsBootstrapPolicySays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	kind := &agentidp.ProviderKind{Name: "github", DefaultEvents: []string{"push"}, ClaimNames: map[agentidp.Claim]string{
		agentidp.ClaimRepository: "repository", agentidp.ClaimRepositoryID: "repository_id", agentidp.ClaimRepositoryOwnerID: "repository_owner_id",
		agentidp.ClaimRef: "ref", agentidp.ClaimEvent: "event_name", agentidp.ClaimEnvironment: "environment", agentidp.ClaimJobWorkflowRef: "job_workflow_ref",
	}}
	end := now.Add(time.Hour)
	said := agentidp.TrustPolicySpec{
		Provider: "github", Repository: "Acme/Deploy", Branch: "main", RepositoryID: "74", RepositoryOwnerID: "65", Events: []string{"push", "schedule"},
		Environment: "production", Workflow: ".github/workflows/deploy.yml", Condition: `claims.ref_protected == "true"`, AcceptRisk: "none that matters",
		Claims:          agentidp.ClaimConditions{"runner_environment": {"github-hosted"}},
		TokenTTLSeconds: 60, MaxAgents: 3, AgentNamePattern: "*@ci.acme.example", TrustRegisteredAgents: true, Mode: agentidp.ModeEnforce,
		ExpiresAt: &end, Description: "lets acme register",
	}
	tagged := said
	tagged.Branch, tagged.Tag = "", "v*"
	agent := &agentidp.Agent{AgentID: agentidp.NewID(now), AgentSpec: agentidp.AgentSpec{Name: "deployer@ci.acme.example"}}
	changed := []string{"AgentID", "TokenTTLSeconds", "MaxAgents", "AgentNamePattern", "TrustRegisteredAgents", "Description"}
	used := map[string]bool{"Scopes": true, "Audiences": true} // which no bootstrap policy has
	for _, bootstrap := range []agentidp.TrustPolicySpec{said, tagged} {
		if bad := policy.Validate(&bootstrap, kind, now); len(bad) > 0 {
			t.Fatalf("the test's own policy: %v", bad)
		}
		got := policyOf(agent, &agentidp.TrustPolicy{ID: "p1", TrustPolicySpec: bootstrap})
		if bad := policy.Validate(&got, kind, now); len(bad) > 0 || got.Bootstrap() {
			t.Errorf("%+v: %v", got, bad)
		}
		from, to := reflect.ValueOf(bootstrap), reflect.ValueOf(got)
		for i := range from.NumField() {
			name := from.Type().Field(i).Name
			if same := reflect.DeepEqual(from.Field(i).Interface(), to.Field(i).Interface()); same == slices.Contains(changed, name) {
				t.Errorf("%s: %v became %v", name, from.Field(i), to.Field(i))
			}
			if !from.Field(i).IsZero() || name == "AgentID" {
				used[name] = true
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[agentidp.TrustPolicySpec]()) {
		if !used[field.Name] {
			t.Errorf("the test leaves %s empty", field.Name)
		}
	}
}

// Whose an agent is that is there already: two callers are the same only by something
// that both have.
func TestWhoRegistersAnAgentAgain(t *testing.T) {
	t.Parallel()
	type who = agentidp.RegisteredBy
	const one, two = "https://one.example", "https://two.example"
	r := &Registry{Config: Config{Providers: []*agentidp.Provider{{Name: "github", Issuer: one}}}}
	for _, tt := range []struct {
		name       string
		registered who
		again      who
		same       bool
	}{
		{"the same repository", who{Issuer: one, RepositoryID: "74"}, who{Issuer: one, RepositoryID: "74"}, true},
		{"after it was renamed", who{Issuer: one, Repository: "a/b", RepositoryID: "74"}, who{Issuer: one, Repository: "c/d", RepositoryID: "74"}, true},
		{"another repository", who{Issuer: one, RepositoryID: "74"}, who{Issuer: one, RepositoryID: "75"}, false},
		{"the same id of another issuer", who{Provider: "ci", Issuer: one, RepositoryID: "74"}, who{Provider: "ci", Issuer: two, RepositoryID: "74"}, false},
		{"the same id of an issuer under another name", who{Provider: "ci", Issuer: one, RepositoryID: "74"}, who{Provider: "ghes", Issuer: one, RepositoryID: "74"}, true},
		{"the same subject", who{Issuer: one, WorkloadSubject: "build"}, who{Issuer: one, WorkloadSubject: "build"}, true},
		{"another subject", who{Issuer: one, WorkloadSubject: "build"}, who{Issuer: one, WorkloadSubject: "deploy"}, false},
		{"a subject in another case", who{Issuer: one, WorkloadSubject: "build"}, who{Issuer: one, WorkloadSubject: "Build"}, false},
		{"the same subject of another issuer", who{Provider: "ci", Issuer: one, WorkloadSubject: "build"}, who{Provider: "ci", Issuer: two, WorkloadSubject: "build"}, false},
		{"nobody, twice", who{Issuer: one}, who{Issuer: one}, false},
		{"nobody after somebody", who{Issuer: one, WorkloadSubject: "build"}, who{Issuer: one}, false},
		{"somebody after nobody", who{Issuer: one}, who{Issuer: one, WorkloadSubject: "build"}, false},
		{"a repository that is called like a subject", who{Issuer: one, WorkloadSubject: "74"}, who{Issuer: one, RepositoryID: "74"}, false},
		{"a repository with a subject", who{Issuer: one, RepositoryID: "74"}, who{Issuer: one, RepositoryID: "74", WorkloadSubject: "build"}, false},
		{"before issuers were recorded, of the configuration", who{Provider: "github", RepositoryID: "74"}, who{Provider: "github", Issuer: one, RepositoryID: "74"}, true},
		{"before issuers were recorded, of another provider", who{Provider: "github", RepositoryID: "74"}, who{Provider: "ghes", Issuer: one, RepositoryID: "74"}, false},
		{"before issuers were recorded, of a provider that was registered anew", who{Provider: "ci", WorkloadSubject: "build"}, who{Provider: "ci", Issuer: two, WorkloadSubject: "build"}, false},
		{"an administrator", who{Subject: "admin:1"}, who{Provider: "github", Issuer: one, RepositoryID: "74"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := r.sameOrigin(&agentidp.Agent{RegisteredBy: tt.registered}, &tt.again)
			if tt.same != (err == nil) || err != nil && agentidp.AsError(err).Code != agentidp.CodeAgentNameTaken {
				t.Errorf("got %v", err)
			}
		})
	}
}
