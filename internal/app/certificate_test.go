package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// pair is a certificate of its own issuer, and its key, in two files.
type pair struct {
	cert, key string // paths
	roots     *x509.CertPool
	writes    time.Duration // each write is at another time, however quick the test
}

func newPair(t *testing.T) *pair {
	dir := t.TempDir()
	return &pair{cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), roots: x509.NewCertPool()}
}

// write replaces both files.
func (p *pair) write(t *testing.T, serial int64, notAfter time.Time) {
	t.Helper()
	cert, key := p.make(serial, notAfter)
	p.put(t, p.cert, cert, 0o644)
	p.put(t, p.key, key, 0o600)
}

func (p *pair) make(serial int64, notAfter time.Time) (cert, key []byte) {
	made := certtest.New(func(c *x509.Certificate) { c.SerialNumber, c.NotAfter = big.NewInt(serial), notAfter })
	p.roots.AddCert(made.Leaf)
	return certtest.PEM(made)
}

func (p *pair) put(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	p.writes += time.Second
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(p.writes)); err != nil {
		t.Fatal(err)
	}
}

// newTLSWorld is a world whose listener speaks TLS, with a certificate of serial
// number 1.
func newTLSWorld(t *testing.T, notAfter time.Duration) (*world, *pair) {
	p := newPair(t)
	p.write(t, 1, time.Now().Add(notAfter))
	return newWorld(t, func(c *config.Config) {
		c.PublicURL, c.TLSCertFile, c.TLSKeyFile = "https://"+c.Listen, p.cert, p.key
	}), p
}

// client returns a client with connections of its own. The configuration of TLS may
// be changed, and HTTP/2 is asked for unless it names other protocols.
func (p *pair) client(t *testing.T, change func(*tls.Config)) *http.Client {
	cfg := &tls.Config{RootCAs: p.roots}
	if change != nil {
		change(cfg)
	}
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: cfg.NextProtos == nil}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

const month = 30 * 24 * time.Hour

func TestTheListenerSpeaksTLS(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	for _, tt := range []struct {
		name      string
		change    func(*tls.Config)
		version   uint16 // 0: refused
		httpMajor int
	}{
		{"TLS 1.3 and HTTP/2, if the client can", nil, tls.VersionTLS13, 2},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, tls.VersionTLS12, 2},
		{"HTTP/1.1", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, tls.VersionTLS13, 1},
		{"S-090: nothing older than TLS 1.2", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 0, 0},
	} {
		resp, err := p.client(t, tt.change).Get(w.app.URL() + "/healthz")
		if tt.version == 0 {
			if err == nil {
				t.Errorf("%s: %s over %s", tt.name, resp.Status, tls.VersionName(resp.TLS.Version))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.TLS.Version != tt.version || resp.ProtoMajor != tt.httpMajor {
			t.Errorf("%s: %s, %s, %s", tt.name, resp.Status, resp.Proto, tls.VersionName(resp.TLS.Version))
		}
		if resp.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: S-090: no Strict-Transport-Security", tt.name)
		}
	}
	if resp, err := http.Get("http://" + w.app.Address() + "/healthz"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %v %v", resp, err)
	}
	resp, err := p.client(t, nil).Get(w.app.URL() + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var metadata struct{ Issuer string }
	if err := json.NewDecoder(resp.Body).Decode(&metadata); err != nil || metadata.Issuer != w.app.URL() {
		t.Errorf("the issuer is %q (%v), want %s", metadata.Issuer, err, w.app.URL())
	}
}

// a certificate is replaced while connections are open, also by what is none.
func TestR28ACertificateIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	w.clock.freeze()
	old := p.client(t, nil)
	first := true
	shows := func(want int64, when string) {
		t.Helper()
		w.clock.advance(time.Second)
		resp, err := p.client(t, nil).Get(w.app.URL() + "/healthz")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		resp.Body.Close()
		if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != want {
			t.Errorf("%s: certificate %d is shown, want %d", when, got, want)
		}
		req, _ := http.NewRequest(http.MethodGet, w.app.URL()+"/healthz", nil)
		reused := false
		resp, err = old.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})))
		if err != nil {
			t.Fatalf("%s, over the open connection: %v", when, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if !reused && !first {
			t.Errorf("%s: the open connection was dropped", when)
		}
		first = false
	}
	const keeps = "the new TLS certificate is not good, and the one before stays in use"
	errorsTold := func(want int, text string) {
		t.Helper()
		if log := w.logs.String(); strings.Count(log, keeps) != want || !strings.Contains(log, text) {
			t.Errorf("%d errors in the log, want %d with %q:\n%s", strings.Count(log, keeps), want, text, log)
		}
	}
	later := time.Now().Add(month)

	shows(1, "at first")
	p.write(t, 2, later)
	shows(2, "after another was put in its place")
	p.put(t, p.cert, []byte("not a certificate"), 0o644)
	shows(2, "after a broken one was put in its place")
	errorsTold(1, "are not a certificate and its key in PEM: failed to find any PEM data in certificate input")
	shows(2, "while nobody mends it")
	errorsTold(1, "put a good pair of files in place")
	cert, key := p.make(3, later)
	p.put(t, p.cert, cert, 0o644)
	shows(2, "after only the certificate was mended")
	errorsTold(2, "private key does not match public key")
	p.put(t, p.key, key, 0o644)
	shows(2, "after the key was put where others can read it")
	errorsTold(3, "can be read by others (mode 0644); run: chmod 600")
	p.put(t, p.key, key, 0o600)
	shows(3, "after the key was mended too")
	if err := os.Remove(p.cert); err != nil {
		t.Fatal(err)
	}
	shows(3, "after the file was removed")
	errorsTold(4, "no such file")
	p.write(t, 4, later)
	w.app.LookAtCertificates()
	if got := w.app.certificates.current.Load().Leaf.SerialNumber.Int64(); got != 4 {
		t.Errorf("told to look, it has certificate %d, want 4", got)
	}
}

