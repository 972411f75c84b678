package token

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
)

// Authenticate turns an access token into the principal that presents it to an
// organization's management API (RFC 9068 §4): a token that is good now, meant for that
// API, and not used too often in a minute. One that is bound to a key comes with a proof
// by that key, which was not used before; one that is not comes with none. One with
// which somebody acts for another is refused: nothing may be managed in another's name.
// Errors: those of judge, and TooMany.
func (t *Tokens) Authenticate(ctx context.Context, org *agentidp.Organization, presented string, proof *agentidp.Proof) (*agentidp.Principal, error) {
	c, rec, err := t.judge(ctx, org, presented)
	if err != nil {
		return nil, err
	}
	if err := bound(rec, proof); err != nil {
		return nil, err
	}
	if rec.Audience != org.ManagementAudience() {
		return nil, invalid("It is meant for another service: this API accepts only tokens whose aud is " + org.ManagementAudience() + ".")
	}
	if rec.ActorID != "" {
		return nil, invalid("It is a delegated token: the management API takes only an agent's own.")
	}
	used, err := t.use(ctx, rec, proof)
	if err != nil {
		return nil, err
	}
	scopes, _ := agentidp.ParseScope(rec.Scope)
	return &agentidp.Principal{
		Kind: rec.Kind, OrganizationID: org.ID, Subject: rec.Subject, TokenID: rec.ID, Scopes: scopes,
		AgentID: rec.AgentID, PolicyID: rec.PolicyID, CredentialID: rec.CredentialID, Workload: c.Workload, RateLimit: used,
	}, nil
}

// use counts a use of a token that is good, and uses up the proof that it came with. It
// is counted by its record, so that nobody can use up another's.
func (t *Tokens) use(ctx context.Context, rec *agentidp.AccessToken, proof *agentidp.Proof) (agentidp.RateLimit, error) {
	state, ok := t.uses.Take(t.clock(), rec.ID)
	if !ok {
		return state, limit.Refusal(state, "This access token was used too often in a minute. Wait as long as Retry-After says; whoever operates the server sets the limit (AGENTIDP_TOKEN_REQUESTS_PER_MINUTE).")
	}
	if proof == nil {
		return state, nil
	}
	return state, t.useProof(ctx, rec, proof)
}

// judge says whether an access token is good now, whatever its audience: signed by
// the organization, recorded, in time and not revoked, and what it stands for (the
// organization, the agent, who acts for it, the tokens that it came from, the bootstrap
// policy) still there. Every check but the issuer is made against the database as it is
// now, also where the organization was read a while ago, and what the token is worth
// stands in the record that is returned, not in its claims. Errors: Unauthenticated
// (invalid_token, with the reason), NotFound (the organization), Unavailable.
func (t *Tokens) judge(ctx context.Context, org *agentidp.Organization, presented string) (*claims, *agentidp.AccessToken, error) {
	c, org, err := t.prove(ctx, org, presented)
	if err != nil {
		return nil, nil, err
	}
	if c.Issuer != org.Issuer {
		return nil, nil, invalid("It was issued by another organization or under another public URL.")
	}
	rec, err := t.db.Standing(ctx, org.ID, c.ID)
	now := t.clock()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, invalid("There is no record of it.")
	case err != nil:
		return nil, nil, unavailable(err)
	case rec.OrganizationRevision == 0:
		return nil, nil, agentidp.NoOrganization()
	case !now.Before(rec.ExpiresAt):
		return nil, nil, invalid("It expired at " + rec.ExpiresAt.UTC().Format(time.RFC3339) + "; get a new one.")
	case !rec.RevokedAt.IsZero():
		return nil, nil, invalid("It was revoked.")
	case rec.IssuedAt.After(now.Add(agentidp.ClockSkew)): // by a clock that was set back since: who knows how long it would live
		return nil, nil, invalid("It is valid from " + rec.IssuedAt.UTC().Format(time.RFC3339) + ", and this server's clock says " + now.UTC().Format(time.RFC3339) + "; get a new one.")
	}
	if rec.OrganizationRevision != org.Revision { // the key may have been given up since
		if _, err := t.verify(ctx, at(org, rec.OrganizationRevision), presented); err != nil {
			return nil, nil, err
		}
	}
	if err := t.stillStands(ctx, rec, now); err != nil {
		return nil, nil, err
	}
	return c, &rec.AccessToken, nil
}

