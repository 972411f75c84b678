package token

import (
	"context"
	"errors"

	"github.com/sentryagent/agentidp"
)

// Introspect says what an access token of the organization is worth now (RFC 7662),
// whatever its audience. Whoever presents it alone is told all: the holder of a token
// can read its claims anyway. bearer is the access token that authenticates the
// request, or empty; it must be good, and then its authority counts. It may be the
// very token that is presented.
//
// What is no good token, or none that the caller may know of, is inactive, and not a
// word more is said of it. Errors: Unauthenticated (the bearer), TooMany (its uses),
// Unavailable, which means neither yes nor no.
func (t *Tokens) Introspect(ctx context.Context, org *agentidp.Organization, bearer, presented string) (*agentidp.Introspection, error) {
	var caller *agentidp.Principal
	itself := bearer != "" && bearer == presented
	if bearer != "" && !itself {
		var err error
		if caller, err = t.Authenticate(ctx, org, bearer); err != nil {
			return nil, err
		}
	}
	c, rec, err := t.judge(ctx, org, presented)
	if e, ok := errors.AsType[*agentidp.Error](err); ok && e.Kind == agentidp.Unauthenticated && !itself {
		return &agentidp.Introspection{Unproven: caller == nil && errors.Is(err, errUnproven)}, nil
	}
	if err != nil {
		return nil, err
	}
	if itself {
		if _, err := t.use(rec); err != nil {
			return nil, err
		}
	}
	if caller != nil && !mayKnow(caller, rec) {
		return &agentidp.Introspection{}, nil
	}
	return &agentidp.Introspection{
		Active: true, Scope: rec.Scope, ClientID: rec.Subject, Subject: rec.Subject, Audience: rec.Audience, Issuer: org.Issuer,
		IssuedAt: rec.IssuedAt.Unix(), NotBefore: rec.IssuedAt.Unix(), ExpiresAt: rec.ExpiresAt.Unix(),
		ID: rec.ID, TokenType: rec.TokenType(), AgentName: c.AgentName, Workload: c.Workload,
		Confirmation: rec.Confirmation(), Actor: c.Actor,
	}, nil
}

// mayKnow reports whether a caller may know of a token that is another than the one
// that authenticates it: with tokens:read of any, else of its own client's. The client
// of a bootstrap token is its policy, which runs that know nothing of each other
// share, so it may know of none.
func mayKnow(c *agentidp.Principal, rec *agentidp.AccessToken) bool {
	return c.Kind != agentidp.PrincipalBootstrap && (c.Has(agentidp.ScopeTokensRead) || c.Kind == rec.Kind && c.Subject == rec.Subject)
}
