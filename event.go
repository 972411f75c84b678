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
	EventRepositoryRepinned        EventType = "repository_repinned"
	EventAdminTokenIssued          EventType = "admin_token_issued"
	EventTokenRevoked              EventType = "token_revoked"
	EventTokensRevoked             EventType = "tokens_revoked"
	EventPolicyCreated             EventType = "policy_created"
	EventPolicyReplaced            EventType = "policy_replaced"
	EventPolicyDeleted             EventType = "policy_deleted"
	EventProviderCreated           EventType = "provider_created"
	EventProviderReplaced          EventType = "provider_replaced"
	EventProviderDeleted           EventType = "provider_deleted"
	EventAgentRegistered           EventType = "agent_registered"
	EventAgentUpdated              EventType = "agent_updated"
	EventAgentSuspended            EventType = "agent_suspended"
	EventAgentReactivated          EventType = "agent_reactivated"
	EventAgentDecommissioned       EventType = "agent_decommissioned"
	EventCredentialCreated         EventType = "credential_created"
	EventCredentialRotated         EventType = "credential_rotated"
	EventCredentialRevoked         EventType = "credential_revoked"
	EventTokenReissued             EventType = "token_reissued"
	EventSigningKeyCreated         EventType = "signing_key_created"
	EventSigningKeyCompromised     EventType = "signing_key_compromised"
	EventOrganizationCreated       EventType = "organization_created"
	EventOrganizationClosed        EventType = "organization_closed"
	EventDatabaseRestored          EventType = "database_restored"
)

// Actors that are no principal.
const (
	ActorOperator = "operator" // whoever has the machine: a command with direct access to the database and keys
	ActorSystem   = "system"   // the server itself
)

// EventTypes are all of them.
var EventTypes = []EventType{
	EventTokenIssued, EventExchangeDenied, EventTokenReplayed,
	EventRepositoryIdentityChanged, EventRepositoryPinned, EventRepositoryRenamed, EventRepositoryRepinned,
	EventAdminTokenIssued, EventPolicyCreated, EventPolicyReplaced, EventPolicyDeleted,
	EventProviderCreated, EventProviderReplaced, EventProviderDeleted,
	EventAgentRegistered, EventAgentUpdated, EventAgentSuspended, EventAgentReactivated, EventAgentDecommissioned,
	EventCredentialCreated, EventCredentialRotated, EventCredentialRevoked, EventTokenReissued,
	EventSigningKeyCreated, EventSigningKeyCompromised, EventTokenRevoked, EventTokensRevoked,
	EventOrganizationCreated, EventOrganizationClosed, EventDatabaseRestored,
}

// Event is one line of the audit log. It commits with the change that it
// records, or not at all.
type Event struct {
	ID             string            `json:"id"`
	OrganizationID string            `json:"-"`
	At             time.Time         `json:"at"`
	Type           EventType         `json:"type"`
	Actor          string            `json:"actor" doc:"Subject of the principal that did it; provider:repository for an exchange; operator for a command on the server's machine; system for the server itself."`
	AgentID        string            `json:"agentId,omitempty" doc:"Of an exchange: as the request named it, which may be no agent's id."`
	PolicyID       string            `json:"policyId,omitempty"`
	TokenID        string            `json:"tokenId,omitempty"`
	DecisionID     string            `json:"decisionId,omitempty"`
	RequestID      string            `json:"requestId,omitempty"`
	Data           map[string]string `json:"data,omitempty"`
}

// Members of Data that events are found by.
const (
	DataRepository = "repository"
	DataCode       = "code"
)

// EventFilter narrows a list of events. What is zero narrows nothing, and all that
// is set must hold.
type EventFilter struct {
	AgentID  string `query:"agentId" doc:"The agent that it was done to, or that a token was asked for."`
	PolicyID string `query:"policyId" doc:"The policy that it was done to, or by which."`
	// Repository and Code are compared with Data, and of a grant with its decision.
	Repository string    `query:"repository" doc:"The repository that the event's data names, or of a grant that of the run; without regard to ASCII case."`
	Code       string    `query:"code"`
	Type       EventType `query:"type"`
	Since      time.Time `query:"since" doc:"At this instant or later."`
	Until      time.Time `query:"until" doc:"Before this instant."`
}
