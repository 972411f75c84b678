package agentidp

import (
	"encoding/json"
	"errors"
	"time"
)

// TrustPolicySpec is what an administrator says in a trust policy. The fields
// "provider", "repository" and "agentId" cannot change after creation.
type TrustPolicySpec struct {
	Provider              string          `json:"provider" minLength:"1" doc:"Name of a registered provider; github is built in." example:"github"`
	Repository            string          `json:"repository,omitempty" minLength:"1" doc:"owner/name, compared without regard to ASCII case. No wildcards. Required where the provider's tokens name a repository, as those of kind github do; not permitted where they do not." example:"acme/deploy"`
	Branch                string          `json:"branch,omitempty" minLength:"1" doc:"Exact branch name, without refs/heads/. Absent: any branch; never a tag, a pull request or a merge queue." example:"main"`
	Tag                   string          `json:"tag,omitempty" minLength:"1" doc:"Glob over tag names, instead of branch; * does not cross a slash." example:"v*"`
	AgentID               string          `json:"agentId,omitempty" minLength:"1" doc:"The agent that tokens are for. Absent: a bootstrap policy, good only to register agents."`
	RepositoryID          string          `json:"repositoryId,omitempty" minLength:"1" doc:"The repository's numeric id, as a string." example:"74"`
	RepositoryOwnerID     string          `json:"repositoryOwnerId,omitempty" minLength:"1" doc:"The owner's numeric id, as a string." example:"65"`
	Events                []string        `json:"events,omitempty" minItems:"1" doc:"Events that may start the run. Absent: push, workflow_dispatch, schedule, repository_dispatch, release, deployment."`
	AcceptRisk            string          `json:"acceptRisk,omitempty" minLength:"1" maxLength:"500" doc:"Why it is right that outsiders can start the runs that are trusted. Required of a policy that lists an event which outsiders can cause (such as pull_request_target) and has no environment, workflow, claims or condition, unless it is disabled; one line; recorded in the audit log." example:"Only labels are read; the job never checks out the pull request."`
	Environment           string          `json:"environment,omitempty" minLength:"1" doc:"The deployment environment that the job names, exactly, in case and all. Absent: any or none." example:"production"`
	Workflow              string          `json:"workflow,omitempty" minLength:"1" doc:"The file in which the job stands. A path means a file of the token's repository, at any ref; org/repo/path@ref means a reusable workflow elsewhere, at exactly this ref (refs/heads/…, refs/tags/… or a commit). Absent: any." example:".github/workflows/deploy.yml"`
	Claims                ClaimConditions `json:"claims,omitempty" doc:"Conditions on further claims of the subject token, by the provider's names: a value or a list of values, one of which the claim must match as a whole; * stands for anything within one segment between slashes; at most 16 claims with 16 values of 255 bytes. All conditions must hold. Numbers and booleans are compared as they are spelled in JSON. Where tokens name no repository, one of them must be on a claim that identifies the workload, without *: sub for kind oidc." example:"{\"runner_environment\":\"github-hosted\"}"`
	Condition             string          `json:"condition,omitempty" minLength:"1" maxLength:"2048" doc:"An expression in the Common Expression Language (CEL) over claims, by the provider's names. It must be true, beside all other conditions; one that cannot be evaluated, for example because a claim is absent, is not." example:"claims.ref.startsWith(\"refs/heads/release/\")"`
	Scopes                []string        `json:"scopes,omitempty" minItems:"1" doc:"Agent policies only: upper bound of the scopes. Absent: the agent's capabilities."`
	Audiences             []string        `json:"audiences,omitempty" minItems:"1" doc:"Agent policies only: audiences that may be asked for; the first is the default. Absent: the issuer." example:"[\"https://deploy.example.com\"]"`
	TokenTTLSeconds       int             `json:"tokenTtlSeconds,omitempty" minimum:"60" maximum:"3600" doc:"Life of the access token. Absent: the server's default; never beyond expiresAt."`
	MaxAgents             int             `json:"maxAgents,omitempty" minimum:"1" maximum:"1000000" doc:"Bootstrap policies only: how many living agents it may register. Default 10."`
	AgentNamePattern      string          `json:"agentNamePattern,omitempty" minLength:"1" doc:"Bootstrap policies only: glob that an agent's name must match." example:"*@ci.acme.example"`
	TrustRegisteredAgents bool            `json:"trustRegisteredAgents,omitempty" doc:"Bootstrap policies only: registering an agent also creates its own trust policy, with this one's repository, branch or tag, events, ids, conditions and expiry. Only admin may set it. Default false."`
	Mode                  PolicyMode      `json:"mode,omitempty" enum:"enforce,shadow,disabled" doc:"shadow grants nothing, and decisions record what it would have done; disabled grants nothing. Default enforce."`
	ExpiresAt             *time.Time      `json:"expiresAt,omitempty" doc:"After this instant the policy grants nothing."`
	Description           string          `json:"description,omitempty" maxLength:"1000" doc:"For people."`
}

// ClaimConditions say what claims of a subject token must be, by the provider's names
// of them. All must hold; an absent claim equals nothing.
type ClaimConditions map[string]ClaimValues

// ClaimValues are the values of which a claim must have one. In JSON, a single value
// is a string and several are a list of strings.
type ClaimValues []string

// MarshalJSON writes a string or a list.
func (v ClaimValues) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