// prove is verify, by a key that may be newer than the organization that was read. It
// returns the organization whose keys they are.
func (t *Tokens) prove(ctx context.Context, org *agentidp.Organization, presented string) (*claims, *agentidp.Organization, error) {
	c, err := t.verify(ctx, org, presented)
	if !errors.Is(err, errUnproven) {
		return c, org, err
	}
	revision, missing := t.db.OrganizationRevision(ctx, org.ID)
	switch {
	case errors.Is(missing, store.ErrNotFound):
		return nil, nil, agentidp.NoOrganization()
	case missing != nil:
		return nil, nil, unavailable(missing)
	case revision == org.Revision:
		return nil, nil, err
	}
	org = at(org, revision)
	c, err = t.verify(ctx, org, presented)
	return c, org, err
}

// at returns an organization with another revision, which is all of it that keys
// depend on.
func at(org *agentidp.Organization, revision int64) *agentidp.Organization {
	now := *org
	now.Revision = revision
	return &now
}

// verified is a token whose signature was found good.
type verified struct {
	claims *claims
	key    *jose.Key
}

// maxVerified bounds the tokens that are remembered as verified, each some 500 bytes.
const maxVerified = 4096

// verify proves that an organization signed a token. Nothing of the token is
// used before that. What was proven of the very same bytes is proven for as long as
// their key is one of the organization's.
func (t *Tokens) verify(ctx context.Context, org *agentidp.Organization, bearer string) (*claims, error) {
	sum := sha256.Sum256([]byte(bearer))
	if v, ok := t.verified.Get(sum); ok {
		key, err := t.ring.Public(ctx, org, v.key.ID)
		if err != nil {
			return nil, unavailable(err)
		}
		if key == v.key {
			return v.claims, nil
		}
	}
	parsed, err := jose.Parse(bearer)
	if err != nil || parsed.Header.Typ != typ {
		return nil, unproven("It is not an access token of this server (a CI token must be exchanged first).")
	}
	key, err := t.ring.Public(ctx, org, parsed.Header.Kid)
	if err != nil {
		return nil, unavailable(err)
	}
	if key == nil || parsed.Verify(key) != nil {
		return nil, unproven("No key of this organization signed it: it is another organization's (each has a URL of its own), or its key was given up. Get a new one.")
	}
	c := &claims{}
	if err := json.Unmarshal(parsed.Payload, c); err != nil { // our own bytes: lenient names do no harm
		return nil, fmt.Errorf("decode our own access token: %w", err)
	}
	t.verified.Put(sum, verified{c, key})
	return c, nil
}

// stillStands checks that what a token stands for may still act.
func (t *Tokens) stillStands(ctx context.Context, rec *store.Standing, now time.Time) error {
	switch rec.Kind {
	case agentidp.PrincipalAgent:
		if rec.AgentStatus != agentidp.AgentActive {
			return invalid("Its agent is not active.")
		}
		return t.lineStands(ctx, &rec.AccessToken)
	case agentidp.PrincipalBootstrap:
		policy, err := t.db.Policy(ctx, rec.OrganizationID, rec.PolicyID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return unavailable(err)
		}
		if err != nil || policy.Mode != agentidp.ModeEnforce || (policy.ExpiresAt != nil && !now.Before(*policy.ExpiresAt)) {
			return invalid("The trust policy that granted it is no longer in force.")
		}
	}
	return nil
}

func (t *Tokens) active(ctx context.Context, orgID, agentID, otherwise string) error {
	agent, err := t.db.Agent(ctx, orgID, agentID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return unavailable(err)
	}
	if err != nil || agent.Status != agentidp.AgentActive {
		return invalid(otherwise)
	}
	return nil
}

func invalid(why string) *agentidp.Error {
	return agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken, "The access token is not valid here. "+why)
}

// errUnproven is the cause of what anybody can make without ever having had a token.
var errUnproven = errors.New("no key of the organization signed it")

func unproven(why string) error { return invalid(why).WithCause(errUnproven) }

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "The access token cannot be checked now. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
