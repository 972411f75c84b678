package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
)

const (
	// fetchTimeout bounds a fetch from the first byte sent to the last received.
	fetchTimeout = 5 * time.Second
	// maxBody bounds what is fetched.
	maxBody = jose.MaxJWKS
)

// fetcher gets key sets and discovery documents. Its requests are the only ones that
// a subject token can cause, so it goes nowhere but to the address that it is given:
// under guard, https with a certificate that is verified, no redirects
// (GHSA-f5mr-q85p-6hh6 shows why), bounded in time and size.
type fetcher struct {
	guard  *guard
	client *http.Client
}

func newFetcher(cfg Config) *fetcher {
	f := &fetcher{guard: newGuard(cfg)}
	transport := cfg.transport
	if transport == nil {
		transport = newTransport(cfg, f.guard)
	}
	f.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// fetch returns the body found at address.
func (f *fetcher) fetch(ctx context.Context, address string) ([]byte, error) {
	if err := f.guard.check(address); err != nil {
		return nil, &addressFault{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "agentidp")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if len(body) > maxBody {
		return nil, errTooLong
	}
	return body, err
}

// addressFault is an address that no request is made to. Its cause completes a
// sentence.
type addressFault struct{ error }

func (e *addressFault) Error() string { return "the address " + e.error.Error() }

// statusError is an answer that is not 200. What else it said is not repeated.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the answer is %d %s, not 200", int(e), http.StatusText(int(e)))
}

func (e statusError) redirect() bool { return e >= 300 && e < 400 && e != http.StatusNotModified }

var errTooLong = fmt.Errorf("the answer is over %d bytes", maxBody)

// transport sends requests directly, connecting under guard, or to the proxy that
// the environment names: then the connection is to the proxy, which the operator
// chose, and the guard looks at the host's name instead.
type transport struct {
	guard           *guard
	proxy           func(*http.Request) (*url.URL, error)
	direct, proxied http.RoundTripper
}

func newTransport(cfg Config, g *guard) *transport {
	t := &transport{guard: g, proxy: cfg.Proxy}
	if t.proxy == nil {
		t.proxy = http.ProxyFromEnvironment
	}
	dial := cfg.dial
	if dial == nil {
		dial = g.dial
	}
	direct := &http.Transport{
		DialContext:            bounded(dial),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true, // a fetch in ten minutes keeps no connection
		ForceAttemptHTTP2:      true,
	}
	proxied := direct.Clone()
	proxied.DialContext, proxied.Proxy = bounded((&net.Dialer{}).DialContext), t.proxy
	t.direct, t.proxied = direct, proxied
	return t
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// bounded ends a connection when the fetch that it is for has had its time. net/http
// goes on with a dial and with a handshake after the request has left, for another one
// to use: whoever accepts connections and says nothing would be given one more with
// every fetch, and all of them would stay.
func bounded(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		deadline := time.Now().Add(fetchTimeout)
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return conn, conn.SetDeadline(deadline)
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	proxy, err := t.proxy(req)
	switch {
	case err != nil: // it is not repeated: a password may be in it
		return nil, errors.New("the proxy in the server's environment (HTTPS_PROXY, HTTP_PROXY) is not a URL")
	case proxy == nil:
		return t.direct.RoundTrip(req)
	}
	if err := t.guard.checkProxied(req.Context(), req.URL); err != nil {
		return nil, err
	}
	return t.proxied.RoundTrip(req)
}
