package agentidp

import (
	"encoding/json"
	"time"
)

// Outcome of an exchange.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed Outcome = "allowed"
	OutcomeDenied  Outcome = "denied"
)

// The grant types (RFC 6749 §4.4, RFC 8693 §2.1, RFC 7523 §2.1). The exchange of a
// subject token is a token exchange, at /api/v1/oidc/token too.
const (
	GrantClientCredentials = "client_credentials"
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Decision is the durable record of one attempt to get a token whose caller is proven,
// by its subject token or by its credential: what came, what was decided, and why.
type Decision struct {
	ID                string    `json:"id" doc:"The decision_id of the exchange's answer."`
	OrganizationID    string    `json:"-"`
	RequestID         string    `json:"requestId" doc:"The X-Request-Id of the exchange, by which the log names it."`
	At                time.Time `json:"at" doc:"When it was decided."`
	Outcome           Outcome   `json:"outcome" enum:"allowed,denied" doc:"Whether a token was issued."`
	Code              string    `json:"code,omitempty" doc:"Why it was denied, as the answer said."`
	Reason            string    `json:"reason,omitempty" doc:"Refines invalid_token."`
	GrantType         string    `json:"grantType" doc:"How it was asked for: a grant_type of RFC 6749, RFC 8693 or RFC 7523."`
	Provider          string    `json:"provider,omitempty" doc:"Absent where no subject token of a provider was presented."`
	Repository        string    `json:"repository,omitempty" doc:"As the subject token says, like all that follows of the run."`
	RepositoryID      string    `json:"repositoryId,omitempty" doc:"The repository's numeric id."`
	RepositoryOwnerID string    `json:"repositoryOwnerId,omitempty" doc:"The numeric id of the repository's owner."`
	Subject           string    `json:"subject,omitempty" doc:"The subject (sub) of the subject token, where that identifies the workload: for providers of kind oidc."`
	Ref               string    `json:"ref,omitempty" doc:"The whole ref, such as refs/heads/main."`
	Event             string    `json:"event,omitempty" doc:"The event that started the run."`
	RunID             string    `json:"runId,omitempty" doc:"The id of the run at its CI system."`
	AgentID           string    `json:"agentId,omitempty" doc:"As the request named it, which may be no agent's id; absent in bootstrap mode."`
	CredentialID      string    `json:"credentialId,omitempty" doc:"The credential with which the client authenticated."`
	ActorID           string    `json:"actorId,omitempty" doc:"The agent that acts for the agent."`
	ParentTokenID     string    `json:"parentTokenId,omitempty" doc:"The jti of the access token that was exchanged."`
	PolicyID          string    `json:"policyId,omitempty" doc:"The policy that granted; of those that refused, the one that got furthest."`
	TokenID           string    `json:"tokenId,omitempty" doc:"The jti of the access token that was issued."`
	Checks            []Check   `json:"checks,omitempty" doc:"Each comparison with a policy: of one that granted or would have, and of a refusal's candidates, all; of others, the one that stopped them. One without policyId is of the subject token itself: for whom it is, a claim that it lacks, its times, or which decision used it before. Lists leave them out, like all that follows: read the decision by its id."`
	Nearest           *Miss     `json:"nearest,omitempty" doc:"Of a refusal by policies: the policy that came closest, and the smallest change that would have allowed it."`
	Shadow            []Shadow  `json:"shadow,omitempty" doc:"What policies in shadow mode would have done."`

	// Claims are those of the subject token that its provider's kind lists to be kept.
	Claims json.RawMessage `json:"claims,omitempty" doc:"Claims of the subject token, by the provider's names: those that are kept (AGENTIDP_KEEP_CLAIMS, AGENTIDP_RECORD_CLAIMS), as long as they are."`
}

// Miss is the policy that came closest to granting what was refused.
type Miss struct {
	PolicyID string   `json:"policyId,omitempty" doc:"Absent: no policy is for this repository or workload, and agent."`
	Failed   []string `json:"failed" doc:"The names of its checks that failed."`
	Repairs  []Repair `json:"repairs" doc:"The smallest change after which the same is allowed; all of it is needed. None: no change here is proposed that would allow it, and the hint says why."`
	Hint     string   `json:"hint" doc:"The same in words, for the administrator, with what the change lets in besides."`
}

// Repair is one part of a change after which what was refused is allowed.
type Repair struct {
	Action RepairAction    `json:"action" enum:"create,add,set,unset,repin,reactivate,request" doc:"create: a policy with the fields that are the value; add: the value to the list that the field is; set: the field to the value; unset: take the field away; repin: accept the repository's next identity; reactivate: the agent; request: ask for less, or for an agent by its id, see the hint."`
	Copy   bool            `json:"copy,omitempty" doc:"Make the change in a copy of the policy, beside it, so that what it grants now stays granted."`
	Field  string          `json:"field,omitempty" doc:"Of the policy, by its name in JSON, such as claims.runner_environment; of request, a parameter of the exchange." example:"events"`
	Value  json.RawMessage `json:"value,omitempty" doc:"Absent where it is the administrator's to say: the reason of acceptRisk."`
}

// RepairAction is what is to be done.
type RepairAction string

// The actions.
const (
	RepairCreate     RepairAction = "create"
	RepairAdd        RepairAction = "add"
	RepairSet        RepairAction = "set"
	RepairUnset      RepairAction = "unset"
	RepairRepin      RepairAction = "repin"
	RepairReactivate RepairAction = "reactivate"
	RepairRequest    RepairAction = "request"
)

// Shadow is what a policy in shadow mode would have done.
type Shadow struct {
	PolicyID string `json:"policyId" doc:"The policy in shadow mode."`
	Allowed  bool   `json:"allowed" doc:"Whether it would have granted."`
	Code     string `json:"code,omitempty" doc:"Why it would not have."`
}

// DecisionFilter narrows a list of decisions. What is zero narrows nothing, and
// all that is set must hold.
type DecisionFilter struct {
	Repository   string    `query:"repository" doc:"The name that the run's repository had, without regard to ASCII case."`
	RepositoryID string    `query:"repositoryId" doc:"The repository's numeric id, which stays when its name changes."`
	AgentID      string    `query:"agentId" doc:"The agent that the token was asked for."`
	PolicyID     string    `query:"policyId" doc:"The policy that granted; of those that refused, the one that got furthest."`
	Code         string    `query:"code"`
	Outcome      Outcome   `query:"outcome" enum:"allowed,denied" doc:"Whether a token was issued."`
	Since        time.Time `query:"since" doc:"At this instant or later."`
	Until        time.Time `query:"until" doc:"Before this instant."`
}

// DecisionCodes are the codes that a denied decision can have.
var DecisionCodes = []string{
	CodeAgentNotActive, CodeBranchNotPermitted, CodeConditionNotMet, CodeDelegationNotPermitted, CodeEventNotPermitted,
	CodeInvalidDPoPProof, CodeInvalidRequest, CodeInvalidScope, CodeInvalidTarget, CodeInvalidToken,
	CodeRepositoryIdentityChanged, CodeTrustPolicyViolation,
}

// Check is one comparison that led to a decision. It shows a policy's expected
// value, so it is for administrators only.
type Check struct {
	PolicyID string `json:"policyId,omitempty" doc:"The policy that was compared; absent for the subject token itself."`
	Check    string `json:"check" doc:"What was compared, such as ref_type. A name keeps its meaning; there may be new ones."`
	Claim    string `json:"claim,omitempty" doc:"The claim that was read, by its provider's name; absent where it is none of the token's."`
	Expected string `json:"expected" doc:"What would have held, in words."`
	Got      string `json:"got" doc:"What there was; empty where there was nothing."`
	OK       bool   `json:"ok" doc:"Whether it held."`
}
