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
// very token that is presented. proof is what the bearer came with; none is asked for the
// token that is presented, which is data here.
//
// What is no good token, or none that the caller may know of, is inactive, and not a
// word more is said of it. Errors: Unauthenticated (the bearer, or its proof), TooMany (its uses),
// Unavailable, which means neither yes nor no.
func (t *Tokens) Introspect(ctx context.Context, org *agentidp.Organization, bearer string, proof *agentidp.Proof, presented string) (*agentidp.Introspection, error) {
	var caller *agentidp.Principal // nil: nobody but the token itself
	itself := bearer != "" && bearer == presented
	if bearer != "" && !itself {
		var err error
		if caller, err = t.Authenticate(ctx, org, bearer, proof); err != nil {
			return nil, err
		}
	}
	return t.introspect(ctx, org, caller, itself, proof, presented)
}

// IntrospectFor is Introspect for a caller who has authenticated: a client, by one of
// its credentials. Error: Unavailable.
func (t *Tokens) IntrospectFor(ctx context.Context, org *agentidp.Organization, caller *agentidp.Principal, presented string) (*agentidp.Introspection, error) {
	return t.introspect(ctx, org, caller, false, nil, presented)
}

// introspect answers a caller, or nobody. itself is whether the token is what
// authenticates the request as well, with that proof.
func (t *Tokens) introspect(ctx context.Context, org *agentidp.Organization, caller *agentidp.Principal, itself bool, proof *agentidp.Proof, presented string) (*agentidp.Introspection, error) {
	var used agentidp.RateLimit
	if caller != nil {
		used = caller.RateLimit
	}
	c, rec, err := t.judge(ctx, org, presented)
	if e, ok := errors.AsType[*agentidp.Error](err); ok && e.Kind == agentidp.Unauthenticated && !itself {
		return &agentidp.Introspection{RateLimit: used, Unproven: caller == nil && errors.Is(err, errUnproven)}, nil
	}
	if err != nil {
		return nil, err
	}
	if itself {
		if err := bound(rec, proof); err != nil {
			return nil, err
		}
		if used, err = t.use(ctx, rec, proof); err != nil {
			return nil, err
		}
	}
	if caller != nil && !mayKnow(caller, rec) {
		return &agentidp.Introspection{RateLimit: used}, nil
	}
	return &agentidp.Introspection{
		Active: true, Scope: rec.Scope, ClientID: rec.Subject, Subject: rec.Subject, Audience: rec.Audience, Issuer: org.Issuer,
		IssuedAt: rec.IssuedAt.Unix(), NotBefore: rec.IssuedAt.Unix(), ExpiresAt: rec.ExpiresAt.Unix(),
		ID: rec.ID, TokenType: rec.TokenType(), AgentName: c.AgentName, Workload: c.Workload,
		Confirmation: rec.Confirmation(), Actor: c.Actor, RateLimit: used,
	}, nil
}

// mayKnow reports whether a caller may know of a token that is another than the one
// that authenticates it: with tokens:read of any, whatever its audience, else of those
// of its own.
func mayKnow(c *agentidp.Principal, rec *agentidp.AccessToken) bool {
	return c.Kind != agentidp.PrincipalBootstrap && (c.Has(agentidp.ScopeTokensRead) || isOf(c, rec))
}

// isOf reports whether a token was issued to the client that a caller is: it is its
// subject, or whoever acts for that. The client of a bootstrap token is its policy, which
// runs that know nothing of each other share, so none of them has another's.
func isOf(c *agentidp.Principal, rec *agentidp.AccessToken) bool {
	switch c.Kind {
	case agentidp.PrincipalBootstrap:
		return false
	case agentidp.PrincipalAgent:
		return rec.Kind == agentidp.PrincipalAgent && (rec.Subject == c.AgentID || rec.ActorID == c.AgentID)
	}
	return rec.Kind == c.Kind && rec.Subject == c.Subject
}
