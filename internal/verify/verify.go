// Package verify turns a raw subject token into claims that can be relied on, or
// into a refusal.
//
// It owns the format of subject tokens, the keys of their issuers (fetched under
// guard, cached, persisted through functions that its caller hands in) and the
// rules about signature, audience and times. It does not look up providers, decide
// who may have what (internal/policy), or remember which tokens were used
// (internal/store); it gives the key for that.
//
// Claims that somebody only says of a token (Paste, Suppose, ReadClaims) are read by the
// same rules, for what is told about decisions; no decision rests on them.
//
// Peek costs no network and no storage, so that an issuer that is not registered
// causes neither. Until the signature is proven every refusal looks the same to
// its caller; Reason tells them apart for counters.
package verify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// Config says what a Verifier works with.
type Config struct {
	Kinds  map[string]*agentidp.ProviderKind
	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: no log

	// Hosts are those that may have private addresses, any port and plain http: as
	// host, or host:port for this port alone. Lower case, an IPv6 address in brackets.
	Hosts []string
	// Configured are addresses that the operator chose. Their hosts may have private
	// addresses, and the port that is named.
	Configured []string
	// AllowInsecureLoopback admits plain http and any port at loopback addresses and
	// localhost: for development and demonstrations only.
	AllowInsecureLoopback bool

	// Waiters are how many calls of Verify wait at most for a fetch of one key set, and
	// AllWaiters times as many for all; what comes beyond that is refused as Unavailable at once,
	// if its key is not known. 0: 32.
	Waiters int

	// Load and Save persist key sets, so that a restart while an issuer is down
	// does not stop exchanges, and what one node fetched serves all. Load returns nil,
	// nil for an unknown source; Save is told of a fetch that failed too. Either may be
	// nil. Their contexts are not those of requests.
	Load func(ctx context.Context, source string) (*KeySet, error)
	Save func(ctx context.Context, set *KeySet) error
	// Begin, when set, is asked before each fetch whether it is this node's to make: no
	// other has begun one within this time before now (one that began so far ahead of
	// now, or less, has just begun, by another clock). From then on Load tells the others.
	Begin func(ctx context.Context, source string, now time.Time, within, ahead time.Duration) (bool, error)

	RootCAs  *x509.CertPool                        // nil: the system's
	Resolver *net.Resolver                         // nil: the system's
	Proxy    func(*http.Request) (*url.URL, error) // nil: of the environment

	transport http.RoundTripper // nil: the guarded one
	dial      dialFunc          // nil: under guard
}

// Verifier checks subject tokens. It is safe for concurrent use.
type Verifier struct {
	kinds   map[string]*kind
	now     func() time.Time
	fetcher *fetcher
	keys    *keyCache
	probes  probes
	clock   suspicion
}

// New returns a Verifier. Close ends what it does in the background.
func New(cfg Config) *Verifier {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	fetcher := newFetcher(cfg)
	v := &Verifier{kinds: map[string]*kind{}, now: cfg.Clock, fetcher: fetcher, keys: newKeyCache(cfg, fetcher), probes: probes{now: cfg.Clock}}
	for name, k := range cfg.Kinds {
		v.kinds[name] = compileKind(k)
	}
	return v
}

// Close stops fetches that are under way and waits for them. A Verify that needs a
// fetch fails from then on.
func (v *Verifier) Close() { v.keys.close() }

// Stats returns what has been counted since New.
func (v *Verifier) Stats() Stats {
	s := v.keys.stats()
	s.ClockSlow, s.ClockFast = v.clock.slow.Load(), v.clock.fast.Load()
	return s
}

// Verify checks the token against the provider that its issuer belongs to, for one
// organization, and returns its claims.
//
// Claims are nil if and only if the signature is not proven. With claims, an error
// is invalid_token with a Reason and with the caller's own claims that the failed
// check read; the claims are then what could be read of them. Without claims, the
// error is the one that every unacceptable credential gets, or Unavailable when the
// issuer's keys are not to be had.
func (v *Verifier) Verify(ctx context.Context, org *agentidp.Organization, p *agentidp.Provider, u *Unverified) (*agentidp.Claims, error) {
	k := v.kinds[p.Kind]
	if k == nil {
		return nil, fmt.Errorf("verify a token of provider %q: its kind %q is unknown", p.Name, p.Kind)
	}
	// 1. What costs nothing: issuer, algorithm, type, key id.
	if err := admissible(p, u); err != nil {
		return nil, err
	}
	// 2. The key: from the cache, or by at most one guarded fetch.
	key, err := v.keys.key(ctx, org, p, u.jws.Header.Kid)
	if err != nil {
		return nil, err
	}
	// 3. The signature.
	if err := v.proveSignature(ctx, p, u, key); err != nil {
		return nil, err
	}
	// 4. The claims: types and presence first, then audience, then times.
	c, err := k.read(p, u)
	if err != nil {
		return c, err
	}
	if err := checkAudience(org, p, u, c); err != nil {
		return c, err
	}
	now := v.now()
	err = checkTimes(now, p, k, u, c)
	v.clock.heed(now, c, err)
	return c, err
}

// admissible checks what the token says of itself against what the provider
// allows, before a key is looked up.
func admissible(p *agentidp.Provider, u *Unverified) error {
	h := &u.jws.Header
	switch {
	case u.Issuer != p.Issuer:
		return refuse(ReasonIssuer, errors.New("the issuer is not the provider's"))
	case !slices.Contains(p.Algorithms, h.Alg):
		return refuse(reasonAlgorithm, errors.New("the algorithm is not on the provider's list"))
	case h.Typ != "" && !strings.EqualFold(h.Typ, "JWT") && !strings.EqualFold(h.Typ, "application/jwt"):
		// RFC 8725 §3.11: an access token or a logout token is no ID token.
		return refuse(reasonType, errors.New("typ is not JWT"))
	case h.Kid == "":
		// Guessing among several keys would be wrong, and no supported provider
		// omits it.
		return refuse(reasonUnknownKey, errors.New("kid is missing"))
	}
	return nil
}

// proveSignature verifies with key and, if that fails, with the key that an issuer
// may have put under the same id since. That look costs at most one limited fetch.
func (v *Verifier) proveSignature(ctx context.Context, p *agentidp.Provider, u *Unverified, key *jose.Key) error {
	err := u.jws.Verify(key)
	if errors.Is(err, jose.ErrSignature) {
		if renewed := v.keys.renewed(ctx, p, key); renewed != nil {
			err = u.jws.Verify(renewed)
		}
	}
	switch {
	case errors.Is(err, jose.ErrAlgorithm):
		return refuse(reasonAlgorithm, err)
	case err != nil:
		return refuse(reasonSignature, err)
	}
	return nil
}
