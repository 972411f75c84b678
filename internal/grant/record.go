package grant

import (
	"context"

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

// refuse is deny, unless the organization, the agent or the credential was read before
// this request and has changed since, or has ended: no refusal rests on an old one.
// store.ErrStale asks for another round.
func (a *attempt) refuse(ctx context.Context, err error) error {
	if !a.afresh {
		org, err := a.Organization(ctx, a.org.Slug)
		if err != nil {
			return err
		}
		now, err := a.Clients.Again(ctx, org, a.client)
		if err != nil {
			return err
		}
		if org.Revision != a.org.Revision || now.Agent.Revision != a.client.Agent.Revision || now.Credential.Revision != a.client.Credential.Revision {
			return store.ErrStale
		}
	}
	return a.deny(ctx, err)
}

// deny records a refusal and returns the error that the caller sees, with the record's
// id. A refusal that cannot be recorded is answered as unavailable: nothing is decided
// without a record. How many are recorded is limited; beyond that the answer is 429 and
// costs no write.
func (a *attempt) deny(ctx context.Context, err error) error {
	if err := a.refused(a.org.ID, a.client.Agent.AgentID); err != nil {
		return err
	}
	e := *agentidp.AsError(err)
	d := a.decision
	d.Code, e.DecisionID = e.Code, d.ID
	event := a.event(agentidp.EventExchangeDenied, "", map[string]string{agentidp.DataCode: e.Code})
	// The caller may leave; its refusal is recorded all the same.
	if err := a.DB.Record(context.WithoutCancel(ctx), d, event); err != nil {
		return unavailable(err)
	}
	a.DB.CredentialUsed(a.org.ID, a.client.Credential.CredentialID, d.At)
	return &e
}

func (a *attempt) event(typ agentidp.EventType, tokenID string, data map[string]string) agentidp.Event {
	d := a.decision
	return agentidp.Event{
		ID: agentidp.NewID(d.At), OrganizationID: a.org.ID, At: d.At, Type: typ, Actor: d.AgentID,
		AgentID: d.AgentID, TokenID: tokenID, DecisionID: d.ID, RequestID: d.RequestID, Data: data,
	}
}
