package agentidp

import "time"

// EventType names what happened.
type EventType string

// The events that the audit log records.
const (
	EventTokenIssued               EventType = "token_issued"
	EventExchangeDenied            EventType = "exchange_denied"
	EventTokenReplayed             EventType = "token_replayed"
	EventRepositoryIdentityChanged EventType = "repository_identity_changed"
	EventRepositoryPinned          EventType = "repository_pinned"
	EventRepositoryRenamed         EventType = "repository_renamed"
	EventAdminTokenIssued          EventType = "admin_token_issued"
	EventTokenRevoked              EventType = "token_revoked"
	EventTokensRevoked             EventType = "tokens_revoked"
	EventPolicyCreated             EventType = "policy_created"
	EventPolicyReplaced            EventType = "policy_replaced"
	EventPolicyDeleted             EventType = "policy_deleted"
	EventAgentRegistered           EventType = "agent_registered"
	EventAgentUpdated              EventType = "agent_updated"
	EventAgentSuspended            EventType = "agent_suspended"
	EventAgentReactivated          EventType = "agent_reactivated"
	EventAgentDecommissioned       EventType = "agent_decommissioned"
	EventSigningKeyCreated         EventType = "signing_key_created"
)

// Event is one line of the audit log. It commits with the change that it
// records, or not at all.
type Event struct {
	ID             string            `json:"id"`
	OrganizationID string            `json:"-"`
	At             time.Time         `json:"at"`
	Type           EventType         `json:"type"`
	Actor          string            `json:"actor" doc:"Subject of the principal that did it; provider:repository for an exchange; system for the server itself."`
	AgentID        string            `json:"agentId,omitempty"`
	PolicyID       string            `json:"policyId,omitempty"`
	TokenID        string            `json:"tokenId,omitempty"`
	DecisionID     string            `json:"decisionId,omitempty"`
	RequestID      string            `json:"requestId,omitempty"`
	Data           map[string]string `json:"data,omitempty"`
}
