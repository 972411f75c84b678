// Package exchange is the story of an exchange: a CI's subject token comes in,
// and an access token goes out, or a refusal that says why. It owns the order of
// the steps, the record of every decision, and the promise that no token leaves
// without its durable record.
//
// It does not own what makes a subject token authentic (internal/verify), what a
// trust policy means (internal/policy), the token's format (internal/token) or
// the commit (internal/store). It knows nothing of HTTP.
package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
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
	Clock              func() time.Time
	Logger             *slog.Logger
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
		Config: cfg, cache: newCache(), limits: newLimits(cfg.ExchangesPerMinute, cfg.RefusalsPerMinute), refusals: newTally(cfg.Logger, cfg.Clock),
	}
}

// Refusals gives the subject tokens that were refused without a record.
func (x *Exchanger) Refusals() *Tally { return x.refusals }

// Exchange runs one exchange for an organization, which may be a little older than
// the request: whatever is granted or recorded was compared with what it is now. The
// response may be sent as soon as it is returned: everything about it is durable by
// then. An error that is no *agentidp.Error is the context's: the caller left.
func (x *Exchanger) Exchange(ctx context.Context, org *agentidp.Organization, req *Request) (*Response, error) {
	began := time.Now()
	resp, err := x.exchange(ctx, org, req)
	if x.Observe != nil {
		x.Observe(newResult(ctx, req, err, time.Since(began)))
	}
	return resp, err
}

func (x *Exchanger) exchange(ctx context.Context, org *agentidp.Organization, req *Request) (*Response, error) {
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
func (x *Exchanger) round(ctx context.Context, org *agentidp.Organization, req *Request, scopes []string, unverified *verify.Unverified, afresh bool) (*Response, error) {
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
	a := &attempt{Exchanger: x, org: org, provider: provider, read: read, claims: claims, request: req, scopes: scopes, notGood: err != nil}
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

	// 6. Sign. The token stays here until its record is durable.
	grant := a.grant(outcome, agent)
	signed, err := a.sign(ctx, grant)
	if err != nil {
		return nil, unavailable(err)
	}

	// 7. One commit: everything still as seen, single use, records.
	err = a.DB.Issue(ctx, grant)
	switch {
	case errors.Is(err, store.ErrReplayed):
		return nil, a.deny(ctx, outcome, replayed(claims))
	case errors.Is(err, store.ErrStale):
		return nil, store.ErrStale
	case err != nil:
		return nil, unavailable(err)
	}
	return newResponse(signed, grant, req.limit), nil // 8. only after the commit
}

// attempt is one exchange whose subject token is authentic.
type attempt struct {
	*Exchanger
	org      *agentidp.Organization
	provider *agentidp.Provider
	read     bool // the provider is as it is now, not as it was remembered
	claims   *agentidp.Claims
	request  *Request
	scopes   []string
	notGood  bool // the token is, but not good here; see limitKey
	decision *agentidp.Decision
}

// decide matches the candidates. Cached rows may grant, because the commit checks
// what the grant rests on; they never deny.
func (a *attempt) decide(ctx context.Context, afresh bool) (*policy.Outcome, *agentidp.Agent, error) {
	for {
		input, candidates, read, err := a.candidates(ctx, afresh)
		if err != nil {
			return nil, nil, err
		}
		outcome := policy.Match(candidates, input)
		if outcome.Granted || read {
			return &outcome, input.Agent, nil
		}
		afresh = true
	}
}

// provider finds the provider that an organization trusts for an issuer, and says
// whether it is as it is now. The configuration's providers come first, never change
// and cannot be shadowed.
func (x *Exchanger) provider(ctx context.Context, org *agentidp.Organization, issuer string, afresh bool) (*agentidp.Provider, bool, error) {
	for _, p := range x.Providers {
		if p.Issuer == issuer {
			return p, true, nil
		}
	}
	p, read, err := x.cache.provider(ctx, x.DB, org.ID, issuer, afresh)
	switch {
	case err != nil:
		return nil, false, unavailable(err)
	case p == nil:
		return nil, false, verify.UnknownIssuer(issuer)
	}
	return p, read, nil
}

// compare returns store.ErrStale where a remembered provider was changed or deleted
// since, so that what it gives reason to refuse is decided again. A grant needs no such
// look: its commit has one.
func (x *Exchanger) compare(ctx context.Context, seen *agentidp.Provider, read bool) error {
	if read {
		return nil
	}
	p, _, err := x.cache.provider(ctx, x.DB, seen.OrganizationID, seen.Issuer, true)
	switch {
	case err != nil:
		return unavailable(err)
	case p == nil || p.ID != seen.ID || p.Revision != seen.Revision:
		return store.ErrStale
	}
	return nil
}

func (a *attempt) limitKey() limitKey {
	return limitKey{org: a.org.ID, provider: a.provider.Name, caller: cmp.Or(a.claims.RepositoryID, a.claims.Subject), notGood: a.notGood}
}

func (a *attempt) key() cacheKey {
	return cacheKey{org: a.org.ID, provider: a.provider.Name,
		repository: agentidp.FoldRepository(a.claims.Repository), repositoryID: a.claims.RepositoryID}
}

// candidates gathers what the decision reads, and says whether all of it was
// just read from the database. The agent is looked up only when some candidate
// names it, so that an unknown agent and an unknown repository cost the same.
func (a *attempt) candidates(ctx context.Context, mustRead bool) (*policy.Input, []*policy.Compiled, bool, error) {
	candidates, fresh, err := a.cache.policies(ctx, a.DB, a.key(), mustRead)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read candidate policies: %w", err)
	}
	input := &policy.Input{
		Claims: a.claims, AgentID: a.request.AgentID, Scopes: a.scopes, Audience: a.request.Audience,
		Organization: a.org, Now: a.Clock(), AgentTTL: a.TokenTTL, BootstrapTTL: BootstrapTTL,
	}
	named := func(c *policy.Compiled) bool { return c.Policy.AgentID == a.request.AgentID }
	if a.request.AgentID != "" && slices.ContainsFunc(candidates, named) {
		agent, read, err := a.cache.agent(ctx, a.DB, a.org.ID, a.request.AgentID, mustRead)
		if err != nil {
			return nil, nil, false, fmt.Errorf("read agent: %w", err)
		}
		input.Agent, fresh = agent, fresh && read
	}
	return input, candidates, fresh, nil
}

