// Package thirdparty_test lets others' Go libraries in wide use, which know nothing of
// AgentIdP but its URL, talk to a server: coreos/go-oidc verifies what it issues, and
// golang.org/x/oauth2 gets it.
package thirdparty_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// party is a service that verifies access tokens with go-oidc, which it told the
// issuer and nothing else. It asks for keys through a cache.
type party struct {
	cache    *cache
	jwks     string
	now      func() time.Time
	verifier *oidc.IDTokenVerifier
}

func newParty(ctx context.Context, s *server, audience string) (*party, error) {
	p := &party{cache: &cache{now: s.clock.Now, kept: map[string]*kept{}}, now: s.clock.Now}
	ctx = oidc.ClientContext(ctx, &http.Client{Transport: p.cache})
	provider, err := oidc.NewProvider(ctx, s.issuer)
	if err != nil {
		return nil, err
	}
	var document struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, err
	}
	p.jwks = document.JWKSURI
	p.verifier = provider.VerifierContext(ctx, &oidc.Config{ClientID: audience, Now: s.clock.Now})
	return p, nil
}

// verify returns an error for a token that the service refuses. Others use the same
// cache, so that it holds the key set at all times.
func (p *party) verify(ctx context.Context, token string) error {
	if _, err := p.cache.get(p.jwks); err != nil {
		return err
	}
	if _, err := p.verifier.Verify(ctx, token); err != nil {
		return fmt.Errorf("with a key set of %s ago: %w", p.now().Sub(p.cache.since(p.jwks)), err)
	}
	return nil
}

// cache keeps answers exactly as long as their Cache-Control says, whatever the client
// would like: a proxy, or a content delivery network.
type cache struct {
	now  func() time.Time
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	status int
	header http.Header
	body   []byte
	since  time.Time
	until  time.Time
}

// RoundTrip answers from the cache.
func (c *cache) RoundTrip(r *http.Request) (*http.Response, error) {
	k, err := c.get(r.URL.String())
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: k.status, Status: http.StatusText(k.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: k.header.Clone(), Body: io.NopCloser(bytes.NewReader(k.body)), ContentLength: int64(len(k.body)), Request: r,
	}, nil
}

func (c *cache) get(url string) (*kept, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if k := c.kept[url]; k != nil && now.Before(k.until) {
		return k, nil
	}
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	k := &kept{status: resp.StatusCode, header: resp.Header, since: now}
	if k.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	var seconds int
	if _, err := fmt.Sscanf(resp.Header.Get("Cache-Control"), "public, max-age=%d", &seconds); err != nil || k.status != http.StatusOK {
		return nil, fmt.Errorf("%s cannot be kept: %d, Cache-Control %q", url, k.status, resp.Header.Get("Cache-Control"))
	}
	k.until = now.Add(time.Duration(seconds) * time.Second)
	c.kept[url] = k
	return k, nil
}

func (c *cache) since(url string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[url].since
}
