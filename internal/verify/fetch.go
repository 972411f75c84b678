package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
)

// fetchTimeout bounds a fetch from the first byte sent to the last received.
const fetchTimeout = 5 * time.Second

// fetcher gets key sets. Its requests are the only ones that a subject token can
// cause, so it goes nowhere but to the address that it is given: https only, no
// redirects (GHSA-f5mr-q85p-6hh6 shows why), bounded in time and size.
type fetcher struct {
	client           *http.Client
	insecureLoopback bool
}

func newFetcher(cfg Config) *fetcher {
	client := &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true, // a fetch in ten minutes keeps no connection
		ForceAttemptHTTP2:      true,
	}}
	if cfg.HTTP != nil {
		client.Transport = cfg.HTTP.Transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{client: client, insecureLoopback: cfg.AllowInsecureLoopback}
}

// fetch returns the body found at address.
func (f *fetcher) fetch(ctx context.Context, address string) ([]byte, error) {
	if err := f.check(address); err != nil {
		return nil, err
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
		return nil, fmt.Errorf("the answer is %s, not 200", resp.Status)
	}
	// One byte over the limit is enough for ParseJWKS to refuse the set.
	return io.ReadAll(io.LimitReader(resp.Body, jose.MaxJWKS+1))
}

// check is made at every use: an address that was good when a provider was
// registered may have been changed in the database since.
func (f *fetcher) check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("the address is malformed")
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("the address has no host, or has user information or a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && f.insecureLoopback && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("the address is not https")
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
