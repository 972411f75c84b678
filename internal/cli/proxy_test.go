package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
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
	"time"

	"github.com/sentryagent/agentidp"
)

// the program with a proxy in its environment, on loopback, where no issuer may be.
// Hosts that lead inside by their names alone are not handed to it; what the proxy connects
// to must have the host's certificate; and it is asked for each host once.
func TestA189TheProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	cert, authority := certificateOf(t, "ci.example")
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
		front, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer front.Close()
		go func() { _, _ = io.Copy(back, front) }()
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

// certificateOf makes a certificate that vouches for itself, and a file of what trusts it.
func certificateOf(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}
