package exchange

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// cache remembers registered providers, compiled policies and agents, for speed
// alone: the issuing commit compares the versions of what it relied on, and a denial
// never rests on it. It is filled on demand and bounded.
type cache struct {
	providers  *limit.Cache[[2]string, *agentidp.Provider]
	candidates *limit.Cache[cacheKey, remembered]
	agents     *limit.Cache[[2]string, *agentidp.Agent]
	clock      func() time.Time

	looks    atomic.Int64 // for what changed: how many have begun to be told of
	followed atomic.Int64 // when the latest of them began whose changes are all forgotten; Unix nanoseconds
}

// remembered are candidates, and when they were as the database had them.
type remembered struct {
	policies []*policy.Compiled
	at       time.Time
	told     bool // whoever changes them is told of: nothing was while they were read
}

// cacheKey names the candidates of a repository: by name and by id, because a
// pin follows the id. All callers of a provider that have no repository share one,
// whose name and id are empty.
type cacheKey struct{ org, provider, repository, repositoryID string }

const cacheSize = 10_000

// What the candidates take that are remembered, in bytes, about: a repository may have ten
// thousand policies, and is another for each id that an issuer gives to its name.
const (
	candidatesSize  = 256 << 20
	compiledSize    = 2 << 10 // of a policy with nothing but what all have
	perByteOfExpr   = 25      // of its condition: 50 kB for the longest
	perByteOfClaims = 2
)

func sizeOf(r remembered) int {
	size := 0
	for _, c := range r.policies {
		size += compiledSize + perByteOfExpr*len(c.Policy.Condition)
		for _, values := range c.Policy.Claims {
			for _, value := range values {
				size += perByteOfClaims * len(value)
			}
		}
	}
	return size
}

// askAgain is how long candidates are taken as they were when they were read, or when it was
// last looked for what had changed, which was not they. A grant that rests on them
// is checked by its commit, whatever their age; but the commit does not look at those that grant
// nothing, and a policy in shadow mode is to be told of from its creation on, and no longer than
// it is there, also where every exchange is granted.
const askAgain = time.Second

// askAnyway is how long candidates are taken although nobody told of a change: that a
// repository is pinned is not told of, and clocks of nodes may differ too much (store.Changes).
const askAnyway = time.Minute

func newCache(clock func() time.Time) *cache {
	return &cache{
		clock:      clock,
		providers:  limit.NewCache[[2]string, *agentidp.Provider](cacheSize),
		candidates: limit.NewWeighted[cacheKey](cacheSize, candidatesSize, sizeOf),
		agents:     limit.NewCache[[2]string, *agentidp.Agent](cacheSize),
	}
}

// provider returns the registered provider of an issuer, nil where there is none, and
// whether that was just read from the database. An issuer that nobody registered takes
// no room here and is looked for anew, one row of an index, so that a provider counts
// from the moment at which it was created.
func (c *cache) provider(ctx context.Context, db *store.DB, orgID, issuer string, fresh bool) (*agentidp.Provider, bool, error) {
	key := [2]string{orgID, issuer}
	if !fresh {
		if p, ok := c.providers.Get(key); ok {
			return p, false, nil
		}
	}
	p, err := db.ProviderByIssuer(ctx, orgID, issuer)
	if errors.Is(err, store.ErrNotFound) {
		c.providers.Drop(key)
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.providers.Put(key, p)
	return p, true, nil
}

// policies returns the candidates of a repository, by id, and whether they are as the
// database has them now; kind is that of their provider. What is remembered and has not
// changed is neither read nor compiled again: each refusal asks whether it has.
func (c *cache) policies(ctx context.Context, db *store.DB, key cacheKey, kind *agentidp.ProviderKind, fresh bool) ([]*policy.Compiled, bool, error) {
	entry, ok := c.candidates.Get(key)
	known, now, looks := entry.policies, c.clock(), c.looks.Load()
	switch {
	case !ok:
	case !fresh && c.asNow(entry, now):
		return known, false, nil
	default:
		versions, err := db.CandidateVersions(ctx, key.org, key.provider, key.repository, key.repositoryID)
		if err != nil {
			return nil, false, err
		}
		if slices.EqualFunc(known, versions, isVersion) {
			c.remember(key, known, now, looks)
			return known, true, nil
		}
	}
	rows, err := db.Candidates(ctx, key.org, key.provider, key.repository, key.repositoryID)
	if err != nil {
		return nil, false, err
	}
	compiled := make([]*policy.Compiled, len(rows))
	for i := range rows {
		compiled[i] = recompiled(known, &rows[i], kind)
	}
	if len(compiled) > 0 { // a repository without policies is anybody's: it takes no room here
		c.remember(key, compiled, now, looks)
	} else {
		c.candidates.Drop(key)
	}
	return compiled, true, nil
}

// asNow reports whether candidates are taken as they are remembered.
func (c *cache) asNow(r remembered, now time.Time) bool {
	age := now.Sub(r.at)
	if age < 0 || age >= askAnyway {
		return false
	}
	looked := now.Sub(time.Unix(0, c.followed.Load()))
	return age < askAgain || r.told && 0 <= looked && looked < askAgain
}

// remember keeps candidates that were read at an instant, when so many looks had begun to be
// told of. What was told of meanwhile may be they, as they were read or as they are since.
func (c *cache) remember(key cacheKey, policies []*policy.Compiled, at time.Time, looks int64) {
	c.candidates.Put(key, remembered{policies, at, looks > 0})
	if looks > 0 && c.looks.Load() != looks { // asked after it is there to be forgotten
		c.candidates.Put(key, remembered{policies, at, false})
	}
}

// recompiled returns the one of the known candidates that a policy still is, or else
// compiles it: an expression costs more than all else of a policy.
func recompiled(known []*policy.Compiled, p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) *policy.Compiled {
	i, ok := slices.BinarySearchFunc(known, p.ID, func(c *policy.Compiled, id string) int { return cmp.Compare(c.Policy.ID, id) })
	if ok && isVersion(known[i], store.VersionOf(p)) {
		return known[i]
	}
	return policy.Compile(p, kind)
}

func isVersion(c *policy.Compiled, v store.PolicyVersion) bool { return store.VersionOf(c.Policy) == v }

// agent returns an agent, nil where there is none, and whether that was just
// read from the database.
func (c *cache) agent(ctx context.Context, db *store.DB, orgID, agentID string, fresh bool) (*agentidp.Agent, bool, error) {
	key := [2]string{orgID, agentID}
	if !fresh {
		if agent, ok := c.agents.Get(key); ok {
			return agent, false, nil
		}
	}
	agent, err := db.Agent(ctx, orgID, agentID)
	if errors.Is(err, store.ErrNotFound) {
		c.agents.Drop(key)
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.agents.Put(key, agent)
	return agent, true, nil
}
