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
	RepositoryID   string // agent and bootstrap tokens that came from a subject token
	CredentialID   string // tokens that a client got with a credential
	ParentID       string // jti of the access token that this one was exchanged for
	Depth          int    // how many such exchanges lie behind it
	ActorID        string // the agent that acts for the subject
	KeyThumbprint  string // jkt of the key that it is bound to (RFC 9449); empty: a bearer token
	Scope          string // space-separated
	Audience       string
	IssuedAt       time.Time // whole seconds, as in the token
	ExpiresAt      time.Time // whole seconds, as in the token
	RevokedAt      time.Time // zero: not revoked
}

// TokenResponse is the answer to whoever gets a token (RFC 6749 §5.1, RFC 8693 §2.2.1),
// with members of our own.
type TokenResponse struct {
	AccessToken     string `json:"access_token" doc:"The access token: a JWT (RFC 9068)."`
	TokenType       string `json:"token_type" example:"Bearer" doc:"DPoP where the token is bound to a key."`
	IssuedTokenType string `json:"issued_token_type" example:"urn:ietf:params:oauth:token-type:access_token"`
	ExpiresIn       int64  `json:"expires_in" doc:"Seconds."`
	ExpiresAt       string `json:"expires_at" doc:"RFC 3339, UTC." format:"date-time"`
	Scope           string `json:"scope,omitempty" doc:"What was granted; absent where nothing was."`
	AgentID         string `json:"agent_id,omitempty" doc:"Absent in bootstrap mode."`
	DecisionID      string `json:"decision_id" doc:"The durable record of this exchange."`

	RateLimit RateLimit `json:"-"`
}

// NewTokenResponse returns the answer for a token whose record is durable.
func NewTokenResponse(signed string, t *AccessToken, l RateLimit) *TokenResponse {
	return &TokenResponse{
		AccessToken: signed, TokenType: t.TokenType(), IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token",
		ExpiresIn: int64(t.ExpiresAt.Sub(t.IssuedAt) / time.Second),
		ExpiresAt: t.ExpiresAt.UTC().Format(time.RFC3339),
		Scope:     t.Scope, AgentID: t.AgentID, DecisionID: t.DecisionID,
		RateLimit: l,
	}
}

// Confirmation is the claim cnf of a token that is bound to a key (RFC 7800, RFC 9449
// §6.1).
type Confirmation struct {
	KeyThumbprint string `json:"jkt"`
}

// TokenType is the token_type of an access token: how it is presented (RFC 6749 §7.1).
func (t *AccessToken) TokenType() string {
	if t.KeyThumbprint != "" {
		return SchemeDPoP
	}
	return SchemeBearer
}

// Confirmation returns the claim cnf, nil for a bearer token.
func (t *AccessToken) Confirmation() *Confirmation {
	if t.KeyThumbprint == "" {
		return nil
	}
	return &Confirmation{t.KeyThumbprint}
}

// Introspection is what the server says of an access token now (RFC 7662 §2.2), from
// its record; agent name and workload are as in the token. Of a token that is not
// active nothing else is said.
type Introspection struct {
	Active    bool      `json:"active"`
	Scope     string    `json:"scope,omitempty"` // space-separated
	ClientID  string    `json:"client_id,omitempty"`
	Subject   string    `json:"sub,omitempty"`
	Audience  string    `json:"aud,omitempty"`
	Issuer    string    `json:"iss,omitempty"`
	IssuedAt  int64     `json:"iat,omitempty"` // seconds since 1970, as nbf and exp
	NotBefore int64     `json:"nbf,omitempty"`
	ExpiresAt int64     `json:"exp,omitempty"`
	ID        string    `json:"jti,omitempty"`
	TokenType string    `json:"token_type,omitempty"`
	AgentName string    `json:"agent_name,omitempty"`
	Workload  *Workload `json:"workload,omitempty"`

	Confirmation *Confirmation `json:"cnf,omitempty"`
	Actor        *Actor        `json:"act,omitempty"`

	// RateLimit is where whoever authenticated the request stands, if somebody did. It is
	// told in the headers of the answer.
	RateLimit RateLimit `json:"-"`

	// Unproven is whether somebody without any credential presented what no key of
	// the organization signed. It is not told.
	Unproven bool `json:"-"`
}

// TokenSelection chooses issued tokens, to revoke them. Its members combine with
// AND; an absent one excludes nothing.
type TokenSelection struct {
	AgentID      string     `json:"agentId,omitempty" minLength:"1" maxLength:"64" doc:"Tokens of this agent, and those with which it acts for another."`
	PolicyID     string     `json:"policyId,omitempty" minLength:"1" maxLength:"64" doc:"Tokens that this trust policy granted, also when it was deleted since."`
	RepositoryID string     `json:"repositoryId,omitempty" minLength:"1" maxLength:"64" doc:"Tokens that runs of this repository got: its numeric id, as a string." example:"74"`
	IssuedBefore *time.Time `json:"issuedBefore,omitempty" doc:"Tokens whose iat, in whole seconds, is before this instant; alone, those of administrators too." example:"2026-11-21T12:00:00Z"`
}

// Empty reports whether nothing is chosen: every token would be meant.
func (s *TokenSelection) Empty() bool { return *s == TokenSelection{} }