// grant describes what the issuing commit checks and writes.
func (a *attempt) grant(out *policy.Outcome, agent *agentidp.Agent) *store.Grant {
	now := a.Clock()
	issued := now.Truncate(time.Second)
	rec := agentidp.AccessToken{
		ID: agentidp.NewID(now), OrganizationID: a.org.ID, Kind: agentidp.PrincipalBootstrap,
		Subject: "policy:" + out.Policy.ID, PolicyID: out.Policy.ID, DecisionID: a.decision.ID,
		Provider: a.provider.Name, RepositoryID: a.claims.RepositoryID,
		Scope: strings.Join(out.Scopes, " "), Audience: out.Audience,
		IssuedAt: issued, ExpiresAt: issued.Add(out.TTL),
	}
	if agent != nil {
		rec.Kind, rec.Subject, rec.AgentID = agentidp.PrincipalAgent, agent.AgentID, agent.AgentID
	}
	decision := *a.decision
	decision.Outcome, decision.PolicyID, decision.TokenID, decision.Checks = agentidp.OutcomeAllowed, out.Policy.ID, rec.ID, out.Checks

	event := a.event(agentidp.EventTokenIssued, a.decision.At, rec.ID, out.Policy.ID, nil)
	event.ID = decision.ID
	g := &store.Grant{
		Organization: a.org, Provider: a.provider, Policy: out.Policy, Agent: agent,
		Pin:   agentidp.Pin{RepositoryID: a.claims.RepositoryID, RepositoryOwnerID: a.claims.RepositoryOwnerID, PinnedAt: now},
		Token: rec, Decision: decision,
		Events: []agentidp.Event{event},
	}
	if a.provider.Replay != agentidp.ReplayAllow {
		g.ReplayKey = a.claims.ReplayKey
		// Kept until the verifier would refuse the token for its age alone, with a
		// second to spare for rounding.
		g.ReplayUntil = a.claims.ExpiresAt.Add(verify.Skew + time.Second)
	}
	if out.Policy.Pinned == nil && out.Policy.Repository != "" {
		e := a.event(agentidp.EventRepositoryPinned, now, "", out.Policy.ID, map[string]string{
			agentidp.DataRepository: out.Policy.Repository, "repository_id": a.claims.RepositoryID, "repository_owner_id": a.claims.RepositoryOwnerID,
		})
		g.PinEvent = &e
	}
	if agentidp.FoldRepository(out.Policy.Repository) != agentidp.FoldRepository(a.claims.Repository) { // known by its pin
		g.Events = append(g.Events, a.event(agentidp.EventRepositoryRenamed, now, "", out.Policy.ID, map[string]string{
			agentidp.DataRepository: out.Policy.Repository, "renamed_to": a.claims.Repository,
		}))
	}
	return g
}

func (a *attempt) sign(ctx context.Context, g *store.Grant) (string, error) {
	name := ""
	if g.Agent != nil {
		name = g.Agent.Name
	}
	return a.Tokens.Mint(ctx, a.org, &g.Token, name, a.claims.Workload())
}