func TestACertificateThatExpiresIsToldOfOnceADay(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, 15*24*time.Hour)
	w.clock.freeze()
	told := 0
	after := func(d time.Duration, warnings int, text string) {
		t.Helper()
		w.clock.advance(d)
		w.app.certificates.look()
		told += warnings
		log := w.logs.String()
		if got := strings.Count(log, "the TLS certificate expires soon") + strings.Count(log, "the TLS certificate has expired"); got != told || !strings.Contains(log, text) {
			t.Errorf("%d warnings, want %d, and %q in\n%s", got, told, text, log)
		}
	}
	const day = 24 * time.Hour
	after(0, 0, "")
	after(day+time.Hour, 1, "the TLS certificate expires soon; put a new pair of files in place")
	after(23*time.Hour, 0, "")
	after(time.Hour, 1, "not_after")
	after(13*day, 1, "the TLS certificate has expired, and clients refuse it")
	p.write(t, 2, w.clock.Now().Add(10*day))
	after(time.Second, 1, "the TLS certificate was read again")
	p.write(t, 3, w.clock.Now().Add(month))
	after(time.Second, 0, "")
	after(day, 0, "")
}

// Strangers cannot fill the log with handshakes that fail.
func TestFailedHandshakesAreToldOnceASecond(t *testing.T) {
	t.Parallel()
	w, _ := newTLSWorld(t, month)
	w.clock.freeze()
	fail := func() {
		c, err := net.Dial("tcp", w.app.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "\x16\x03\x01\x00\x04\x63\x00\x00\x00") // a handshake message that there is not
		io.Copy(io.Discard, c)                                    // until the server hangs up
	}
	for range 20 {
		fail()
	}
	pace.Eventually(t, "the failures are counted", func() bool { return strings.Contains(w.logs.String(), "TLS handshake error") })
	w.clock.advance(time.Second)
	fail()
	pace.Eventually(t, "the next second tells how many there were", func() bool { return strings.Contains(w.logs.String(), `"not_logged_before":1`) })
	if n := strings.Count(w.logs.String(), "TLS handshake error"); n != 2 {
		t.Errorf("%d lines for 21 failed handshakes", n)
	}
}
