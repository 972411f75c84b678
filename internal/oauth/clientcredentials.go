package oauth

import (
	"context"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/grant"
)

// clientCredentials is the grant of RFC 6749 §4.4. There is no refresh token (§4.4.3):
// what got this one gets the next.
func (s *server) clientCredentials(ctx context.Context, r *tokenRequest) (*agentidp.TokenResponse, error) {
	audience, audienceName, err := r.audience()
	if err != nil {
		return nil, err
	}
	return s.observed(ctx, r, func() (*agentidp.TokenResponse, error) {
		client, err := s.Clients.Authenticate(ctx, r.org, r.client)
		if err != nil {
			return nil, err
		}
		return s.Granter.ClientCredentials(ctx, r.org, &grant.ClientCredentialsRequest{
			Client: client, Scope: r.form.Get("scope"), Audience: audience, AudienceName: audienceName, RequestID: r.id, Proof: r.proof,
		})
	})
}

// observed counts what the Granter is asked for, like an exchange.
func (s *server) observed(ctx context.Context, r *tokenRequest, issue func() (*agentidp.TokenResponse, error)) (*agentidp.TokenResponse, error) {
	began := time.Now()
	answer, err := issue()
	s.Observe(exchange.NewResult(ctx, r.grant, err, time.Since(began)))
	return answer, err
}
