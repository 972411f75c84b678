package oauth

import (
	"context"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/grant"
)

// The types of token that this server knows (RFC 8693 §3).
const (
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// exchangeToken is the grant of RFC 8693. A CI's token is exchanged as at the native
// endpoint, by the same code; an access token of ours is exchanged for less.
func (s *server) exchangeToken(ctx context.Context, r *tokenRequest) (*agentidp.TokenResponse, error) {
	switch {
	case r.form.Get("subject_token") == "":
		return nil, badParameter("subject_token", "is required: the OIDC ID token of the workflow run, or an access token of this server")
	case r.form.Get("subject_token_type") == "":
		return nil, badParameter("subject_token_type", "is required: "+typeJWT+" for the token of a CI, "+typeAccessToken+" for an access token of this server")
	case (r.form.Get("actor_token") == "") != (r.form.Get("actor_token_type") == ""):
		return nil, badParameter("actor_token", "and actor_token_type belong together; send both or none")
	}
	if err := r.only("requested_token_type", typeAccessToken); err != nil {
		return nil, err
	}
	if err := r.only("subject_token_type", typeJWT, typeIDToken, typeAccessToken); err != nil {
		return nil, err
	}
	if r.form.Get("subject_token_type") == typeAccessToken {
		return s.exchangeOwn(ctx, r)
	}
	if r.form.Get("actor_token") != "" {
		return nil, badParameter("actor_token", "is not taken beside the token of a CI: nobody acts for a run")
	}
	return s.exchangeSubject(ctx, r, "subject_token")
}

// exchangeAssertion is the grant of RFC 7523 §2.1, as MCP's clients use it that have a
// workload identity: a CI's token again, under another name.
func (s *server) exchangeAssertion(ctx context.Context, r *tokenRequest) (*agentidp.TokenResponse, error) {
	if r.form.Get("assertion") == "" {
		return nil, badParameter("assertion", "is required: the OIDC ID token of the workflow run")
	}
	return s.exchangeSubject(ctx, r, "assertion")
}

// exchangeSubject exchanges the subject token of a CI that stands in a parameter.
func (s *server) exchangeSubject(ctx context.Context, r *tokenRequest, parameter string) (*agentidp.TokenResponse, error) {
	agentID, err := s.agent(ctx, r)
	if err != nil {
		return nil, err
	}
	audience, audienceName, err := r.audience()
	if err != nil {
		return nil, err
	}
	return s.Exchanger.Exchange(ctx, r.org, &exchange.Request{
		Token: r.form.Get(parameter), AgentID: agentID, Scope: r.form.Get("scope"), Audience: audience,
		Names:     exchange.Names{Token: parameter, AgentID: "agent_id", Audience: audienceName},
		RequestID: r.id, GrantType: r.grant, Proof: r.proof,
	})
}

// agent returns for which agent an exchange is: agent_id, or client_id, which ready-made
// clients send anyway (RFC 6749 §2.2). Neither is a bootstrap request. Who proves to be
// a client asks for itself.
func (s *server) agent(ctx context.Context, r *tokenRequest) (string, error) {
	agentID, clientID := r.form.Get("agent_id"), r.client.ClientID
	client, err := s.authenticated(ctx, r)
	switch {
	case err != nil:
		return "", err
	case client != nil:
		clientID = client.Agent.AgentID
	}
	switch {
	case agentID == "":
		agentID = clientID
	case clientID != "" && clientID != agentID:
		return "", badParameter("agent_id", "and the client's id are of two agents; an agent asks for itself")
	}
	return agentID, nil
}

// authenticated returns the client that a request proves to come from, nil where it does
// not try to: an exchange needs none (RFC 8693 §2.1). It is looked up as it is now,
// because the exchange of a CI's token does not compare it; the organization it does.
func (s *server) authenticated(ctx context.Context, r *tokenRequest) (*agentidp.Client, error) {
	if r.client.Method == credential.MethodNone {
		return nil, nil
	}
	return s.Clients.AuthenticateNow(ctx, r.org, r.client)
}

// exchangeOwn exchanges an access token of this server for one that can do less, or with
// which another agent acts. That the token lives no longer than its holder wants is
// requested_expires_in; RFC 8693 has no name for it.
func (s *server) exchangeOwn(ctx context.Context, r *tokenRequest) (*agentidp.TokenResponse, error) {
	if err := r.only("actor_token_type", typeAccessToken); err != nil {
		return nil, err
	}
	if r.form.Get("agent_id") != "" {
		return nil, badParameter("agent_id", "is not taken beside an access token: the agent is the token's")
	}
	audience, audienceName, err := r.audience()
	if err != nil {
		return nil, err
	}
	return s.observed(ctx, r, func() (*agentidp.TokenResponse, error) {
		client, err := s.authenticated(ctx, r)
		if err != nil {
			return nil, err
		}
		return s.Granter.ExchangeOwn(ctx, r.org, &grant.OwnRequest{
			SubjectToken: r.form.Get("subject_token"), ActorToken: r.form.Get("actor_token"), Client: client, ClientID: r.client.ClientID,
			Scope: r.form.Get("scope"), Audience: audience, AudienceName: audienceName, ExpiresIn: r.form.Get("requested_expires_in"), RequestID: r.id, Proof: r.proof,
		})
	})
}
