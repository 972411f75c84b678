package exchange

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
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
	d.Code, d.Reason, d.Checks = e.Code, e.Reason, a.checksOfToken(e)
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
	if err := a.DB.Record(ctx, d, event); err != nil {
		return unavailable(err)
	}
	denied := *e
	denied.DecisionID = d.ID
	return &denied
}

// checksOfToken are the comparisons by which a subject token itself was refused: of its
// audience and claims, which whoever asks for the token has to mend, and of its times, which
// show whose clock is wrong.
func (a *attempt) checksOfToken(refused *agentidp.Error) []agentidp.Check {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	now, c := a.Clock(), a.claims
	var check agentidp.Check
	switch refused.Reason {
	case agentidp.ReasonAudienceMismatch:
		accepted := strings.Join(append([]string{a.org.Issuer}, a.provider.Audiences...), " or ")
		check = agentidp.Check{Check: "aud", Claim: "aud", Expected: accepted, Got: refused.Claims["aud"]}
	case agentidp.ReasonClaimInvalid:
		checks := make([]agentidp.Check, 0, len(refused.Details)) // of the claims that its kind names, and no others
		for _, bad := range refused.Details {
			checks = append(checks, agentidp.Check{Check: "claim", Claim: bad.Field, Expected: "a claim that is there and in order", Got: bad.Reason})
		}
		return checks
	case agentidp.ReasonTokenExpired:
		check = agentidp.Check{Check: "exp", Claim: "exp", Expected: "later than " + at(now.Add(-verify.Skew)), Got: at(c.ExpiresAt)}
	case agentidp.ReasonTokenNotYetValid:
		check = agentidp.Check{Check: "iat", Claim: "iat", Expected: "not later than " + at(now.Add(verify.Skew)), Got: at(c.IssuedAt)}
		if nbf, err := strconv.ParseInt(refused.Claims["nbf"], 10, 64); err == nil && time.Unix(nbf, 0).After(c.IssuedAt) {
			check.Check, check.Claim, check.Got = "nbf", "nbf", at(time.Unix(nbf, 0))
		}
	case agentidp.ReasonTokenTooOld:
		check = agentidp.Check{Check: "iat", Claim: "iat", Expected: "later than the restore, " + at(a.org.RestoredAt.Add(verify.Skew)), Got: at(c.IssuedAt)}
		if longest := cmp.Or(a.provider.MaxTokenAge, c.Kind.MaxTokenAge); c.ExpiresAt.Sub(c.IssuedAt) > longest {
			check.Check, check.Claim = "lifetime", "exp"
			check.Expected, check.Got = "at most "+seconds(longest)+" after iat", seconds(c.ExpiresAt.Sub(c.IssuedAt))+" after iat"
		}
	default:
		return nil
	}
	return []agentidp.Check{check}
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + " seconds" }

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
