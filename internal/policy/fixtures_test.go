package policy_test

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// The world of these tests: one organization, one repository acme/deploy with
// the ids 74 and 65, and its agent, which may deploy to staging and production.
const (
	orgID  = "01900000-0000-7000-8000-0000000000aa"
	agentX = "01900000-0000-7000-8000-00000000ab01"
	agentY = "01900000-0000-7000-8000-00000000ab02"

	deployYML = "acme/deploy/.github/workflows/deploy.yml" // where its jobs stand
)

var (
	now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	org = &agentidp.Organization{ID: orgID, Issuer: "https://idp.example.com"}

	github = &agentidp.ProviderKind{
		Name: "github",
		ClaimNames: map[agentidp.Claim]string{
			agentidp.ClaimRepository: "repository", agentidp.ClaimRepositoryID: "repository_id", agentidp.ClaimRepositoryOwnerID: "repository_owner_id",
			agentidp.ClaimRef: "ref", agentidp.ClaimRefType: "ref_type", agentidp.ClaimEvent: "event_name",
			agentidp.ClaimEnvironment: "environment", agentidp.ClaimWorkflowRef: "workflow_ref", agentidp.ClaimJobWorkflowRef: "job_workflow_ref", agentidp.ClaimActor: "actor", agentidp.ClaimTokenID: "jti",
		},
		IdentityClaims: []string{"repository_id", "repository_owner_id"},
		UnsafeClaims: map[string]string{
			"sub": "It has three forms. Use repository.", "actor": "Names can be taken over.", "workflow": "It is a display name.",
			"head_ref": "Whoever opens a pull request chooses it.", "base_ref": "Whoever opens a pull request chooses it.",
		},
		DefaultEvents: []string{"push", "workflow_dispatch", "schedule", "repository_dispatch", "release", "deployment"},
		OutsiderEvent: map[string]agentidp.OutsiderEvent{"pull_request_target": {Why: "It runs with the rights of the target branch for anyone's pull request.", ForkReachable: true}},
	}

	// oidc is the kind of the provider cluster, whose tokens say nothing but sub that
	// is known.
	oidc = &agentidp.ProviderKind{
		Name: "oidc", ClaimNames: map[agentidp.Claim]string{agentidp.ClaimTokenID: "jti"}, IdentityClaims: []string{"sub"},
		PersonClaims: map[string]string{"user_login": "It is whoever started the job. Use project_id."},
	}
)

// said are the claims of a token, as they are spelled.
type said map[string]string

func (s said) ReadClaim(name string) (string, bool) {
	value, ok := s[name]
	return value, ok
}

func (s said) ReadJSON(name string) []byte {
	value, ok := s[name]
	if !ok {
		return nil
	}
	text, _ := json.Marshal(value)
	return text
}

func kindOf(provider string) *agentidp.ProviderKind {
	if provider == "cluster" {
		return oidc
	}
	return github
}

// pol returns a policy as it is stored: acme/deploy, branch main, agent X,
// pinned; then changed by the options.
func pol(options ...func(*agentidp.TrustPolicy)) *agentidp.TrustPolicy {
	p := &agentidp.TrustPolicy{
		ID:             "p1",
		OrganizationID: orgID,
		TrustPolicySpec: agentidp.TrustPolicySpec{
			Provider: "github", Repository: "acme/deploy", Branch: "main", AgentID: agentX,
		},
		Pinned:    &agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65", PinnedAt: now.Add(-time.Hour)},
		CreatedAt: now.Add(-24 * time.Hour),
	}
	for _, o := range options {
		o(p)
	}
	p.TrustPolicySpec = policy.Normalize(p.TrustPolicySpec, kindOf(p.Provider))
	return p
}

// of a workload of the cluster: no repository, branch or events, and a subject. It
// undoes what pol says of a repository.
func workload(subject ...string) policyOption {
	return func(p *agentidp.TrustPolicy) {
		p.Provider, p.Repository, p.Branch, p.Events, p.Pinned = "cluster", "", "", nil, nil
		needs("sub", subject...)(p)
	}
}

// needs adds a condition on a claim.
func needs(name string, values ...string) policyOption {
	return func(p *agentidp.TrustPolicy) {
		p.Claims = maps.Clone(p.Claims)
		if p.Claims == nil {
			p.Claims = agentidp.ClaimConditions{}
		}
		p.Claims[name] = values
	}
}

type policyOption = func(*agentidp.TrustPolicy)

func id(s string) policyOption     { return func(p *agentidp.TrustPolicy) { p.ID = s } }
func branch(s string) policyOption { return func(p *agentidp.TrustPolicy) { p.Branch = s } }
func tag(s string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Branch, p.Tag = "", s }
}
func of(repository string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Repository = repository }
}
func forAgent(s string) policyOption { return func(p *agentidp.TrustPolicy) { p.AgentID = s } }
func onEvents(s ...string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Events = s }
}
func withScopes(s ...string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Scopes = s }
}
func withAudiences(s ...string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Audiences = s }
}
func needsIDs(repo, owner string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.RepositoryID, p.RepositoryOwnerID = repo, owner }
}
func pinnedTo(repo, owner string) policyOption {
	return func(p *agentidp.TrustPolicy) {
		p.Pinned = &agentidp.Pin{RepositoryID: repo, RepositoryOwnerID: owner, PinnedAt: now}
	}
}
func expires(after time.Duration) policyOption {
	return func(p *agentidp.TrustPolicy) { t := now.Add(after); p.ExpiresAt = &t }
}
func ttl(seconds int) policyOption {
	return func(p *agentidp.TrustPolicy) { p.TokenTTLSeconds = seconds }
}
func inEnvironment(s string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Environment = s }
}
func inWorkflow(s string) policyOption     { return func(p *agentidp.TrustPolicy) { p.Workflow = s } }
func unpinned(p *agentidp.TrustPolicy)     { p.Pinned = nil }
func bootstrap(p *agentidp.TrustPolicy)    { p.AgentID = "" }
func disabled(p *agentidp.TrustPolicy)     { p.Mode = agentidp.ModeDisabled }
func otherTenant(p *agentidp.TrustPolicy)  { p.OrganizationID = "01900000-0000-7000-8000-0000000000bb" }
func fromGitLab(p *agentidp.TrustPolicy)   { p.Provider = "gitlab" }
func branchAndTag(p *agentidp.TrustPolicy) { p.Branch, p.Tag = "main", "main" }

