package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ExchangeRequest asks for an access token in return for a subject token.
type ExchangeRequest struct {
	Token    string `json:"token"`              // the CI's ID token, good for one exchange
	AgentID  string `json:"agentId,omitempty"`  // empty: a bootstrap token, which can only register agents
	Scope    string `json:"scope,omitempty"`    // space-separated; empty: all that the policy allows
	Audience string `json:"audience,omitempty"` // empty: the policy's first
}

// ExchangeResponse is an access token and what the server says about it.
type ExchangeResponse struct {
	AccessToken     string    `json:"access_token"`
	TokenType       string    `json:"token_type"`
	IssuedTokenType string    `json:"issued_token_type"`
	ExpiresIn       int       `json:"expires_in"` // seconds
	ExpiresAt       time.Time `json:"expires_at"`
	Scope           string    `json:"scope,omitempty"`
	AgentID         string    `json:"agent_id,omitempty"` // empty for a bootstrap token
	DecisionID      string    `json:"decision_id"`
}

// Exchange turns a subject token into an access token. A refusal leaves the
// subject token unused; where the outcome is unknown (a network error, a 503) it
// may be used up, so another try needs a fresh one.
func (c *Client) Exchange(ctx context.Context, r ExchangeRequest) (*ExchangeResponse, error) {
	const verb = "exchange the subject token"
	if r.Token == "" {
		return nil, errors.New(verb + ": ExchangeRequest.Token is empty")
	}
	var out ExchangeResponse
	err := c.do(ctx, &call{verb: verb, method: http.MethodPost, path: "/oidc/token", body: r, out: &out, subject: r.Token})
	if err != nil {
		return nil, err
	}
	if out.AccessToken == "" || !strings.EqualFold(out.TokenType, "Bearer") || out.ExpiresIn <= 0 {
		return nil, fmt.Errorf("%s: the server answered 200 without a usable bearer token; check that BaseURL is an AgentIdP server", verb)
	}
	return &out, nil
}
