package exchange

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// newDecision starts the record of an authentic attempt: denied until an issuing
// commit says otherwise.
func (a *attempt) newDecision() *agentidp.Decision {
	now := a.Clock()
	c := a.claims
	return &agentidp.Decision{
		ID: agentidp.NewID(now), OrganizationID: a.org.ID, RequestID: a.request.RequestID, At: now,
		Outcome: agentidp.OutcomeDenied, GrantType: cmp.Or(a.request.GrantType, agentidp.GrantTokenExchange), Provider: a.provider.Name,
		Repository: c.Repository, RepositoryID: c.RepositoryID, RepositoryOwnerID: c.RepositoryOwnerID,
		Subject: c.Subject, Ref: c.Ref, Event: c.Event, RunID: c.RunID, AgentID: a.request.AgentID,
	}
}

// refuse is deny, unless the organization or the provider was read before this request
// and has changed since, or is gone: no refusal rests on an old one. store.ErrStale asks
// for another round. A replayed token needs none of this: the commit that found it
// compared both first.
func (a *attempt) refuse(ctx context.Context, afresh bool, out *policy.Outcome, err error) error {
	if !afresh {
		org, err := a.Organization(ctx, a.org.Slug)
		if err != nil {
			return err
		}
		if org.Revision != a.org.Revision {
			return store.ErrStale
		}
		if err := a.compare(ctx, a.provider, a.read); err != nil {
			return err
		}
	}
	return a.deny(ctx, out, err)
}

// deny records a refusal and returns the error that the caller sees, with the
// record's id. A refusal that cannot be recorded is answered as unavailable:
// nothing is decided without a record.
func (a *attempt) deny(ctx context.Context, out *policy.Outcome, err error) error {
	e := agentidp.AsError(err)
	if e.Kind == agentidp.Internal || e.Kind == agentidp.Unavailable {
		return e
	}
	if err := a.limits.refusal(a.Clock(), a.limitKey()); err != nil {
		return a.limited(err)
	}
	d := a.decision
	d.Code, d.Reason, d.Checks = e.Code, e.Reason, checksOfToken(a.org, a.provider, e)
	policyID := ""
	if out != nil {
		d.Checks, d.Nearest = out.Checks, out.Nearest
		if !out.Granted { // else the token was used before, which no policy would let pass either
			d.Shadow, d.Claims = out.Shadow, a.recorded()
		}
		if out.Policy != nil {
			policyID = out.Policy.ID
			d.PolicyID = policyID
		}
	}
	event := a.event(denialEvent(e), d.At, "", policyID, map[string]string{
		agentidp.DataCode: e.Code, agentidp.DataRepository: a.claims.Repository,
	})
	if e.Reason != "" {
		event.Data["reason"] = e.Reason
	}
	// The caller may leave; its refusal is recorded all the same.
	if err := a.DB.Record(context.WithoutCancel(ctx), d, event); err != nil {
		return unavailable(err)
	}
	denied := *e
	denied.DecisionID = d.ID
	return &denied
}

// checksOfToken are the comparisons by which a subject token itself was refused: of its
// audience, which whoever asks for the token has to mend.
func checksOfToken(org *agentidp.Organization, p *agentidp.Provider, refused *agentidp.Error) []agentidp.Check {
	if refused.Reason != agentidp.ReasonAudienceMismatch {
		return nil
	}
	accepted := strings.Join(append([]string{org.Issuer}, p.Audiences...), " or ")
	return []agentidp.Check{{Check: "aud", Claim: "aud", Expected: accepted, Got: refused.Claims["aud"]}}
}

// limited counts what came to a limit, and returns err as it came. It leaves no
// record: that is what the limit is for.
func (a *attempt) limited(err error) error {
	a.refusals.count(a.org.ID, a.request.RequestID, refused{agentidp.CodeRateLimited, a.provider.Name}, err)
	return err
}

func denialEvent(e *agentidp.Error) agentidp.EventType {
	switch {
	case e.Reason == agentidp.ReasonTokenReplayed:
		return agentidp.EventTokenReplayed
	case e.Code == agentidp.CodeRepositoryIdentityChanged:
		return agentidp.EventRepositoryIdentityChanged
	}
	return agentidp.EventExchangeDenied
}

func (a *attempt) event(typ agentidp.EventType, at time.Time, tokenID, policyID string, data map[string]string) agentidp.Event {
	return agentidp.Event{
		ID: agentidp.NewID(at), OrganizationID: a.org.ID, At: at, Type: typ,
		Actor:   a.provider.Name + ":" + cmp.Or(a.claims.Repository, a.claims.Subject),
		AgentID: a.request.AgentID, PolicyID: policyID, TokenID: tokenID, DecisionID: a.decision.ID,
		RequestID: a.request.RequestID, Data: data,
	}
}

// replayed is the refusal of a subject token that was already exchanged.
func replayed(c *agentidp.Claims) error {
	return &agentidp.Error{
		Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidToken, Reason: agentidp.ReasonTokenReplayed,
		Message: "This subject token was already exchanged; each one is good for one exchange. Request a fresh ID token for every attempt, also for a retry.",
		Claims:  map[string]string{"jti": c.TokenID},
	}
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The exchange could not be decided and recorded now, and no token leaves without its record. Try again with a fresh ID token.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
