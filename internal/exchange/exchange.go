// Package exchange is the story of an exchange: a CI's subject token comes in,
// and an access token goes out, or a refusal that says why. It owns the order of
// the steps, the record of every decision, and the promise that no token leaves
// without its durable record. Explain tells how an exchange would be decided, by the
// same steps and without a trace.
//
// It does not own what makes a subject token authentic (internal/verify), what a
// trust policy means (internal/policy), the token's format (internal/token) or
// the commit (internal/store). It knows nothing of HTTP.
package exchange

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/failpoint"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
	"github.com/sentryagent/agentidp/internal/verify"
)

// BootstrapTTL is the life of a bootstrap token where its policy says nothing.
const BootstrapTTL = 10 * time.Minute

// maxRounds bounds how often an exchange starts again because something that it
// rested on changed under it.
const maxRounds = 3

// Config is what an Exchanger works with.
type Config struct {
	DB       *store.DB
	Verifier *verify.Verifier
	Tokens   *token.Tokens
	// Organization reads an organization as it is now; NotFound where it is closed.
	Organization func(ctx context.Context, slug string) (*agentidp.Organization, error)
	// Providers are those of the configuration; every organization has them.
	Providers []*agentidp.Provider
	TokenTTL  time.Duration // life of an agent's token where its policy says nothing
	// RefusalsPerMinute bounds the recorded refusals of one repository.
	RefusalsPerMinute int
	// ExchangesPerMinute bounds all exchanges of one repository; 0: no limit.
	ExchangesPerMinute int
	Agents             *token.AgentLimit // of the tokens of an agent, whatever the grant
	// KeepClaims says that claims are kept with the decisions of policies: those that the
	// provider's kind lists, and those of RecordClaims, by the provider's name.
	KeepClaims   bool
	RecordClaims map[string][]string
	Clock        func() time.Time
	Logger       *slog.Logger
	// Observe, when set, is told how each exchange ended, before its caller is.
	Observe func(Result)
}

// Exchanger exchanges subject tokens for access tokens. It is safe for
// concurrent use.
type Exchanger struct {
	Config
	cache    *cache
	limits   *limits
	refusals *Tally
}

// New returns an Exchanger.
func New(cfg Config) *Exchanger {
	return &Exchanger{
		Config: cfg, cache: newCache(cfg.Clock), limits: newLimits(cfg.ExchangesPerMinute, cfg.RefusalsPerMinute), refusals: newTally(cfg.Logger, cfg.Clock),
	}
}

// Refusals gives the subject tokens that were refused without a record.
func (x *Exchanger) Refusals() *Tally { return x.refusals }

// Exchange runs one exchange for an organization, which may be a little older than
// the request: whatever is granted or recorded was compared with what it is now. The
// response may be sent as soon as it is returned: everything about it is durable by
// then. An error that is no *agentidp.Error is the context's: the caller left.
func (x *Exchanger) Exchange(ctx context.Context, org *agentidp.Organization, req *Request) (*agentidp.TokenResponse, error) {
	began := time.Now()
	resp, err := x.exchange(ctx, org, req)
	if x.Observe != nil {
		x.Observe(newResult(ctx, req, err, time.Since(began)))
	}
	return resp, err
}

func (x *Exchanger) exchange(ctx context.Context, org *agentidp.Organization, req *Request) (*agentidp.TokenResponse, error) {
	// 1. What the request says itself, and the format of the subject token, before
	// anything is spent on it.
	scopes, err := req.check()
	if err != nil {
		return nil, err
	}
	unverified, err := verify.Peek(req.Token)
	if err != nil {
		return nil, x.refusals.note(org.ID, req.RequestID, "", err)
	}
	for round := range maxRounds {
		resp, err := x.round(ctx, org, req, scopes, unverified, round > 0)
		if !errors.Is(err, store.ErrStale) {
			return resp, err
		}
		// Something changed between the look and the commit: again, with what the
		// database holds now.
		if org, err = x.Organization(ctx, org.Slug); err != nil {
			return nil, err
		}
	}
	return nil, unavailable(errors.New("what the exchange rests on changed faster than it could follow"))
}

// round is one pass over steps 2 to 8. store.ErrStale asks for another; afresh
// forbids it what is remembered.
func (x *Exchanger) round(ctx context.Context, org *agentidp.Organization, req *Request, scopes []string, unverified *verify.Unverified, afresh bool) (*agentidp.TokenResponse, error) {
	// 2., 3. Who issued the subject token, and that it is authentic.
	a, err := x.prove(ctx, org, req, unverified, afresh)
	if err != nil {
		return nil, err
	}
	a.scopes = scopes
	if err := a.useProof(ctx); err != nil {
		return nil, err
	}

	// 4. Candidates: policies pinned to this repository, or unpinned and of its name;
	// for callers without one, those without one.
	// 5. The decision.
	outcome, agent, err := a.decide(ctx, afresh)
	if err != nil {
		return nil, unavailable(err)
	}
	if !outcome.Granted {
		return nil, a.refuse(ctx, afresh, outcome, outcome.Err)
	}

	// Only what is decided counts for the agent: nobody else uses up what is its.
	if err := a.countFor(agent); err != nil {
		return nil, a.limited(err)
	}

	// 6. Sign. The token stays here until its record is durable.
	grant := a.grant(outcome, agent)
	if err := failpoint.Hit(failpoint.BeforeSigning); err != nil {
		return nil, unavailable(err)
	}
	signed, err := a.sign(ctx, &grant.Token, agent)
	if err != nil {
		return nil, unavailable(err)
	}

	// 7. One commit: everything still as seen, single use, records.
	err = a.DB.Issue(ctx, grant)
	switch {
	case errors.Is(err, store.ErrReplayed):
		return a.repeat(ctx, outcome, grant)
	case errors.Is(err, store.ErrStale):
		return nil, store.ErrStale
	case err != nil:
		return nil, unavailable(err)
	}
	if err := failpoint.Hit(failpoint.BeforeAnswer); err != nil {
		return nil, unavailable(err)
	}
	return agentidp.NewTokenResponse(signed, &grant.Token, req.limit), nil // 8. only after the commit
}

// prove is steps 2 and 3. An error is what the caller is answered, or store.ErrStale.
func (x *Exchanger) prove(ctx context.Context, org *agentidp.Organization, req *Request, unverified *verify.Unverified, afresh bool) (*attempt, error) {
	// 2. The issuer, unproven, may choose among this organization's providers and
	// nothing else: no network, no policy.
	provider, read, err := x.provider(ctx, org, unverified.Issuer, afresh)
	if err != nil {
		return nil, x.refusals.note(org.ID, req.RequestID, "", err)
	}
	req.provider = provider.Name

	// 3. Signature, audience, times. From proven claims on, a repository's exchanges
	// are limited, and a refusal is recorded.
	claims, err := x.Verifier.Verify(ctx, org, provider, unverified)
	if claims == nil {
		if stale := x.compare(ctx, provider, read); stale != nil {
			return nil, stale
		}
		return nil, x.refusals.note(org.ID, req.RequestID, provider.Name, err)
	}
	a := &attempt{Exchanger: x, org: org, provider: provider, read: read, claims: claims, request: req, notGood: err != nil}
	a.decision = a.newDecision()
	if !afresh { // counted once, before it costs storage anything
		var limited error
		if req.limit, limited = a.limits.exchange(a.Clock(), a.limitKey()); limited != nil {
			return nil, a.limited(limited)
		}
	}
	if err == nil {
		err = a.notSinceRestore()
	}
	if err != nil {
		return nil, a.refuse(ctx, afresh, nil, err)
	}
	return a, nil
}
