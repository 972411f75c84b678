package token

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// RevokeOwn revokes the access token that is presented, whatever its audience:
// having it is the proof that it is the caller's. What is no token of
// the organization has nothing to end and is no error (RFC 7009 §2.2); whether it is
// one is told beside the error, and not for the caller. Error: Unavailable.
func (t *Tokens) RevokeOwn(ctx context.Context, org *agentidp.Organization, requestID, presented string) (known bool, err error) {
	rec, err := t.presented(ctx, org, presented)
	if err != nil || rec == nil {
		return false, err
	}
	return true, t.revoke(ctx, rec, cmp.Or(rec.ActorID, rec.Subject), requestID)
}

// Revoke revokes one access token of the organization for a caller who presents it
// or gives its id (jti). Its own is every caller's to revoke, any other needs the
// scope tokens:revoke. An id is refused to whoever lacks the scope before it is
// looked up, so that nobody learns from the answer which ids there are. Errors:
// Denied (insufficient_scope), Unavailable.
func (t *Tokens) Revoke(ctx context.Context, org *agentidp.Organization, c *agentidp.Principal, requestID, tokenOrID string) error {
	others := c.Kind != agentidp.PrincipalBootstrap && c.Has(agentidp.ScopeTokensRevoke)
	if agentidp.IsID(tokenOrID) && !others && tokenOrID != c.TokenID {
		return notItsOwn()
	}
	rec, err := t.named(ctx, org, tokenOrID)
	if err != nil || rec == nil {
		return err
	}
	if !others && rec.ID != c.TokenID {
		return notItsOwn()
	}
	return t.revoke(ctx, rec, c.Subject, requestID)
}

// RevokeFor is Revoke for a client that authenticated by one of its credentials: what
// was issued to it is its own (RFC 7009 §2.1). Errors: Invalid (unauthorized_client),
// Unavailable.
func (t *Tokens) RevokeFor(ctx context.Context, org *agentidp.Organization, client *agentidp.Principal, requestID, tokenOrID string) error {
	others := client.Has(agentidp.ScopeTokensRevoke)
	if agentidp.IsID(tokenOrID) && !others {
		return notIssuedToIt()
	}
	rec, err := t.named(ctx, org, tokenOrID)
	if err != nil || rec == nil {
		return err
	}
	if !others && !isOf(client, rec) {
		return notIssuedToIt()
	}
	return t.revoke(ctx, rec, client.Subject, requestID)
}

// RevokeAll revokes every access token of the organization that the selection
// chooses and that has not expired, and returns how many. It covers each token
// whose record was committed when it was called; what is issued meanwhile it may
// cover. To end all that somebody can get, first end what grants it (delete or
// disable the policy, suspend the agent), and then the tokens. Each thousand is a
// commit with an event of its own, so that exchanges do not wait for the whole.
// Errors: Invalid (an empty selection), Unavailable (some may be revoked; repeat
// it).
func (t *Tokens) RevokeAll(ctx context.Context, org *agentidp.Organization, c *agentidp.Principal, requestID string, chosen *agentidp.TokenSelection) (int64, error) {
	if chosen.Empty() {
		return 0, agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "chooses no tokens: give at least one of agentId, policyId, repositoryId and issuedBefore"})
	}
	var total int64
	for from := (store.TokenCursor{}); ; {
		var n int64
		var next store.TokenCursor
		err := t.db.Write(ctx, func(tx *store.Tx) (err error) {
			now := t.clock()
			if n, next, err = tx.RevokeTokens(ctx, org.ID, chosen, from, now); err != nil || n == 0 {
				return err
			}
			return tx.Append(ctx, selectionEvent(org, c.Subject, requestID, chosen, n, now))
		})
		if err != nil {
			return 0, notRevoked(err)
		}
		total += n
		if next == (store.TokenCursor{}) {
			return total, nil
		}
		from = next
	}
}