// run returns the input of an exchange: a push to main of acme/deploy that asks
// for agent X; then changed by the options.
func run(options ...inputOption) *policy.Input {
	in := &policy.Input{
		Claims: &agentidp.Claims{
			Provider: "github", Repository: "acme/deploy", RepositoryID: "74", RepositoryOwnerID: "65",
			Ref: "refs/heads/main", RefType: "branch", Event: "push", Actor: "octocat",
			WorkflowRef: deployYML + "@refs/heads/main", JobWorkflowRef: deployYML + "@refs/heads/main",
			Kind: github, Source: said{"runner_environment": "github-hosted", "repository_visibility": "private", "ref_protected": "true", "sub": "repo:acme/deploy:ref:refs/heads/main"},
		},
		AgentID:      agentX,
		Agent:        &agentidp.Agent{AgentID: agentX, OrganizationID: orgID, Status: agentidp.AgentActive},
		Organization: org,
		Now:          now,
		AgentTTL:     15 * time.Minute,
		BootstrapTTL: 10 * time.Minute,
	}
	in.Agent.Capabilities = []string{"deploy:staging", "deploy:production"}
	for _, o := range options {
		o(in)
	}
	return in
}

type inputOption = func(*policy.Input)

func repository(s string) inputOption { return func(in *policy.Input) { in.Claims.Repository = s } }
func ids(repo, owner string) inputOption {
	return func(in *policy.Input) { in.Claims.RepositoryID, in.Claims.RepositoryOwnerID = repo, owner }
}
func onBranch(s string) inputOption { return ref("refs/heads/"+s, "branch") }
func onTag(s string) inputOption    { return ref("refs/tags/"+s, "tag") }
func ref(ref, refType string) inputOption {
	return func(in *policy.Input) { in.Claims.Ref, in.Claims.RefType = ref, refType }
}
func environment(s string) inputOption { return func(in *policy.Input) { in.Claims.Environment = s } }

// jobIn says in which file the job stands, where the workflow that was started is another.
func jobIn(s string) inputOption { return func(in *policy.Input) { in.Claims.JobWorkflowRef = s } }
func startedFrom(s string) inputOption {
	return func(in *policy.Input) { in.Claims.WorkflowRef, in.Claims.JobWorkflowRef = s, "" }
}
func event(s string) inputOption { return func(in *policy.Input) { in.Claims.Event = s } }
func asking(scopes ...string) inputOption {
	return func(in *policy.Input) { in.Scopes = scopes }
}
func audience(s string) inputOption { return func(in *policy.Input) { in.Audience = s } }
func status(s agentidp.AgentStatus) inputOption {
	return toAgent(func(a *agentidp.Agent) { a.Status = s })
}
func capabilities(s ...string) inputOption {
	return toAgent(func(a *agentidp.Agent) { a.Capabilities = s })
}
func agentNamed(s string) inputOption {
	return func(in *policy.Input) { in.AgentID, in.Agent = s, nil }
}
func toAgent(change func(*agentidp.Agent)) inputOption {
	return func(in *policy.Input) {
		if in.Agent != nil {
			change(in.Agent)
		}
	}
}

var agentMixedUp = toAgent(func(a *agentidp.Agent) { a.AgentID = agentY })

var agentOfOtherTenant = toAgent(func(a *agentidp.Agent) { a.OrganizationID = "other" })

// saying changes claims beside those that every policy reads; "" takes one out.
func saying(name, value string) inputOption {
	return func(in *policy.Input) {
		source := maps.Clone(in.Claims.Source.(said))
		if source[name] = value; value == "" {
			delete(source, name)
		}
		in.Claims.Source = source
	}
}

// asWorkload is a token of the cluster: of all that GitHub sends it has a subject, and
// claims that are called like GitHub's.
func asWorkload(subject string) inputOption {
	return func(in *policy.Input) {
		in.Claims = &agentidp.Claims{Provider: "cluster", Kind: oidc, Subject: subject,
			Source: said{"sub": subject, "namespace": "build", "repository": "acme/deploy", "repository_id": "74"}}
	}
}

func noAgent(in *policy.Input)      { in.AgentID, in.Agent = "", nil }
func agentUnknown(in *policy.Input) { in.Agent = nil }
func viaGitLab(in *policy.Input)    { in.Claims.Provider = "gitlab" }

func compiled(policies ...*agentidp.TrustPolicy) []*policy.Compiled {
	out := make([]*policy.Compiled, len(policies))
	for i, p := range policies {
		out[i] = policy.Compile(p, kindOf(p.Provider))
	}
	return out
}

// code returns the code of a refusal, or "" for a grant.
func code(o policy.Outcome) string {
	if o.Granted {
		return ""
	}
	return o.Err.Code
}

func reversed(c []*policy.Compiled) []*policy.Compiled {
	c = slices.Clone(c)
	slices.Reverse(c)
	return c
}
