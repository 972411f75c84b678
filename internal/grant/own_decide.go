package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// decide returns what the issuing commit is to check and write, and who will act with
// the token. An error is what the caller is answered, or store.ErrStale.
func (o *own) decide(ctx context.Context) (*store.Grant, *agentidp.Actor, error) {
	parent := o.subject
	if parent.Kind != agentidp.PrincipalAgent {
		return nil, nil, invalid(agentidp.CodeInvalidRequest, "subject_token", "is no agent's: tokens of administrators and bootstrap tokens cannot be exchanged")
	}
	if parent.Depth >= token.MaxDepth {
		return nil, nil, invalid(agentidp.CodeInvalidRequest, "subject_token",
			fmt.Sprintf("comes from %d exchanges in a row already, which is the most; exchange one that comes from fewer", parent.Depth))
	}
	g := &store.Grant{Organization: o.org}
	var err error
	if g.Agent, err = o.active(ctx, parent.AgentID); err != nil {
		return nil, nil, err
	}
	actorID, actor := parent.ActorID, parent.Actor
	if o.delegates() {
		actorID, actor = o.acts, &agentidp.Actor{Subject: o.acts, Actor: parent.Actor}
	}
	if actorID != "" {
		// Also of one that acts already: it may have been taken off the list since.
		if !slices.Contains(g.Agent.MayDelegateTo, actorID) {
			return nil, nil, agentidp.NewError(agentidp.Denied, agentidp.CodeDelegationNotPermitted,
				"The agent of the subject token does not let this one act for it. An administrator can add its id to that agent's mayDelegateTo.")
		}
		if g.Actor, err = o.active(ctx, actorID); err != nil {
			return nil, nil, err
		}
	}
	if o.req.Client != nil {
		g.Credential = o.req.Client.Credential
	}
	if p := o.req.Proof; p != nil {
		g.Once = new(store.OnceOf(p))
	}
	if g.Token, err = o.child(ctx, g, actorID); err != nil {
		return nil, nil, err
	}
	o.allow(g)
	return g, actor, nil
}

// active reads an agent. One whose token was judged was active a moment ago.
func (o *own) active(ctx context.Context, id string) (*agentidp.Agent, error) {
	agent, err := o.DB.Agent(ctx, o.org.ID, id)
	switch judged := o.actor != nil || id == o.subject.AgentID || id == o.subject.ActorID; {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, unavailable(err)
	case err == nil && agent.Status == agentidp.AgentActive:
		return agent, nil
	case judged:
		return nil, store.ErrStale
	}
	return nil, agentidp.NewError(agentidp.Denied, agentidp.CodeAgentNotActive, "The agent that authenticated is not active. Ask whoever manages it.")
}

// child returns the record of the token. Where it comes from is the parent's, so that
// whatever ends all tokens of a policy, a repository or a credential ends it too.
func (o *own) child(ctx context.Context, g *store.Grant, actorID string) (rec agentidp.AccessToken, err error) {
	now, parent := o.Clock(), o.subject
	rec = agentidp.AccessToken{
		ID: agentidp.NewID(now), OrganizationID: o.org.ID, Kind: parent.Kind, Subject: parent.Subject, AgentID: parent.AgentID,
		PolicyID: parent.PolicyID, Provider: parent.Provider, RepositoryID: parent.RepositoryID, CredentialID: parent.CredentialID,
		DecisionID: o.decision.ID, ParentID: parent.ID, Depth: parent.Depth + 1, ActorID: actorID,
		IssuedAt: now.Truncate(time.Second),
	}
	if o.req.Proof != nil {
		rec.KeyThumbprint = o.req.Proof.Thumbprint
	}
	if rec.ExpiresAt, err = o.expiry(now); err != nil {
		return rec, err
	}
	if rec.Scope, err = o.scope(g.Agent); err != nil {
		return rec, err
	}
	if rec.Audience, err = o.audience(ctx, g); err != nil {
		return rec, err
	}
	if p := g.Policy; p != nil && p.ExpiresAt != nil && p.ExpiresAt.Before(rec.ExpiresAt) {
		rec.ExpiresAt = p.ExpiresAt.Truncate(time.Second)
	}
	return rec, nil
}

