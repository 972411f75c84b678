package exchange

import (
	"context"
	"errors"
	"sync"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// cache remembers registered providers, compiled policies and agents, for speed
// alone: the issuing commit compares the versions of what it relied on, and a denial
// never rests on it. It is filled on demand and bounded.
type cache struct {
	providers  bounded[[2]string, *agentidp.Provider]
	candidates bounded[cacheKey, []*policy.Compiled]
	agents     bounded[[2]string, *agentidp.Agent]
}

// cacheKey names the candidates of a repository: by name and by id, because a
// pin follows the id. All callers of a provider that have no repository share one,
// whose name and id are empty.
type cacheKey struct{ org, provider, repository, repositoryID string }

const cacheSize = 10_000

func newCache() *cache {
	c := &cache{}
	c.providers.entries = map[[2]string]*agentidp.Provider{}
	c.candidates.entries = map[cacheKey][]*policy.Compiled{}
	c.agents.entries = map[[2]string]*agentidp.Agent{}
	return c
}

// provider returns the registered provider of an issuer, nil where there is none, and
// whether that was just read from the database. An issuer that nobody registered takes
// no room here and is looked for anew, one row of an index, so that a provider counts
// from the moment at which it was created.
func (c *cache) provider(ctx context.Context, db *store.DB, orgID, issuer string, fresh bool) (*agentidp.Provider, bool, error) {
	key := [2]string{orgID, issuer}
	if !fresh {
		if p, ok := c.providers.get(key); ok {
			return p, false, nil
		}
	}
	p, err := db.ProviderByIssuer(ctx, orgID, issuer)
	if errors.Is(err, store.ErrNotFound) {
		c.providers.drop(key)
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.providers.put(key, p)
	return p, true, nil
}

// policies returns the candidates of a repository and whether they were just
// read from the database.
func (c *cache) policies(ctx context.Context, db *store.DB, key cacheKey, fresh bool) ([]*policy.Compiled, bool, error) {
	if !fresh {
		if compiled, ok := c.candidates.get(key); ok {
			return compiled, false, nil
		}
	}
	rows, err := db.Candidates(ctx, key.org, key.provider, key.repository, key.repositoryID)
	if err != nil {
		return nil, false, err
	}
	compiled := make([]*policy.Compiled, len(rows))
	for i := range rows {
		compiled[i] = policy.Compile(&rows[i])
	}
	if len(compiled) > 0 { // a repository without policies is anybody's: it takes no room here
		c.candidates.put(key, compiled)
	} else {
		c.candidates.drop(key)
	}
	return compiled, true, nil
}

// agent returns an agent, nil where there is none, and whether that was just
// read from the database.
func (c *cache) agent(ctx context.Context, db *store.DB, orgID, agentID string, fresh bool) (*agentidp.Agent, bool, error) {
	key := [2]string{orgID, agentID}
	if !fresh {
		if agent, ok := c.agents.get(key); ok {
			return agent, false, nil
		}
	}
	agent, err := db.Agent(ctx, orgID, agentID)
	if errors.Is(err, store.ErrNotFound) {
		c.agents.drop(key)
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.agents.put(key, agent)
	return agent, true, nil
}

// bounded is a map of at most cacheSize entries; when full, an arbitrary one
// makes room, which Go's map order picks well enough.
type bounded[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]V
}

func (b *bounded[K, V]) get(key K) (V, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	v, ok := b.entries[key]
	return v, ok
}

func (b *bounded[K, V]) put(key K, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.entries) >= cacheSize {
		for old := range b.entries {
			delete(b.entries, old)
			break
		}
	}
	b.entries[key] = v
}

func (b *bounded[K, V]) drop(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.entries, key)
}
