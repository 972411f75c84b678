package agentidp

import (
	"encoding/json"
	"slices"
	"time"
)

// CredentialType says how an agent proves that it is itself, outside CI.
type CredentialType string

// The types of credential.
const (
	CredentialSecret    CredentialType = "secret"     // client_secret_basic, client_secret_post (RFC 6749 §2.3.1)
	CredentialPublicKey CredentialType = "public_key" // private_key_jwt (RFC 7523 §2.2)
)

// CredentialSpec is what is said about a credential when it is created.
type CredentialSpec struct {
	Type        CredentialType  `json:"type" enum:"secret,public_key" doc:"secret: the server makes a client secret and shows it once. public_key: the agent signs assertions (private_key_jwt) with a key that never leaves it."`
	ExpiresAt   *time.Time      `json:"expiresAt,omitempty" doc:"From this instant on it authenticates nobody. Absent: never."`
	Description string          `json:"description,omitempty" maxLength:"1000" doc:"For people: where it is kept."`
	Scopes      []string        `json:"scopes,omitzero" maxItems:"100" doc:"Upper bound of the scopes of its tokens, from among the agent's capabilities; an empty list is no scope. Absent: the agent's capabilities, now and later, where admin creates it, and those that the agent has now where somebody else does."`
	JWKS        json.RawMessage `json:"jwks,omitempty" doc:"For public_key: the public keys, as a JWK set (RFC 7517)."`
}

// Credential is one way in which an agent authenticates as an OAuth client. An agent
// may have several at once, so that one can take another's place without a gap. The
// secret itself is never stored.
type Credential struct {
	CredentialID   string `json:"credentialId" readOnly:"true" doc:"Assigned by the server; part of the secret."`
	OrganizationID string `json:"-"`
	AgentID        string `json:"-"`
	ClientID       string `json:"clientId" readOnly:"true" doc:"client_id at the token endpoint: the agent's id."`
	CredentialSpec
	SecretHash string     `json:"-"` // SHA-256 of the whole secret, base64url; empty for public keys
	CreatedBy  string     `json:"createdBy" readOnly:"true" doc:"Subject of the principal that created it."`
	CreatedAt  time.Time  `json:"createdAt" readOnly:"true"`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty" readOnly:"true" doc:"When it last authenticated; updated at most once a minute."`
	RevokedAt  *time.Time `json:"revokedAt,omitempty" readOnly:"true" doc:"When it was ended before its time."`
	Revision   int64      `json:"-"`
}

// Live reports whether the credential authenticates at an instant. One that was revoked
// never does, however far a clock is behind the one that revoked it.
func (c *Credential) Live(now time.Time) bool {
	return c.RevokedAt == nil && (c.ExpiresAt == nil || now.Before(*c.ExpiresAt))
}

// Client is an authenticated OAuth client (RFC 6749 §2): an agent, by one of its
// credentials.
type Client struct {
	Agent      *Agent      // as it was read; what rests on it is compared in the commit
	Credential *Credential // likewise
	Method     string      // client_secret_basic, client_secret_post or private_key_jwt
	RateLimit  RateLimit   // of its requests
}

// Scopes are those that the client's tokens may carry: the agent's capabilities, within
// the bound of its credential.
func (c *Client) Scopes() []string {
	if c.Credential.Scopes == nil {
		return c.Agent.Capabilities
	}
	return slices.DeleteFunc(slices.Clone(c.Agent.Capabilities), func(s string) bool { return !slices.Contains(c.Credential.Scopes, s) })
}

// Principal is the client where it asks about tokens, or ends them: with what its
// tokens may carry.
func (c *Client) Principal() *Principal {
	return &Principal{
		Kind: PrincipalAgent, OrganizationID: c.Agent.OrganizationID, Subject: c.Agent.AgentID, AgentID: c.Agent.AgentID,
		Scopes: c.Scopes(), RateLimit: c.RateLimit,
	}
}

// CreatedCredential is a credential as it is answered once, when it is created.
type CreatedCredential struct {
	Credential
	ClientSecret string `json:"clientSecret,omitempty" readOnly:"true" doc:"Of type secret: shown this once and stored nowhere."`
}
