package agentidp

import "time"

// Outcome of an exchange.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed Outcome = "allowed"
	OutcomeDenied  Outcome = "denied"
)

// Decision is the durable record of one exchange whose subject token's signature
// was proven: what came, what was decided, and why.
type Decision struct {
	ID                string    `json:"id"`
	OrganizationID    string    `json:"-"`
	RequestID         string    `json:"requestId"`
	At                time.Time `json:"at"`
	Outcome           Outcome   `json:"outcome"`
	Code              string    `json:"code,omitempty"`
	Reason            string    `json:"reason,omitempty"`
	Provider          string    `json:"provider"`
	Repository        string    `json:"repository,omitempty"`
	RepositoryID      string    `json:"repositoryId,omitempty"`
	RepositoryOwnerID string    `json:"repositoryOwnerId,omitempty"`
	Ref               string    `json:"ref,omitempty"`
	Event             string    `json:"event,omitempty"`
	RunID             string    `json:"runId,omitempty"`
	AgentID           string    `json:"agentId,omitempty"`
	PolicyID          string    `json:"policyId,omitempty"`
	TokenID           string    `json:"tokenId,omitempty"`
	Checks            []Check   `json:"checks"`
}

// Check is one comparison that led to a decision. It shows a policy's expected
// value, so it is for administrators only.
type Check struct {
	PolicyID string `json:"policyId"`
	Check    string `json:"check"`
	Claim    string `json:"claim,omitempty"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	OK       bool   `json:"ok"`
}
