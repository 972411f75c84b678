package grant

import (
	"context"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func (a *attempt) newDecision() *agentidp.Decision {
	now := a.Clock()
	return &agentidp.Decision{
		ID: agentidp.NewID(now), OrganizationID: a.org.ID, RequestID: a.request.RequestID, At: now,
		Outcome: agentidp.OutcomeDenied, GrantType: agentidp.GrantClientCredentials,
		AgentID: a.client.Agent.AgentID, CredentialID: a.client.Credential.CredentialID,
	}
}

// refuse is deny, unless what it rests on has changed since it was read: store.ErrStale
// asks for another round.
func (a *attempt) refuse(ctx context.Context, err error) error {
	if !a.afresh {
		if err := a.compare(ctx, a.org, a.client); err != nil {
			return err
		}
	}
	return a.deny(ctx, err)
}

func (a *attempt) deny(ctx context.Context, err error) error {
	return a.record(ctx, a.decision, a.client.Agent.AgentID, a.event(agentidp.EventExchangeDenied), err)
}

func (a *attempt) event(typ agentidp.EventType) agentidp.Event {
	return newEvent(a.decision, typ, a.decision.AgentID)
}

// compare looks whether an organization, and a client where one authenticated, are as they
// were read, maybe before this request: no refusal rests on an old one. store.ErrStale:
// they are not. Other errors are what the caller is answered.
func (g *Granter) compare(ctx context.Context, seen *agentidp.Organization, client *agentidp.Client) error {
	org, err := g.Organization(ctx, seen.Slug)
	if err != nil {
		return err
	}
	if client != nil {
		now, err := g.Clients.Again(ctx, org, client)
		if err != nil {
			return err
		}
		if now.Agent.Revision != client.Agent.Revision || now.Credential.Revision != client.Credential.Revision {
			return store.ErrStale
		}
	}
	if org.Revision != seen.Revision {
		return store.ErrStale
	}
	return nil
}

// record writes a refusal with its event and returns the error that the caller sees, with
// the record's id. One that cannot be recorded is answered as unavailable: nothing is
// decided without a record. How many are recorded is limited, by whom they count for;
// beyond that the answer is 429 and costs no write.
func (g *Granter) record(ctx context.Context, d *agentidp.Decision, counted string, event agentidp.Event, err error) error {
	if err := g.refused(d.OrganizationID, counted); err != nil {
		return err
	}
	e := *agentidp.AsError(err)
	d.Code, d.Reason, e.DecisionID = e.Code, e.Reason, d.ID
	event.Data = map[string]string{agentidp.DataCode: e.Code}
	if e.Reason != "" {
		event.Data["reason"] = e.Reason
	}
	if err := g.DB.Record(ctx, d, event); err != nil {
		return unavailable(err)
	}
	if d.CredentialID != "" {
		g.DB.CredentialUsed(d.OrganizationID, d.CredentialID, d.At)
	}
	return &e
}

// newEvent is an event of a decision.
func newEvent(d *agentidp.Decision, typ agentidp.EventType, actor string) agentidp.Event {
	return agentidp.Event{
		ID: agentidp.NewID(d.At), OrganizationID: d.OrganizationID, At: d.At, Type: typ, Actor: actor,
		AgentID: d.AgentID, DecisionID: d.ID, RequestID: d.RequestID,
	}
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The grant could not be decided and recorded now, and no token leaves without its record. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
