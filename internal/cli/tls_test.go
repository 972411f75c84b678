package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
	eventually(t, "the certificate is read again", func() bool { return process.said("the TLS certificate was read again") > 0 })
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	err = errors.Join(err, err2, os.WriteFile(certFile, cert, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}
