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

const exchangeVerb = "exchange the subject token"

// Exchange turns a subject token into an access token. A refusal leaves the
// subject token unused; where the outcome is unknown (a network error, a 503) it
// may be used up, so another try needs a fresh one: Exchange tries again only
// while there is no connection, and ExchangeSource with fresh tokens.
func (c *Client) Exchange(ctx context.Context, r ExchangeRequest) (*ExchangeResponse, error) {
	if r.Token == "" {
		return nil, errors.New(exchangeVerb + ": ExchangeRequest.Token is empty")
	}
	var out *ExchangeResponse
	err := c.persist(ctx, func(err error) bool { return passing(err) && unsent(err) }, func() (err error) {
		out, err = c.exchangeOnce(ctx, r)
		return err
	})
	switch {
	case err == nil:
		return out, nil
	case lost(err):
		return nil, fmt.Errorf("%s: %w; the subject token may be used up: another attempt takes a fresh one", exchangeVerb, err)
	}
	return nil, fmt.Errorf("%s: %w", exchangeVerb, err)
}

func (c *Client) exchangeOnce(ctx context.Context, r ExchangeRequest) (*ExchangeResponse, error) {
	var out ExchangeResponse
	err := c.roundTrip(ctx, &call{method: http.MethodPost, path: "/oidc/token", body: r, out: &out, subject: r.Token})
	if err != nil {
		return nil, err
	}
	if out.AccessToken == "" || !strings.EqualFold(out.TokenType, "Bearer") || out.ExpiresIn <= 0 {
		return nil, errors.New("the server answered 200 without a usable bearer token; check that BaseURL is an AgentIdP server")
	}
	return &out, nil
}
