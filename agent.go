package agentidp

import "time"

// AgentSpec is what is said about an agent when it is created.
type AgentSpec struct {
	Name          string            `json:"name" minLength:"3" maxLength:"254" doc:"E-mail form; unique in the organization regardless of case." example:"deployer@ci.acme.example"`
	Description   string            `json:"description,omitempty" maxLength:"1000" doc:"For people."`
	AgentType     AgentType         `json:"agentType,omitempty" enum:"screener,classifier,orchestrator,extractor,summarizer,router,monitor,custom" doc:"Default custom."`
	Version       string            `json:"version,omitempty" maxLength:"100" doc:"The agent's own software version."`
	Capabilities  []string          `json:"capabilities,omitempty" maxItems:"100" doc:"Scopes (resource:action) that its tokens may carry." example:"[\"deploy:production\"]"`
	Audiences     []string          `json:"audiences,omitempty" maxItems:"20" doc:"Audiences that it may ask for when it authenticates with a credential of its own; the first is the default. Absent: the issuer." example:"[\"https://deploy.example.com\"]"`
	MayDelegateTo []string          `json:"mayDelegateTo,omitempty" maxItems:"100" doc:"Ids of the agents that may act for it in a token exchange (RFC 8693). Absent: nobody."`
	Owner         string            `json:"owner,omitempty" maxLength:"254" doc:"Who answers for it."`
	DeploymentEnv DeploymentEnv     `json:"deploymentEnv,omitempty" enum:"development,staging,production" doc:"For people; nothing is decided by it."`
	Labels        map[string]string `json:"labels,omitempty" doc:"For people; nothing is decided by them."`
}

// AgentFilter narrows a list of agents. What is zero narrows nothing, and all that
// is set must hold.
type AgentFilter struct {
	Status               AgentStatus `query:"status" enum:"active,suspended,decommissioned" doc:"What it is now; only an active agent gets tokens."`
	Name                 string      `query:"name" doc:"The whole name, without regard to case."`
	RegisteredByPolicyID string      `query:"registeredByPolicyId" doc:"The bootstrap policy by which it was registered."`
}

// Agent is a registered identity: what an access token is issued for.
type Agent struct {
	AgentID        string `json:"agentId" readOnly:"true" doc:"Assigned by the server."`
	OrganizationID string `json:"-"`
	AgentSpec
	Status       AgentStatus  `json:"status" readOnly:"true" enum:"active,suspended,decommissioned" doc:"Only an active agent gets tokens; decommissioned is final."`
	RegisteredBy RegisteredBy `json:"registeredBy" readOnly:"true" doc:"Who registered it and, for CI, from which run."`
	CreatedAt    time.Time    `json:"createdAt" readOnly:"true"`
	UpdatedAt    time.Time    `json:"updatedAt" readOnly:"true"`
	Revision     int64        `json:"revision" readOnly:"true" doc:"Counts changes; the ETag."`
}

// RegisteredBy says who registered an agent: the principal, and for CI the run.
type RegisteredBy struct {
	Subject      string `json:"subject" doc:"admin:<uuid>, policy:<id> or an agent's id."`
	PolicyID     string `json:"policyId,omitempty" doc:"The bootstrap policy, for CI."`
	Provider     string `json:"provider,omitempty"`
	Issuer       string `json:"issuer,omitempty" doc:"The provider's, whose repositories and subjects these are; its name may be another issuer's by now. Absent for agents from before it was recorded."`
	Repository   string `json:"repository,omitempty"`
	RepositoryID string `json:"repositoryId,omitempty"`
	Ref          string `json:"ref,omitempty"`
	RunID        string `json:"runId,omitempty"`

	WorkloadSubject string `json:"workloadSubject,omitempty" doc:"The subject (sub) of the subject token, where that identifies the workload: for providers of kind oidc."`
}

// AgentStatus is the state of an agent. Only an active agent gets tokens;
// decommissioned is final.
type AgentStatus string

// The states of an agent.
const (
	AgentActive         AgentStatus = "active"
	AgentSuspended      AgentStatus = "suspended"
	AgentDecommissioned AgentStatus = "decommissioned"
)

// AgentType classifies an agent for people; nothing is decided by it.
type AgentType string

// AgentTypes are the values that AgentType takes.
var AgentTypes = []AgentType{"screener", "classifier", "orchestrator", "extractor", "summarizer", "router", "monitor", "custom"}

// AgentTypeCustom is the default.
const AgentTypeCustom AgentType = "custom"

// DeploymentEnv says where an agent runs, for people; nothing is decided by it.
type DeploymentEnv string

// DeploymentEnvs are the values that DeploymentEnv takes.
var DeploymentEnvs = []DeploymentEnv{"development", "staging", "production"}

// FoldAgentName returns the key under which an agent's name is unique. Names
// are ASCII, so ASCII folding is all there is.
func FoldAgentName(name string) string { return foldASCII(name) }
