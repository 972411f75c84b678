package verify

import (
	"context"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// KeyReport is what is to be known of one key of a set before tokens depend on it.
type KeyReport struct {
	KeyID     string // kid
	Type      string // kty
	Algorithm string // that the key is bound to here, else what it says of itself
	Problem   string // why no token is verified with it; empty: it is good
}

// FetchKeys fetches the key set at an address, now and under guard, and reports all
// of its keys, for a provider with these algorithms. What tokens are verified with
// stays as it is.
//
// Errors are those of Discover, about the field jwksUri. A set without a good key is
// none.
func (v *Verifier) FetchKeys(ctx context.Context, address string, algorithms []string) ([]KeyReport, error) {
	if err := v.CheckAddress(address); err != nil {
		return nil, fieldError(fieldJWKSURI, err.Error(), nil)
	}
	body, err := v.probe(ctx, fieldJWKSURI, address)
	if err != nil {
		return nil, err
	}
	reports, err := ReportKeys(body, algorithms)
	if err != nil {
		return nil, fieldError(fieldJWKSURI, "leads to "+address+", where there is no key set that can be read: "+err.Error(), nil)
	}
	return reports, nil
}

// ReportKeys reports the keys of a static set. The error says why it is no set, in
// words that repeat nothing of it.
func ReportKeys(jwks []byte, algorithms []string) ([]KeyReport, error) {
	entries, err := jose.InspectJWKS(jwks, algorithms)
	if err != nil {
		return nil, err
	}
	reports := make([]KeyReport, len(entries))
	for i, e := range entries {
		r := KeyReport{KeyID: e.ID, Type: e.Type, Algorithm: e.Algorithm}
		switch {
		case e.Err != nil:
			r.Problem = e.Err.Error()
		case e.ID == "":
			r.Problem = "it has no kid, and tokens name their key by that"
		}
		reports[i] = r
	}
	return reports, nil
}

// How often administrators may have an address asked: the requests are ours, and the
// host may be anybody's.
const (
	probesAtOnce  = 8 // in all, and one for each host
	probesInARow  = 5 // for each host, within probeInterval
	probeInterval = 5 * time.Second
)

// probes limits requests that administrators cause.
type probes struct {
	now func() time.Time

	mu       sync.Mutex
	underWay int
	hosts    map[string]*probed
}

type probed struct {
	busy  bool
	began [probesInARow]time.Time // a ring
	next  int
}

// enter begins a request to a host, and leave ends it. The error is TooMany.
func (p *probes) enter(host string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	h := p.host(host, now)
	if h.busy || p.underWay >= probesAtOnce {
		return nil, tooManyProbes(time.Second)
	}
	if since := now.Sub(h.began[h.next]); since >= 0 && since < probeInterval {
		return nil, tooManyProbes(probeInterval - since)
	}
	h.began[h.next] = now
	h.next = (h.next + 1) % probesInARow
	h.busy = true
	p.underWay++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		h.busy = false
		p.underWay--
	}, nil
}

// host returns the state of a host, and forgets those that no longer limit anything.
func (p *probes) host(name string, now time.Time) *probed {
	if h := p.hosts[name]; h != nil {
		return h
	}
	for other, h := range p.hosts {
		latest := h.began[(h.next+probesInARow-1)%probesInARow]
		if since := now.Sub(latest); !h.busy && (since < 0 || since >= probeInterval) {
			delete(p.hosts, other)
		}
	}
	if p.hosts == nil {
		p.hosts = map[string]*probed{}
	}
	h := &probed{}
	p.hosts[name] = h
	return h
}

func tooManyProbes(after time.Duration) error {
	e := agentidp.NewError(agentidp.TooMany, agentidp.CodeRateLimited,
		"Issuers are asked for discovery and keys one at a time and not too often. Try again in some seconds.")
	e.RetryAfter = after
	return e
}
