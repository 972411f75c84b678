package verify_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/dnstest"
	"github.com/sentryagent/agentidp/internal/jose"
)

// proxy is an HTTP proxy that connects every request to one server, whatever the
// host, and remembers the hosts.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	hosts []string
}

func newProxy(t *testing.T, to net.Addr) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.hosts = append(p.hosts, r.Method+" "+r.Host)
		p.mu.Unlock()
		back, err := net.Dial("tcp", to.String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer back.Close()
		w.WriteHeader(http.StatusOK)
		front, read, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer front.Close()
		go func() { _, _ = io.Copy(back, read) }() // which has what the client sent since the 200
		_, _ = io.Copy(front, back)
	}))
	t.Cleanup(p.Close)
	return p
}

// asked returns the requests since the last call.
func (p *proxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.hosts
	p.hosts = nil
	return asked
}

// the proxy is on loopback, which no issuer may be. Names that lead inside as far as
// this machine knows are not handed to it.
func TestA189AProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	names := dnstest.New(dnstest.Table(map[string][]string{
		"public.example.com": {"8.8.8.8", "2606:50c0:8000::153"},
		"loop.example.com":   {"127.0.0.1"},
		"inside.example.com": {"10.0.0.1"},
		"both.example.com":   {"8.8.8.8", "fd00::1"},
		"cloud.example.com":  {"169.254.169.254"},
		"ghes.internal":      {"10.0.0.2"},
		"odd.internal":       {"169.254.169.254"},
	}))
	cert := certtest.New(func(c *x509.Certificate) {
		c.DNSNames = []string{"*.example.com", "unknown.example.org", "ghes.internal", "odd.internal"}
	})
	w.moves(t, cert, certtest.Pool(cert))
	p := newProxy(t, w.issuer.Listener.Addr())
	w.config.Hosts = []string{"ghes.internal", "odd.internal", "10.0.0.3:443", "169.254.169.254"}
	w.config.Resolver = names.Resolver()
	address, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.config.Proxy = http.ProxyURL(address)
	w.restart(t)
	for host, passes := range map[string]bool{
		"public.example.com":  true,
		"unknown.example.org": true, // only the proxy knows it
		"ghes.internal":       true,
		"loop.example.com":    false,
		"inside.example.com":  false,
		"both.example.com":    false,
		"cloud.example.com":   false,
		"odd.internal":        false,
		"127.0.0.1":           false,
		"169.254.169.254":     false,
		"metadata.internal":   false,
	} {
		w.provider.JWKSURI = "https://" + host + "/keys"
		_, err := w.verify(t, w.good(t))
		asked := p.asked()
		if passes && (err != nil || !slices.Equal(asked, []string{"CONNECT " + host + ":443"})) {
			t.Errorf("%s: the proxy got %q, %v", host, asked, err)
		}
		if !passes && (err == nil || len(asked) != 0) {
			t.Errorf("%s: the proxy got %q, %v", host, asked, err)
		}
	}

	// What the proxy connects to must still have the host's certificate.
	w.provider.JWKSURI = "https://public.example.org/keys"
	w.wantUnreachable(t, w.good(t))
	if asked := p.asked(); len(asked) != 1 {
		t.Errorf("the proxy got %q", asked)
	}
}

func TestA189AProxyThatIsNoURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.config.Proxy = func(*http.Request) (*url.URL, error) {
		return nil, errors.New("http://user:secret@proxy example is not a URL")
	}
	w.restart(t)
	_, err := w.verify(t, w.good(t))
	e := wantReason(t, nil, err, agentidp.CodeIssuerUnreachable)
	if s := e.Error(); !strings.Contains(s, "HTTPS_PROXY") || strings.Contains(s, "secret") {
		t.Errorf("got %s", s)
	}
}

// for https on a host that the operator listed, too.
func TestA190CertificatesThatAreNotValid(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct {
		change  func(*x509.Certificate)
		trusted bool
		want    string // what an administrator is told; empty: it is good
	}{
		"valid":              {nil, true, ""},
		"expired":            {func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-1, 0, 0), now.Add(-time.Hour) }, true, "its certificate has expired or is not yet valid"},
		"not yet valid":      {func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }, true, "its certificate has expired or is not yet valid"},
		"for another host":   {func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"mallory.example"}, nil }, true, "its certificate is for another host"},
		"for no host at all": {func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }, true, "its certificate is for another host"},
		"for clients": {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, true,
			"its certificate is not from an authority that this server trusts"},
		"of nobody known": {nil, false, "its certificate is not from an authority that this server trusts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, jose.ES256)
			cert := certtest.New(tt.change)
			authority := certtest.Pool(cert)
			if !tt.trusted {
				authority = x509.NewCertPool()
			}
			w.moves(t, cert, authority)
			_, err := w.verifier.FetchKeys(t.Context(), w.provider.JWKSURI, w.provider.Algorithms)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				w.mustVerify(t, w.good(t))
				return
			}
			if e := agentidp.AsError(err); e.Code != agentidp.CodeIssuerUnreachable || !strings.HasSuffix(e.Message, ": "+tt.want+".") {
				t.Errorf("got %v", err)
			}
			w.wantUnreachable(t, w.good(t))
			if n := w.issuer.requests.Load(); n != 0 {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}
