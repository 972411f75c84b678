package grant

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// OwnRequest asks for an access token in exchange for another of this server (RFC 8693).
type OwnRequest struct {
	SubjectToken string // whose agent the new token is for; never logged
	ActorToken   string // of an agent that acts for that one; "": none is presented
	// Client is who authenticated, if anybody did: the subject's agent, whoever acts
	// with the subject token, or the actor.
	Client   *agentidp.Client
	ClientID string // that is said, and proves nothing; "": none
	Scope    string // space-separated, empty: all that the subject token has
	Audience string // empty: the subject token's
	// AudienceName is what the parameter is called; empty: audience.
	AudienceName string
	// ExpiresIn is how many seconds the token is to live at most, as it was sent; empty:
	// as long as it may. RFC 8693 has no name for it, and here it is requested_expires_in.
	ExpiresIn string
	// Proof, where there is one, is that of a key to which the token will be bound (RFC
	// 9449 §5).
	Proof     *agentidp.Proof
	RequestID string
}

// own is one such exchange whose subject token is good.
type own struct {
	*Granter
	org     *agentidp.Organization
	req     *OwnRequest
	asked   *asked
	subject *token.Presented
	actor   *token.Presented // whose token was presented beside it; nil: none was
	acts    string           // the agent that proved to be the one that asks; "": nobody did
	afresh  bool

	decision *agentidp.Decision
}

// asked is what a request says itself.
type asked struct {
	scopes  []string
	seconds int64 // 0: as many as may be
}

// ExchangeOwn exchanges an access token of this server for another that can do less, or
// with which another agent acts for its agent. The new one never has more scope or a
// longer life than the one that was presented, and ends with it. The rules are in
// docs/delegation.md.
//
// Whoever presents a token that is not bound to a key may exchange it for less. Only
// the agent itself, and whoever it lets act for it, gets a token for another audience:
// a service to which the token was sent must not carry it on to the next.
//
// The response may be sent as soon as it is returned: everything about it is durable by
// then. Errors are *agentidp.Error, or the context's: the caller left.
func (g *Granter) ExchangeOwn(ctx context.Context, org *agentidp.Organization, req *OwnRequest) (*agentidp.TokenResponse, error) {
	asked, err := req.check()
	if err != nil {
		return nil, err
	}
	for round := range maxRounds {
		resp, err := g.ownRound(ctx, &own{Granter: g, org: org, req: req, asked: asked, afresh: round > 0})
		if !errors.Is(err, store.ErrStale) {
			return resp, err
		}
		// Something changed between the look and the commit: again, with what the
		// database holds now.
		if org, err = g.Organization(ctx, org.Slug); err != nil {
			return nil, err
		}
		if req.Client != nil {
			again := *req
			if again.Client, err = g.Clients.Again(ctx, org, req.Client); err != nil {
				return nil, err
			}
			req = &again
		}
	}
	return nil, unavailable(errors.New("what the grant rests on changed faster than it could follow"))
}

// ownRound is one pass. store.ErrStale asks for another.
func (g *Granter) ownRound(ctx context.Context, o *own) (*agentidp.TokenResponse, error) {
	// 1. Who asks: the tokens, as the database has them now, and the key that they are
	// bound to. Until that is proven, nothing is written, unless a client authenticated.
	err := o.prove(ctx)
	o.decision = o.newDecision()
	switch {
	case err != nil && o.req.Client == nil:
		return nil, err
	case err != nil:
		return nil, o.refuse(ctx, err)
	}

	// 2. The decision.
	grant, actor, err := o.decide(ctx)
	switch {
	case errors.Is(err, store.ErrStale):
		return nil, store.ErrStale
	case err != nil:
		return nil, o.refuse(ctx, err)
	}
	limited, err := o.limit()
	if err != nil {
		return nil, err
	}

	// 3. Sign. The token stays here until its record is durable.
	signed, err := g.Tokens.MintFor(ctx, o.org, &grant.Token, grant.Agent.Name, o.subject.Workload, actor)
	if err != nil {
		return nil, unavailable(err)
	}

	// 4. One commit: agents, policy and credential still as seen, the proof used for the
	// first time, records.
	switch err := g.DB.Issue(ctx, grant); {
	case errors.Is(err, store.ErrReplayed):
		return nil, o.refuse(ctx, agentidp.UsedProof())
	case errors.Is(err, store.ErrStale):
		return nil, store.ErrStale
	case err != nil:
		return nil, unavailable(err)
	}
	return agentidp.NewTokenResponse(signed, &grant.Token, limited), nil // 5. only after the commit
}

const maxScope = 2048 // bytes

