package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// maxSources bounds the fetched and the static key sets that are held, each. The
// one that was used least recently makes room.
const maxSources = 1024

// KeySet is a fetched key set as it is persisted, and shared by all nodes.
type KeySet struct {
	Source    string // the address that it is fetched from
	JWKS      []byte // nil: none was fetched yet, or not by this fetch
	FetchedAt time.Time
	AskedAt   time.Time // when a node last began to fetch it; zero: not known
	FailedAt  time.Time // when a fetch last failed; zero: none has
}

// Stats says what the key cache did and holds. What administrators had fetched to
// look at it is not counted.
type Stats struct {
	Fetches  uint64    // requests for key sets
	Failures uint64    // those that brought no usable set
	Sources  int       // addresses that keys are fetched from
	Failing  int       // those of them whose latest fetch failed
	Oldest   time.Time // when the oldest of the sets was fetched; zero: there is none

	// ClockSlow and ClockFast count authentic tokens that were refused as those are which
	// are presented to a server whose clock is slow, or fast: not valid yet, or expired a
	// few minutes ago.
	ClockSlow, ClockFast uint64
}

// keyCache holds keys by source, never by issuer: a fetched set by its address, a
// static set by organization and provider. Every look-up starts from a provider, so
// a key of one issuer cannot serve for another.
type keyCache struct {
	now  func() time.Time
	log  *slog.Logger
	load func(ctx context.Context, source string) (*KeySet, error)
	save func(ctx context.Context, set *KeySet) error

	begin func(ctx context.Context, source string, now time.Time, within, ahead time.Duration) (bool, error)
	*fetcher

	life context.Context // of fetches; ends with close
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex // guards what follows; a source's own lock may be held when it is taken
	closed  bool
	count   Stats
	waiters int // at most, of one source
	waiting int // of all sources
	fetched map[string]*source
	static  map[staticID]*staticSet
}

type staticID struct{ organization, provider string }

// staticSet is a provider's static set, with what it was made of: a changed row
// makes a new one.
type staticSet struct {
	jwks       []byte
	algorithms []string
	keys       map[string]*jose.Key
	used       time.Time
}

func newKeyCache(cfg Config, f *fetcher) *keyCache {
	c := &keyCache{
		now: cfg.Clock, log: cfg.Logger, load: cfg.Load, save: cfg.Save, begin: cfg.Begin,
		fetcher: f, waiters: cmp.Or(cfg.Waiters, defaultWaiters),
		fetched: map[string]*source{},
		static:  map[staticID]*staticSet{},
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// key returns the provider's key with this id. The error is a refusal if there is
// none, and Unavailable if that cannot be known.
func (c *keyCache) key(ctx context.Context, org *agentidp.Organization, p *agentidp.Provider, id string) (*jose.Key, error) {
	if p.JWKS != nil {
		return c.staticKey(org, p, id)
	}
	return c.source(p.JWKSURI).key(ctx, id, rsaBinding(p.Algorithms))
}

// renewed returns the key that the issuer publishes under the id of old by now, if
// it is another, fetching the set if the limit allows.
func (c *keyCache) renewed(ctx context.Context, p *agentidp.Provider, old *jose.Key) *jose.Key {
	if p.JWKS != nil {
		return nil
	}
	key, err := c.source(p.JWKSURI).renewed(ctx, old.ID, rsaBinding(p.Algorithms))
	if err != nil || key == nil || key.Equal(old) {
		return nil
	}
	return key
}

func (c *keyCache) staticKey(org *agentidp.Organization, p *agentidp.Provider, id string) (*jose.Key, error) {
	at := staticID{org.ID, p.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.static[at]
	if set == nil || !bytes.Equal(set.jwks, p.JWKS) || !slices.Equal(set.algorithms, p.Algorithms) {
		keys, err := jose.ParseJWKS(p.JWKS, p.Algorithms)
		if err != nil {
			return nil, refuse(reasonUnknownKey, fmt.Errorf("read the static keys of provider %s: %w", p.Name, err))
		}
		makeRoom(c.static, func(s *staticSet) time.Time { return s.used })
		set = &staticSet{jwks: bytes.Clone(p.JWKS), algorithms: slices.Clone(p.Algorithms), keys: byID(keys)}
		c.static[at] = set
	}
	set.used = c.now()
	if key := set.keys[id]; key != nil {
		return key, nil
	}
	return nil, errUnknownKey()
}

func errUnknownKey() error {
	return refuse(reasonUnknownKey, errors.New("the issuer has no such key"))
}

// source returns the fetched set of an address, which must come from a provider,
// never from a token.
func (c *keyCache) source(address string) *source {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.fetched[address]
	if s == nil {
		makeRoom(c.fetched, func(s *source) time.Time { return s.used })
		s = &source{cache: c, address: address}
		c.fetched[address] = s
	}
	s.used = c.now()
	return s
}

// makeRoom deletes the entry that was used least recently, if the map is full.
func makeRoom[K comparable, V any](m map[K]V, used func(V) time.Time) {
	if len(m) < maxSources {
		return
	}
	var oldest K
	var at time.Time
	for k, v := range m {
		if t := used(v); at.IsZero() || t.Before(at) {
			oldest, at = k, t
		}
	}
	delete(m, oldest)
}

// background runs f outside of any request, unless the cache is closed.
func (c *keyCache) background(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

func (c *keyCache) counted(failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.Fetches++
	if failed {
		c.count.Failures++
	}
}

func (c *keyCache) stats() Stats {
	c.mu.Lock()
	s := c.count
	s.Sources = len(c.fetched)
	sources := slices.Collect(maps.Values(c.fetched))
	c.mu.Unlock()
	for _, source := range sources { // not under c.mu, which is taken after a source's own
		fetchedAt, failing := source.state()
		if failing {
			s.Failing++
		}
		if !fetchedAt.IsZero() && (s.Oldest.IsZero() || fetchedAt.Before(s.Oldest)) {
			s.Oldest = fetchedAt
		}
	}
	return s
}

func (c *keyCache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
}
