package grant

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// ClientCredentialsRequest asks for an access token for the client itself (RFC 6749
// §4.4).
type ClientCredentialsRequest struct {
	Client   *agentidp.Client // as the Authenticator found it, which may be a while ago
	Scope    string           // space-separated, empty: all of the agent's capabilities that the credential gives
	Audience string           // empty: the agent's first, or the issuer where it has none
	// AudienceName is what the parameter is called; empty: audience.
	AudienceName string
	RequestID    string
	// Proof, where there is one, is that of a key to which the token will be bound (RFC
	// 9449 §5); nil: a bearer token. It is used up by the grant.
	Proof *agentidp.Proof
}

// ClientCredentials issues an access token to an agent that authenticated with a
// credential of its own. Whatever is granted or recorded was compared with what it is
// now. The response may be sent as soon as it is returned: everything about it is
// durable by then. An error that is no *agentidp.Error is the context's: the caller left.
func (g *Granter) ClientCredentials(ctx context.Context, org *agentidp.Organization, req *ClientCredentialsRequest) (*agentidp.TokenResponse, error) {
	client, counted := req.Client, false
	for round := range maxRounds {
		a := &attempt{Granter: g, org: org, client: client, request: req, afresh: round > 0, counted: counted}
		resp, err := a.clientCredentials(ctx)
		if !errors.Is(err, store.ErrStale) {
			return resp, err
		}
		counted = a.counted
		// Something changed between the look and the commit: again, with what the
		// database holds now.
		if org, err = g.Organization(ctx, org.Slug); err != nil {
			return nil, err
		}
		if client, err = g.Clients.Again(ctx, org, client); err != nil {
			return nil, err
		}
	}
	return nil, unavailable(errors.New("what the grant rests on changed faster than it could follow"))
}

// attempt is one pass over a grant to a client.
type attempt struct {
	*Granter
	org      *agentidp.Organization
	client   *agentidp.Client
	request  *ClientCredentialsRequest
	afresh   bool // all of it was just read
	counted  bool // against the agent's limit
	decision *agentidp.Decision
}

// clientCredentials is one round of ClientCredentials; store.ErrStale asks for another.
func (a *attempt) clientCredentials(ctx context.Context) (*agentidp.TokenResponse, error) {
	// 1. The record is born: denied until an issuing commit says otherwise.
	a.decision = a.newDecision()

	// 2. The decision: the agent is active, and may have what it asks for.
	scope, audience, err := decide(a.client, a.org, a.request)
	if err != nil {
		return nil, a.refuse(ctx, err)
	}

	// 3. An agent's tokens are limited, once it is decided that it may have one.
	limited, err := a.limit()
	if err != nil {
		return nil, err
	}

	// 4. Sign. The token stays here until its record is durable.
	grant := a.grant(scope, audience)
	signed, err := a.Tokens.Mint(ctx, a.org, &grant.Token, a.client.Agent.Name, nil)
	if err != nil {
		return nil, unavailable(err)
	}

	// 5. One commit: organization, agent and credential still as seen, the proof used
	// for the first time, records.
	err = a.DB.Issue(ctx, grant)
	switch {
	case errors.Is(err, store.ErrReplayed):
		return nil, a.deny(ctx, agentidp.UsedProof())
	case errors.Is(err, store.ErrStale):
		return nil, store.ErrStale
	case err != nil:
		return nil, unavailable(err)
	}
	return agentidp.NewTokenResponse(signed, &grant.Token, limited), nil // 6. only after the commit
}

// limit counts a token of the agent, once.
func (a *attempt) limit() (agentidp.RateLimit, error) {
	if a.counted {
		return a.Agents.Look(a.Clock(), a.org.ID, a.client.Agent.AgentID), nil
	}
	a.counted = true
	return a.Agents.Take(a.Clock(), a.org.ID, a.client.Agent.AgentID)
}

// What is said of an audience that is refused, whichever are listed: how near it comes to
// one of them is not told.
const (
	noAudience = "must be one absolute URI without a fragment, such as https://deploy.example.com, 255 bytes at most (RFC 8707 §2)"
	exactly    = " (it is to be spelled exactly as listed: case and a slash at the end count)"
)

// decide says what a client gets, or why nothing. An agent without capabilities may have
// a token without scope: who it is is something, too. The management API is an audience
// like any other: an administrator has to list it.
func decide(client *agentidp.Client, org *agentidp.Organization, req *ClientCredentialsRequest) (scope, audience string, err error) {
	agent := client.Agent
	if agent.Status != agentidp.AgentActive {
		return "", "", agentidp.NewError(agentidp.Denied, agentidp.CodeAgentNotActive,
			"The agent is "+string(agent.Status)+"; only an active one gets tokens. Ask whoever manages it.")
	}
	scopes, ok := agentidp.ParseScope(req.Scope)
	if !ok {
		return "", "", invalid(agentidp.CodeInvalidScope, "scope", "must be scopes such as deploy:production, separated by single spaces, none twice (RFC 6749 §3.3)")
	}
	may := client.Scopes()
	if req.Scope == "" {
		scopes = may
	}
	for _, s := range scopes {
		switch {
		case !slices.Contains(agent.Capabilities, s):
			return "", "", invalid(agentidp.CodeInvalidScope, "scope", "asks for "+s+", which is none of the agent's capabilities; ask for less, or have it added to the agent")
		case !slices.Contains(may, s):
			return "", "", invalid(agentidp.CodeInvalidScope, "scope", "asks for "+s+", which is beyond the bound of the credential (its scopes), though the agent has it; ask for less, or have a credential created that may give it")
		}
	}
	refuse := func(reason string) error {
		return invalid(agentidp.CodeInvalidTarget, cmp.Or(req.AudienceName, "audience"), reason)
	}
	if req.Audience != "" && !policy.IsAudience(req.Audience) {
		return "", "", refuse(noAudience)
	}
	listed := agent.Audiences
	if len(listed) == 0 {
		listed = []string{org.Issuer}
	}
	audience = req.Audience
	if audience == "" {
		audience = listed[0]
	}
	if !slices.Contains(listed, audience) {
		return "", "", refuse("is none of the agent's audiences" + exactly + "; leave it out for the first of them, or have it added to the agent")
	}
	return strings.Join(scopes, " "), audience, nil
}

// grant describes what the issuing commit checks and writes.
func (a *attempt) grant(scope, audience string) *store.Grant {
	now, agent := a.Clock(), a.client.Agent
	issued := now.Truncate(time.Second)
	g := &store.Grant{
		Organization: a.org, Agent: agent, Credential: a.client.Credential,
		Token: agentidp.AccessToken{
			ID: agentidp.NewID(now), OrganizationID: a.org.ID, Kind: agentidp.PrincipalAgent,
			Subject: agent.AgentID, AgentID: agent.AgentID, CredentialID: a.client.Credential.CredentialID, DecisionID: a.decision.ID,
			Scope: scope, Audience: audience, IssuedAt: issued, ExpiresAt: issued.Add(a.TokenTTL),
		},
		Decision: *a.decision,
	}
	if p := a.request.Proof; p != nil {
		g.Token.KeyThumbprint = p.Thumbprint
		g.Once = new(store.OnceOf(p))
	}
	g.Decision.Outcome, g.Decision.TokenID = agentidp.OutcomeAllowed, g.Token.ID
	event := a.event(agentidp.EventTokenIssued)
	event.ID, event.TokenID = g.Decision.ID, g.Token.ID
	g.Events = []agentidp.Event{event}
	return g
}
