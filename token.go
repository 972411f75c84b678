package agentidp

import "time"

// AccessToken is the record of a token that was issued. The token itself is
// never stored.
type AccessToken struct {
	ID             string // jti
	OrganizationID string
	Kind           PrincipalKind
	Subject        string // sub and client_id
	AgentID        string // agent tokens only
	PolicyID       string // agent and bootstrap tokens
	DecisionID     string // agent and bootstrap tokens
	Provider       string // agent and bootstrap tokens
	RepositoryID   string // agent and bootstrap tokens
	Scope          string // space-separated
	Audience       string
	IssuedAt       time.Time // whole seconds, as in the token
	ExpiresAt      time.Time // whole seconds, as in the token
	RevokedAt      time.Time // zero: not revoked
}
