package exchange

import (
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// Request asks for an exchange.
type Request struct {
	Token    string // the subject token; never logged
	AgentID  string // empty: bootstrap mode
	Scope    string // space-separated, empty: all that the policy allows
	Audience string // empty: the policy's first
	// Bad are the field errors that were found while decoding. An empty string is
	// one: an empty agentId must not turn a request for one agent into a bootstrap
	// request.
	Bad       []agentidp.FieldError
	RequestID string

	limit    agentidp.RateLimit // where its repository stands
	provider string             // whose issuer the token names, once that is known
}

// Response is the answer of a granted exchange (RFC 8693 §2.2.1, with members of
// our own).
type Response struct {
	AccessToken     string `json:"access_token" doc:"The access token: a JWT (RFC 9068)."`
	TokenType       string `json:"token_type" example:"Bearer"`
	IssuedTokenType string `json:"issued_token_type" example:"urn:ietf:params:oauth:token-type:access_token"`
	ExpiresIn       int64  `json:"expires_in" doc:"Seconds."`
	ExpiresAt       string `json:"expires_at" doc:"RFC 3339, UTC." format:"date-time"`
	Scope           string `json:"scope,omitempty" doc:"What was granted; absent where nothing was."`
	AgentID         string `json:"agent_id,omitempty" doc:"Absent in bootstrap mode."`
	DecisionID      string `json:"decision_id" doc:"The durable record of this exchange."`

	RateLimit agentidp.RateLimit `json:"-"` // of the repository's exchanges
}

func newResponse(signed string, g *store.Grant, l agentidp.RateLimit) *Response {
	return &Response{
		AccessToken: signed, TokenType: "Bearer", IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token",
		ExpiresIn: int64(g.Token.ExpiresAt.Sub(g.Token.IssuedAt) / time.Second),
		ExpiresAt: g.Token.ExpiresAt.UTC().Format(time.RFC3339),
		Scope:     g.Token.Scope, AgentID: g.Token.AgentID, DecisionID: g.Decision.ID,
		RateLimit: l,
	}
}

const (
	maxAgentID = 64
	maxScope   = 2048
)

// check refuses a request for what it says itself. An agentId of any spelling is
// let through: one that is not an id matches no policy, and the answer to that
// must not differ from the answer to an unknown one.
func (r *Request) check() ([]string, error) {
	bad := slices.Clone(r.Bad)
	if r.Token == "" && !slices.ContainsFunc(bad, func(e agentidp.FieldError) bool { return e.Field == "token" }) {
		bad = append(bad, agentidp.FieldError{Field: "token", Reason: "is required: the OIDC ID token of the workflow run"})
	}
	if len(r.AgentID) > maxAgentID {
		bad = append(bad, agentidp.FieldError{Field: "agentId", Reason: "is not an agent's id (a UUID)"})
	}
	if len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	scopes, ok := agentidp.ParseScope(r.Scope)
	if !ok || len(r.Scope) > maxScope {
		return nil, refuse(agentidp.CodeInvalidScope, "scope", "must be scopes such as deploy:production, separated by single spaces, none twice, 2048 bytes at most (RFC 6749 §3.3)")
	}
	if r.Audience != "" && !policy.IsAudience(r.Audience) {
		return nil, refuse(agentidp.CodeInvalidTarget, "audience", "must be one absolute URI without a fragment, such as https://deploy.example.com, 255 bytes at most (RFC 8707 §2)")
	}
	return scopes, nil
}

func refuse(code, field, reason string) error {
	return &agentidp.Error{Kind: agentidp.Invalid, Code: code, Message: field + " " + reason + ".",
		Details: []agentidp.FieldError{{Field: field, Reason: reason}}}
}