// check refuses a request for what it says itself.
func (r *OwnRequest) check() (*asked, error) {
	scopes, ok := agentidp.ParseScope(r.Scope)
	switch {
	case r.SubjectToken == "":
		return nil, invalid(agentidp.CodeInvalidRequest, "subject_token", "is required: the access token to exchange")
	case !ok || len(r.Scope) > maxScope:
		return nil, invalid(agentidp.CodeInvalidScope, "scope", "must be scopes such as deploy:production, separated by single spaces, none twice, 2048 bytes at most (RFC 6749 §3.3)")
	case r.Audience != "" && !policy.IsAudience(r.Audience):
		return nil, r.badTarget(noAudience)
	case r.ExpiresIn == "":
		return &asked{scopes: scopes}, nil
	}
	seconds, err := strconv.ParseUint(r.ExpiresIn, 10, 31)
	if err != nil || seconds == 0 {
		return nil, invalid(agentidp.CodeInvalidRequest, "requested_expires_in", "must be a whole number of seconds, 1 at least, in decimal digits")
	}
	return &asked{scopes: scopes, seconds: int64(seconds)}, nil
}

// prove judges what was presented. An error is what the caller is answered.
func (o *own) prove(ctx context.Context) (err error) {
	if o.req.Client != nil {
		o.acts = o.req.Client.Agent.AgentID
	}
	if o.subject, err = o.Tokens.Subject(ctx, o.org, o.req.SubjectToken); err != nil {
		return notGood("subject_token", err)
	}
	if o.req.ActorToken == "" {
		if id := o.req.ClientID; id != "" && id != cmp.Or(o.acts, acting(o.subject.AccessToken)) {
			return invalid(agentidp.CodeInvalidRequest, "client_id", "is another agent's than the one that the subject token is in the hands of; to act for that one, authenticate as the client, or present an actor_token")
		}
		return o.bound()
	}
	if o.actor, err = o.Tokens.Subject(ctx, o.org, o.req.ActorToken); err != nil {
		return notGood("actor_token", err)
	}
	switch {
	case o.actor.Kind != agentidp.PrincipalAgent:
		err = invalid(agentidp.CodeInvalidRequest, "actor_token", "is not an agent's; whoever acts for an agent is one")
	case o.actor.ActorID != "":
		err = invalid(agentidp.CodeInvalidRequest, "actor_token", "is a delegated token, with which another acts for its agent; an actor proves itself with a token of its own")
	case o.acts != "" && o.acts != o.actor.AgentID:
		err = invalid(agentidp.CodeInvalidRequest, "actor_token", "is another agent's than the one that authenticated as the client; the actor asks for itself")
	case o.acts == "" && o.actor.KeyThumbprint == "" && !o.forUs(o.actor):
		err = invalid(agentidp.CodeInvalidRequest, "actor_token",
			"is for another service, which could have sent it just as well; authenticate the actor as the client, or present a token of it whose audience is this server ("+o.org.Issuer+") or that is bound to a key")
	}
	if err != nil {
		return err
	}
	o.acts = o.actor.AgentID
	return o.bound()
}

// forUs reports whether a token is for this server alone, so that nobody has it but whom
// it was issued to.
func (o *own) forUs(t *token.Presented) bool {
	return t.Audience == o.org.Issuer || t.Audience == o.org.ManagementAudience()
}

// acting returns the agent that a token is in the hands of, by what it says.
func acting(t *agentidp.AccessToken) string { return cmp.Or(t.ActorID, t.AgentID) }

// delegates reports whether the exchange hands the token on to another agent.
func (o *own) delegates() bool { return o.acts != "" && o.acts != acting(o.subject.AccessToken) }

// bound demands the proof of the keys that the tokens are bound to (RFC 9449). An actor
// cannot have the key of the subject's agent; it proves its own instead, so that what
// was bound to a key stays bound to one.
func (o *own) bound() error {
	var keys []string
	if o.subject.KeyThumbprint != "" && !o.delegates() {
		keys = append(keys, o.subject.KeyThumbprint)
	}
	if o.actor != nil && o.actor.KeyThumbprint != "" {
		keys = append(keys, o.actor.KeyThumbprint)
	}
	switch {
	case o.req.Proof == nil && (len(keys) > 0 || o.subject.KeyThumbprint != ""):
		return agentidp.InvalidProof("it is missing, and the token that is exchanged is bound to a key; send a DPoP proof with it (RFC 9449)")
	case slices.ContainsFunc(keys, func(key string) bool { return key != o.req.Proof.Thumbprint }):
		return agentidp.InvalidProof("it is by another key than the one that the token is bound to")
	}
	return nil
}

// badTarget refuses the audience that is asked for.
func (r *OwnRequest) badTarget(reason string) error {
	return invalid(agentidp.CodeInvalidTarget, cmp.Or(r.AudienceName, "audience"), reason)
}

func invalid(code, field, reason string) error {
	return &agentidp.Error{Kind: agentidp.Invalid, Code: code, Message: field + " " + reason + ".",
		Details: []agentidp.FieldError{{Field: field, Reason: strings.TrimSuffix(reason, ".")}}}
}
