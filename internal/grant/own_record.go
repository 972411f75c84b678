package grant

import (
	"cmp"
	"context"
	"errors"

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

// allow puts the decision and its event into a grant.
func (o *own) allow(g *store.Grant) {
	d := *o.decision
	d.Outcome, d.TokenID = agentidp.OutcomeAllowed, g.Token.ID
	if g.Policy != nil {
		d.PolicyID = g.Policy.ID
	}
	event := o.event(agentidp.EventTokenIssued)
	event.ID, event.TokenID, event.PolicyID = d.ID, d.TokenID, d.PolicyID
	event.Data = map[string]string{"parent_token_id": d.ParentTokenID}
	g.Decision, g.Events = d, []agentidp.Event{event}
}

// refuse records a refusal, unless what it rests on has changed since it was read:
// store.ErrStale asks for another round. What is undecided is no refusal.
func (o *own) refuse(ctx context.Context, err error) error {
	if e := agentidp.AsError(err); e.Kind == agentidp.Internal || e.Kind == agentidp.Unavailable {
		return err
	}
	if !o.afresh {
		if err := o.compare(ctx, o.org, o.req.Client); err != nil {
			return err
		}
	}
	return o.record(ctx, o.decision, o.counted(o.who()), o.event(agentidp.EventExchangeDenied), err)
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

func (o *own) event(typ agentidp.EventType) agentidp.Event {
	return newEvent(o.decision, typ, o.who())
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