// UnmarshalJSON reads a string or a list. A list of none stays one, so that it can be
// refused: it is not the same as no condition.
func (v *ClaimValues) UnmarshalJSON(data []byte) error {
	var list []*string
	if one := new(string); json.Unmarshal(data, &one) == nil && one != nil {
		*v = ClaimValues{*one}
		return nil
	}
	if err := json.Unmarshal(data, &list); err != nil || list == nil {
		return errClaimValues
	}
	*v = make(ClaimValues, 0, len(list))
	for _, s := range list {
		if s == nil {
			return errClaimValues
		}
		*v = append(*v, *s)
	}
	return nil
}

var errClaimValues = errors.New("the value of a claim is a string or a list of strings")

// PolicyMode says whether a policy takes part in decisions.
type PolicyMode string

// The modes of a policy.
const (
	ModeEnforce  PolicyMode = "enforce"
	ModeShadow   PolicyMode = "shadow"
	ModeDisabled PolicyMode = "disabled"
)

// PolicyFilter narrows a list of trust policies. What is zero narrows nothing, and
// all that is set must hold.
type PolicyFilter struct {
	Provider      string        `query:"provider" doc:"The provider that the policy names."`
	Repository    string        `query:"repository" doc:"The repository that the policy names, without regard to ASCII case."`
	AgentID       string        `query:"agentId" doc:"The agent that its tokens are for."`
	Grants        PrincipalKind `query:"grants" enum:"agent,bootstrap" doc:"Tokens of one agent, or bootstrap tokens."`
	Mode          PolicyMode    `query:"mode" enum:"enforce,shadow,disabled" doc:"Whether it grants anything."`
	NeverMatched  bool          `query:"neverMatched" doc:"true: policies that have granted nothing since they were created; of those in shadow mode, would have."`
	ExpiresBefore time.Time     `query:"expiresBefore" doc:"Policies that expire before this instant, those that have expired too."`
}

// TrustPolicy is a stored trust policy: what was said, and what the server
// knows about it. Two policies of one repository are alternatives; their
// conditions never mix and their order never matters.
type TrustPolicy struct {
	ID             string `json:"id" readOnly:"true" doc:"Assigned by the server."`
	OrganizationID string `json:"-"`
	TrustPolicySpec
	Pinned *Pin `json:"pinned,omitempty" readOnly:"true" doc:"The identity that the repository had at its first accepted exchange."`
	PolicyAssessment
	MatchCount    int64      `json:"matchCount" readOnly:"true" doc:"Exchanges granted; in shadow mode, exchanges that it would have granted. Updated at most once a minute."`
	LastMatchedAt *time.Time `json:"lastMatchedAt,omitempty" readOnly:"true" doc:"Updated at most once a minute."`
	CreatedBy     string     `json:"createdBy" readOnly:"true" doc:"Subject of the principal that created it."`
	CreatedAt     time.Time  `json:"createdAt" readOnly:"true"`
	UpdatedAt     time.Time  `json:"updatedAt" readOnly:"true"`
	Revision      int64      `json:"revision" readOnly:"true" doc:"Counts administrators' changes; the ETag."`
}

// Bootstrap reports whether the policy grants bootstrap tokens rather than
// tokens of one agent. There is no policy that does both.
func (s *TrustPolicySpec) Bootstrap() bool { return s.AgentID == "" }

// Pin is the numeric identity that a repository name had when a policy for it
// first granted an exchange. It belongs to (organization, provider,
// repository) and is shared by all policies of that repository.
type Pin struct {
	RepositoryID      string    `json:"repositoryId" doc:"Numeric, as a string." example:"74"`
	RepositoryOwnerID string    `json:"repositoryOwnerId" doc:"Numeric, as a string." example:"65"`
	PinnedAt          time.Time `json:"pinnedAt"`
}

// PolicyAssessment is how strong a policy is, by the weakest subject token that it
// accepts.
type PolicyAssessment struct {
	Grade    Grade         `json:"grade,omitempty" readOnly:"true" enum:"A,B,C,D,F" doc:"How hard it is to get a token that the policy accepts: A, only what the rules of a deployment environment let through, to F, anyone."`
	Weakest  *WeakestToken `json:"weakest,omitempty" readOnly:"true" doc:"The weakest subject token that the policy accepts."`
	Warnings []Warning     `json:"warnings" readOnly:"true" doc:"What is weak about this policy."`
}

// PolicyDraft is a policy that is not stored: what it would say if it were, with all
// defaults filled in, and how strong it would be.
type PolicyDraft struct {
	TrustPolicySpec
	PolicyAssessment
}

// Grade is how hard it is to get a token that a policy accepts.
type Grade string

// The grades, from the strictest to the weakest.
const (
	GradeA Grade = "A"
	GradeB Grade = "B"
	GradeC Grade = "C"
	GradeD Grade = "D"
	GradeF Grade = "F"
)

// WeakestToken is the subject token that is the easiest to get of those that a policy
// accepts.
type WeakestToken struct {
	Who    string            `json:"who" doc:"Who can get it, in words." example:"anyone who can push any branch to acme/deploy"`
	Claims map[string]string `json:"claims,omitempty" doc:"What it says, by the provider's names of claims. Absent where none was found that passes: the condition may be stricter than the grade knows."`
}

// Warning is a weakness of a policy that does not stop it from being saved.
type Warning struct {
	Code    string `json:"code" doc:"Stable, snake_case." example:"audience_shared"`
	Message string `json:"message" doc:"What is weak and how to mend it."`
}
