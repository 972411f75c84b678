package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// certificate is one that a server of the measurement has: its folder has both files.
type certificate struct {
	folder string
	roots  *x509.CertPool
}

func newCertificate() (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "agentidp-bench-")
	if err != nil {
		return nil, err
	}
	c := &certificate{folder: folder, roots: x509.NewCertPool()}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	c.roots.AppendCertsFromPEM(public)
	err = errors.Join(os.WriteFile(c.file(), public, 0o600),
		os.WriteFile(c.keyFile(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return c, err
}

func (c *certificate) file() string    { return filepath.Join(c.folder, "tls.crt") }
func (c *certificate) keyFile() string { return filepath.Join(c.folder, "tls.key") }
func (c *certificate) remove() error   { return os.RemoveAll(c.folder) }

func (c *certificate) env() []string {
	return []string{certificateVariable + "=" + c.file(), keyVariable + "=" + c.keyFile()}
}

// certified returns a client that trusts the certificate of a file alone; nil where there
// is none.
func certified(file string) (*http.Client, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the client of whoever asks
	}
	public, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}, nil
}
