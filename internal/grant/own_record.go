package grant

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// newDecision starts the record of an attempt: denied until an issuing commit says
// otherwise.
func (o *own) newDecision() *agentidp.Decision {
	now := o.Clock()
	d := &agentidp.Decision{
		ID: agentidp.NewID(now), OrganizationID: o.org.ID, RequestID: o.req.RequestID, At: now,
		Outcome: agentidp.OutcomeDenied, GrantType: agentidp.GrantTokenExchange, AgentID: o.acts,
	}
	if o.req.Client != nil {
		d.CredentialID = o.req.Client.Credential.CredentialID
	}
	if s := o.subject; s != nil {
		d.AgentID, d.ActorID, d.ParentTokenID = s.AgentID, s.ActorID, s.ID
		if o.delegates() {
			d.ActorID = o.acts
		}
	}
	return d
}

// record puts the decision and its event into a grant.
func (o *own) record(g *store.Grant) {
	d := *o.decision
	d.Outcome, d.TokenID = agentidp.OutcomeAllowed, g.Token.ID
	if g.Policy != nil {
		d.PolicyID = g.Policy.ID
	}
	event := o.event(agentidp.EventTokenIssued, map[string]string{"parent_token_id": d.ParentTokenID})
	event.ID, event.TokenID, event.PolicyID = d.ID, d.TokenID, d.PolicyID
	g.Decision, g.Events = d, []agentidp.Event{event}
}

// refuse records a refusal and returns the error that the caller sees, with the record's
// id. None rests on an organization or a client that was read before this request and has
// changed since, or has ended: store.ErrStale asks for another round. One that cannot be
// recorded is answered as unavailable.
func (o *own) refuse(ctx context.Context, err error) error {
	e := agentidp.AsError(err)
	if e.Kind == agentidp.Internal || e.Kind == agentidp.Unavailable {
		return err
	}
	if !o.afresh {
		if err := o.compare(ctx); err != nil {
			return err
		}
	}
	if err := o.refused(o.org.ID, o.counted(o.who())); err != nil {
		return err
	}
	d := o.decision
	d.Code, d.Reason = e.Code, e.Reason
	event := o.event(agentidp.EventExchangeDenied, map[string]string{agentidp.DataCode: e.Code})
	if e.Reason != "" {
		event.Data["reason"] = e.Reason
	}
	// The caller may leave; its refusal is recorded all the same.
	if err := o.DB.Record(context.WithoutCancel(ctx), d, event); err != nil {
		return unavailable(err)
	}
	if d.CredentialID != "" {
		o.DB.CredentialUsed(o.org.ID, d.CredentialID, d.At)
	}
	denied := *e
	denied.DecisionID = d.ID
	return &denied
}

// compare looks whether the organization and the client are as they were read.
func (o *own) compare(ctx context.Context) error {
	org, err := o.Organization(ctx, o.org.Slug)
	if err != nil {
		return err
	}
	if c := o.req.Client; c != nil {
		now, err := o.Clients.Again(ctx, org, c)
		if err != nil {
			return err
		}
		if now.Credential.Revision != c.Credential.Revision {
			return store.ErrStale
		}
	}
	if org.Revision != o.org.Revision {
		return store.ErrStale
	}
	return nil
}

// limit counts a token, once.
func (o *own) limit() (agentidp.RateLimit, error) {
	if o.afresh {
		return o.Agents.Look(o.Clock(), o.org.ID, o.counted(o.subject.AgentID)), nil
	}
	return o.Agents.Take(o.Clock(), o.org.ID, o.counted(o.subject.AgentID))
}

// counted is who a token or a refusal of an agent counts for: the agent where one proved
// to be the one that asks, or the key of the token. All else may be a service to which
// the agent sent its token; those for one audience are counted together and apart from
// the agent, so that no service uses up what is the agent's.
func (o *own) counted(agentID string) string {
	if s := o.subject; o.acts == "" && s != nil && s.KeyThumbprint == "" {
		return agentID + " " + s.Audience
	}
	return agentID
}

// who is the one that asks: the agent that acts, or whoever the subject token is of.
func (o *own) who() string {
	who := cmp.Or(o.decision.ActorID, o.decision.AgentID)
	if who == "" {
		who = o.subject.Subject
	}
	return who
}

func (o *own) event(typ agentidp.EventType, data map[string]string) agentidp.Event {
	d := o.decision
	return agentidp.Event{
		ID: agentidp.NewID(d.At), OrganizationID: o.org.ID, At: d.At, Type: typ, Actor: o.who(),
		AgentID: d.AgentID, DecisionID: d.ID, RequestID: d.RequestID, Data: data,
	}
}

// notGood says which token is not.
func notGood(field string, err error) error {
	e, ok := errors.AsType[*agentidp.Error](err)
	if !ok || e.Kind != agentidp.Unauthenticated {
		return err
	}
	named := *e
	named.Message = field + ": " + e.Message
	return &named
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The grant could not be decided and recorded now, and no token leaves without its record. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
