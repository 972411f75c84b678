package cli

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/certtest"
)

// the program with a proxy in its environment, on loopback, where no issuer may be.
// Hosts that lead inside by their names alone are not handed to it; what the proxy connects
// to must have the host's certificate; and it is asked for each host once.
func TestA189TheProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	cert := certtest.New(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example"} })
	public, _ := certtest.PEM(cert)
	authority := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(authority, public, 0o600); err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"issuer":"https://`+r.Host+`","jwks_uri":"https://`+r.Host+`/jwks"}`)
	}))
	issuer.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	issuer.StartTLS()
	t.Cleanup(issuer.Close)

	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		back, err := net.Dial("tcp", issuer.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer back.Close()
		w.WriteHeader(http.StatusOK)
		front, read, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer front.Close()
		go func() { _, _ = io.Copy(back, read) }() // which has what the client sent since the 200
		_, _ = io.Copy(front, back)
	}))
	t.Cleanup(proxy.Close)

	i := newInstallation(t, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=", "SSL_CERT_FILE="+authority, "AGENTIDP_ISSUER_HOSTS=169.254.169.254")
	i.start()
	admin := i.client(i.program("admin", "token"))
	for n, tt := range []struct {
		name, issuer string
		proxied      []string // what it is asked
		says         string   // empty: registered
	}{
		{"a host that only the proxy knows", "https://ci.example", []string{"CONNECT ci.example:443"}, ""},
		{"a host without its certificate", "https://mallory.example", []string{"CONNECT mallory.example:443"}, "certificate is for another host"},
		{"an address", "https://10.0.0.1", nil, "instead of a host"},
		{"the metadata service, though listed", "https://169.254.169.254", nil, "link-local"},
		{"a name of the metadata service", "https://metadata.google.internal", nil, "not one of the public internet"},
		{"a name within a cluster", "https://kubernetes.default.svc", nil, "not one of the public internet"},
	} {
		_, err := admin.CreateProvider(t.Context(), agentidp.ProviderSpec{Name: "ci" + strconv.Itoa(n), Issuer: tt.issuer})
		mu.Lock()
		was := asked
		asked = nil
		mu.Unlock()
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("A-189 %s: %v", tt.name, err)
		}
		if !slices.Equal(was, tt.proxied) {
			t.Errorf("A-189 %s: the proxy was asked for %q", tt.name, was)
		}
	}
}
