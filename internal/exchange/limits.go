package exchange

import (
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

// All limits of this package are held against proven claims: what a token says of
// itself before that could name another's repository, and use up what is its.

// providerFactor is how many repositories' worth of refusals one provider may
// cause.
const providerFactor = 20

// limitKey names what is counted together: a caller, which is a repository by its id
// or a subject. A token that has neither is counted as of the caller "".
//
// A token that is authentic and not good here, because it has expired or is for another
// audience, proves whose it was and nothing of who sends it: every service that it was
// shown to has it, and some stand in logs for ever. Those are counted apart, so that
// nobody uses up with them what their caller has.
type limitKey struct {
	org, provider, caller string
	notGood               bool
}

// limits bound what one repository may cause, so that none takes what others need.
//
// A refusal of an authentic token is recorded, and anyone who may run a workflow
// anywhere on GitHub can cause one: an old token works for ever. So the refusals of
// one repository, and those of one provider together, are recorded at a bounded
// rate; beyond it the answer is 429 and costs no write.
type limits struct {
	exchanges *limit.Buckets[limitKey] // granted or not
	refusals  *limit.Buckets[limitKey]
	providers *limit.Buckets[limitKey] // refusals, without the repository
}

func newLimits(exchangesPerMinute, refusalsPerMinute int) *limits {
	return &limits{
		exchanges: limit.New[limitKey]("exchanges-of-repository", exchangesPerMinute, cacheSize),
		refusals:  limit.New[limitKey]("refusals-of-repository", refusalsPerMinute, cacheSize),
		providers: limit.New[limitKey]("refusals-of-provider", refusalsPerMinute*providerFactor, cacheSize),
	}
}

// exchange counts one exchange. It returns where the repository stands, or the error
// for one that has had too many.
func (l *limits) exchange(now time.Time, key limitKey) (agentidp.RateLimit, error) {
	state, ok := l.exchanges.Take(now, key)
	if !ok {
		return state, limit.Refusal(state, "This repository has made too many exchanges in a minute. Try again as late as Retry-After says, with a fresh ID token; whoever operates the server sets the limit (AGENTIDP_EXCHANGES_PER_MINUTE).")
	}
	return state, nil
}

// refusal counts one refusal that is to be recorded, against its repository and its
// provider. It returns nil, or the error for a caller who has had too many.
func (l *limits) refusal(now time.Time, key limitKey) error {
	state, ok := l.refusals.Take(now, key)
	if ok {
		state, ok = l.providers.Take(now, limitKey{org: key.org, provider: key.provider, notGood: key.notGood})
	}
	if ok {
		return nil
	}
	return limit.Refusal(state, "Exchanges were refused too often. The answers before this one say why; mend that, and try again later with a fresh ID token.")
}

// countFor counts a token that is about to be issued to an agent, once in an exchange.
func (a *attempt) countFor(agent *agentidp.Agent) error {
	if agent == nil || a.request.counted {
		return nil
	}
	a.request.counted = true
	_, err := a.Agents.Take(a.Clock(), a.org.ID, agent.AgentID)
	return err
}
