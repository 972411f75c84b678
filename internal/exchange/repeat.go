package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// repeatWithin is for how long after an exchange its client may repeat it.
const repeatWithin = 60 * time.Second

// useProof uses up the request's proof of possession, if it has one, once for all
// rounds. It is not asked before the subject token is proven.
func (a *attempt) useProof(ctx context.Context) error {
	if a.request.Proof == nil || a.request.used {
		return nil
	}
	err := a.DB.UseProof(ctx, a.org.ID, a.request.Proof)
	switch {
	case errors.Is(err, store.ErrReplayed):
		return a.deny(ctx, nil, agentidp.UsedProof())
	case err != nil:
		return unavailable(err)
	}
	a.request.used = true
	return nil
}

// repeat is what becomes of a subject token that was used before: a replay, which is
// refused, unless it is the retry of a client that has not seen its answer. That one
// gets the token of the first exchange again, the same in jti, exp and all it is worth;
// so it is only made for the key that the first is bound to, and revoking it ends both.
//
// By now all checks have passed again, and the commit that found the subject token used
// compared what they rest on first: what grant would have given is allowed now.
func (a *attempt) repeat(ctx context.Context, out *policy.Outcome, grant *store.Grant) (*agentidp.TokenResponse, error) {
	first, err := a.first(ctx, grant)
	if err != nil {
		return nil, unavailable(err)
	}
	if first == nil {
		used := *out
		used.Checks = append([]agentidp.Check{a.usedBy(ctx, grant.ReplayKey)}, out.Checks...)
		return nil, a.deny(ctx, &used, replayed(a.claims))
	}
	signed, err := a.sign(ctx, first, grant.Agent)
	if err != nil {
		return nil, unavailable(err)
	}
	now := a.Clock()
	event := a.event(agentidp.EventTokenReissued, now, first.ID, first.PolicyID, nil)
	event.DecisionID = first.DecisionID
	if err := a.DB.Append(ctx, event); err != nil {
		return nil, unavailable(err)
	}
	resp := agentidp.NewTokenResponse(signed, first, a.request.limit)
	resp.ExpiresIn = int64(first.ExpiresAt.Sub(now) / time.Second)
	return resp, nil
}

// first returns the record of the token that the same client got for the same subject
// token a moment ago, if it is what grant would give now: to the same agent, by the same
// policy, for the same scope, audience and key, for no longer, and not revoked. Else it
// is nil.
func (a *attempt) first(ctx context.Context, grant *store.Grant) (*agentidp.AccessToken, error) {
	if a.request.Proof == nil {
		return nil, nil //nolint:nilnil // a bearer token has no owner to give it to again
	}
	d, err := a.DB.DecisionThatUsed(ctx, a.org.ID, a.provider, grant.ReplayKey)
	now := a.Clock()
	if err != nil || now.Sub(d.At) > repeatWithin || !sameRun(d, a.decision) {
		return nil, ignoreNotFound(err)
	}
	rec, err := a.DB.Token(ctx, a.org.ID, d.TokenID)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	same := grant.Token
	same.ID, same.DecisionID, same.IssuedAt, same.ExpiresAt = rec.ID, rec.DecisionID, rec.IssuedAt, rec.ExpiresAt
	if same != *rec || grant.Token.ExpiresAt.Before(rec.ExpiresAt) || !now.Before(rec.ExpiresAt) {
		return nil, nil //nolint:nilnil // it is another
	}
	return rec, nil
}

// usedBy is what a replay failed: it names the decision that used the subject token, as
// far as that is still known.
func (a *attempt) usedBy(ctx context.Context, replayKey string) agentidp.Check {
	check := agentidp.Check{Check: "single_use", Claim: "jti", Expected: "not exchanged before", Got: "exchanged before"}
	if d, err := a.DB.DecisionThatUsed(ctx, a.org.ID, a.provider, replayKey); err == nil {
		check.Got = "exchanged by decision " + d.ID
	}
	return check
}

// sameRun reports whether two decisions are about one subject token, as far as they say:
// an issuer may give two tokens one jti.
func sameRun(a, b *agentidp.Decision) bool {
	return a.Repository == b.Repository && a.RepositoryOwnerID == b.RepositoryOwnerID && a.Subject == b.Subject &&
		a.Ref == b.Ref && a.Event == b.Event && a.RunID == b.RunID
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
