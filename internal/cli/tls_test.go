package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/pace"
)

// the program serves over TLS, and SIGHUP gives it the new certificate.
func TestR28SIGHUPReadsTheCertificateAgain(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	i := newInstallation(t, "AGENTIDP_LISTEN=0.0.0.0:0", "AGENTIDP_DEV=false", "AGENTIDP_GITHUB_ISSUER=https://ci.example.com",
		"AGENTIDP_PUBLIC_URL=https://localhost:8443", "AGENTIDP_TLS_CERT_FILE="+cert, "AGENTIDP_TLS_KEY_FILE="+key)
	roots := x509.NewCertPool()
	i.url = "https://localhost:8443"
	i.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}

	writeCertificate(t, cert, key, 1, roots)
	i.start()
	process := i.server
	if process.said("speaks plain HTTP") > 0 {
		t.Error("it says that it speaks plain HTTP")
	}
	writeCertificate(t, cert, key, 22, roots)
	if err := process.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	pace.Eventually(t, "the certificate is read again", func() bool { return process.said("the TLS certificate was read again") > 0 })
	i.http.CloseIdleConnections()
	resp, err := i.http.Get(i.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != 22 || resp.StatusCode != http.StatusOK {
		t.Errorf("%s with certificate %d, want 22", resp.Status, got)
	}
	if code := i.end(os.Interrupt); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// writeCertificate makes a certificate for localhost that is its own issuer.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64, roots *x509.CertPool) {
	t.Helper()
	cert := certtest.New(func(c *x509.Certificate) {
		c.SerialNumber, c.DNSNames, c.NotAfter = big.NewInt(serial), []string{"localhost"}, time.Now().Add(60*24*time.Hour)
	})
	roots.AddCert(cert.Leaf)
	public, private := certtest.PEM(cert)
	if err := errors.Join(os.WriteFile(certFile, public, 0o600), os.WriteFile(keyFile, private, 0o600)); err != nil {
		t.Fatal(err)
	}
}