// expiry returns when the token ends: never after those that it was got with. Times are
// whole seconds, so less than one second left is none.
func (o *own) expiry(now time.Time) (time.Time, error) {
	name, end := "subject_token", o.subject.ExpiresAt
	if o.actor != nil && o.actor.ExpiresAt.Before(end) {
		name, end = "actor_token", o.actor.ExpiresAt
	}
	if end.Sub(now) < time.Second {
		return end, &agentidp.Error{Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidToken, Reason: agentidp.ReasonTokenExpired,
			Message: name + " has less than a second left; get a new one."}
	}
	if asked := now.Truncate(time.Second).Add(time.Duration(o.asked.seconds) * time.Second); o.asked.seconds > 0 && asked.Before(end) {
		end = asked
	}
	return end, nil
}

// scope returns the scopes of the token: those of the parent that its agent may have
// still, or of these the ones that were asked for.
func (o *own) scope(agent *agentidp.Agent) (string, error) {
	bound, _ := agentidp.ParseScope(o.subject.Scope)
	bound = slices.DeleteFunc(bound, func(s string) bool { return !slices.Contains(agent.Capabilities, s) })
	if len(o.asked.scopes) == 0 {
		return strings.Join(bound, " "), nil
	}
	excess := slices.DeleteFunc(slices.Clone(o.asked.scopes), func(s string) bool { return slices.Contains(bound, s) })
	if len(excess) > 0 {
		return "", invalid(agentidp.CodeInvalidScope, "scope",
			"asks for "+strings.Join(excess, " ")+", which the subject token does not have, or its agent no longer; a token that is exchanged gives what it has, or less")
	}
	return o.req.Scope, nil
}

// audience returns the audience of the token, and leaves in the grant the policy that
// it rests on, if it rests on one.
func (o *own) audience(ctx context.Context, g *store.Grant) (string, error) {
	parent := o.subject
	audience, management := o.req.Audience, o.org.ManagementAudience()
	if audience == "" {
		audience = parent.Audience
	}
	acts := g.Actor != nil
	switch {
	case acts && audience == management:
		return "", o.req.badTarget("cannot be " + management + " where one agent acts for another: nothing is managed in another's name; name the service that the token is for")
	case audience == parent.Audience:
		return audience, nil
	case !o.itself():
		return "", o.req.badTarget(
			"is another than the subject token's, and whoever has the token may be the service that it was sent to; authenticate as the agent, or exchange a token whose audience is this server (" + o.org.Issuer + ") or that is bound to a key")
	}
	listed, err := o.audiences(ctx, g)
	if err != nil {
		return "", err
	}
	if !slices.Contains(listed, audience) {
		g.Policy = nil
		return "", o.req.badTarget("is neither the subject token's nor listed by the agent, or the trust policy, that it came from" + exactly + "; ask for one that is, or have it listed")
	}
	return audience, nil
}

// itself reports whether it is the agent that asks, or one that it lets act for it,
// rather than a service that a token was sent to: it authenticated, or proved the
// token's key, or has a token that is for this server alone.
func (o *own) itself() bool {
	return o.acts != "" || o.subject.KeyThumbprint != "" || o.forUs(o.subject)
}

// audiences returns those that may be asked for where the parent came from: its policy,
// as far as that is in force still, or its agent, for one that a credential got which has
// not ended.
func (o *own) audiences(ctx context.Context, g *store.Grant) (listed []string, err error) {
	switch {
	case o.subject.PolicyID != "":
		policy, err := o.DB.Policy(ctx, o.org.ID, o.subject.PolicyID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, unavailable(err)
		case policy.Mode != agentidp.ModeEnforce || policy.ExpiresAt != nil && policy.ExpiresAt.Sub(o.Clock()) < time.Second:
			return nil, nil
		}
		g.Policy, listed = policy, policy.Audiences
	case o.subject.CredentialID != "":
		c, err := o.DB.Credential(ctx, o.org.ID, o.subject.CredentialID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, unavailable(err)
		case !c.Live(o.Clock()):
			return nil, nil
		}
		g.Source, listed = c, g.Agent.Audiences
	}
	if len(listed) == 0 {
		listed = []string{o.org.Issuer}
	}
	return listed, nil
}