// named returns the record of an access token that is presented, or of which the id is
// given; nil where it is none of the organization's.
func (t *Tokens) named(ctx context.Context, org *agentidp.Organization, tokenOrID string) (*agentidp.AccessToken, error) {
	if agentidp.IsID(tokenOrID) {
		return t.recorded(ctx, org, tokenOrID)
	}
	return t.presented(ctx, org, tokenOrID)
}

// presented returns the record of an access token, or nil where it is none of the
// organization's. Expiry is not looked at: to a clock that is behind it is good.
func (t *Tokens) presented(ctx context.Context, org *agentidp.Organization, token string) (*agentidp.AccessToken, error) {
	c, err := t.verify(ctx, org, token)
	if e, ok := errors.AsType[*agentidp.Error](err); ok && e.Kind == agentidp.Unauthenticated {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return t.recorded(ctx, org, c.ID)
}

func (t *Tokens) recorded(ctx context.Context, org *agentidp.Organization, id string) (*agentidp.AccessToken, error) {
	rec, err := t.db.Token(ctx, org.ID, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, notRevoked(err)
	}
	return rec, nil
}

// revoke marks one token, once: who repeats it writes nothing.
func (t *Tokens) revoke(ctx context.Context, rec *agentidp.AccessToken, actor, requestID string) error {
	if !rec.RevokedAt.IsZero() {
		return nil
	}
	err := t.db.Write(ctx, func(tx *store.Tx) error {
		now := t.clock()
		done, err := tx.RevokeToken(ctx, rec.OrganizationID, rec.ID, now)
		if err != nil || !done {
			return err
		}
		return tx.Append(ctx, agentidp.Event{
			ID: agentidp.NewID(now), OrganizationID: rec.OrganizationID, At: now, Type: agentidp.EventTokenRevoked, Actor: actor, RequestID: requestID,
			TokenID: rec.ID, AgentID: rec.AgentID, PolicyID: rec.PolicyID, DecisionID: rec.DecisionID, Data: map[string]string{"subject": rec.Subject},
		})
	})
	if err != nil {
		return notRevoked(err)
	}
	return nil
}

func selectionEvent(org *agentidp.Organization, actor, requestID string, chosen *agentidp.TokenSelection, n int64, now time.Time) agentidp.Event {
	data := map[string]string{"revoked": strconv.FormatInt(n, 10)}
	if chosen.RepositoryID != "" {
		data["repository_id"] = chosen.RepositoryID
	}
	if chosen.IssuedBefore != nil {
		data["issued_before"] = chosen.IssuedBefore.UTC().Format(time.RFC3339Nano)
	}
	return agentidp.Event{
		ID: agentidp.NewID(now), OrganizationID: org.ID, At: now, Type: agentidp.EventTokensRevoked, Actor: actor, RequestID: requestID,
		AgentID: chosen.AgentID, PolicyID: chosen.PolicyID, Data: data,
	}
}

// notItsOwn is the answer to a client that revokes what was not issued to it
// (RFC 7009 §2.1).
func notItsOwn() error {
	e := agentidp.NewError(agentidp.Denied, agentidp.CodeInsufficientScope,
		"The token to revoke is not the one that authenticates this request. Present it without Authorization, or authenticate with a token whose scope has tokens:revoke.")
	e.Scope = agentidp.ScopeTokensRevoke
	return e
}

// notIssuedToIt is the same for a client that authenticated by a credential, in the form
// of RFC 6749 §5.2, which RFC 7009 §2.2.1 wants.
func notIssuedToIt() error {
	return agentidp.NewError(agentidp.Invalid, agentidp.CodeUnauthorizedClient,
		"The token to revoke was not issued to this client. Whoever has it can revoke it: send it without client authentication. An agent with the capability tokens:revoke can revoke any, also by its id.")
}

func notRevoked(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"Storage cannot be reached now, so it is not known what was revoked. Repeat the request: it harms nothing.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
