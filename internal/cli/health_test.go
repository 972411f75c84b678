package cli

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sentryagent/agentidp/internal/pace"
)

// What agentidp health says of a server that runs, is about to end, and is gone.
func TestHealth(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key, 1, x509.NewCertPool())
	for name, settings := range map[string][]string{
		"in the clear": {"AGENTIDP_DRAIN=1m"},
		"over TLS":     {"AGENTIDP_DRAIN=1m", "AGENTIDP_PUBLIC_URL=https://localhost:8443", "AGENTIDP_TLS_CERT_FILE=" + cert, "AGENTIDP_TLS_KEY_FILE=" + key},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t, settings...)
			i.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			if strings.Contains(name, "TLS") {
				i.url = "https://localhost:8443"
			}
			i.start()
			i.env = append(i.env, "AGENTIDP_LISTEN="+i.address.Load().(string))
			i.health(0, "", "")
			i.health(0, "", "--ready")

			// While it drains it is alive, and not ready: nobody is to restart it.
			if err := i.server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			pace.Eventually(t, "the server says that it is about to end", func() bool { return i.status("/readyz") == http.StatusServiceUnavailable })
			i.health(0, "", "")
			i.health(exitFailed, "/readyz answers 503 Service Unavailable; the server's log says why", "--ready")

			i.kill()
			i.health(exitFailed, "the server does not answer at http", "")
		})
	}
}

// health runs it, and holds its exit code and what it prints against what they should be.
func (i *installation) health(code int, says string, args ...string) {
	i.t.Helper()
	cmd := i.command(append([]string{"health"}, strings.Fields(strings.Join(args, " "))...)...)
	cmd.Env = i.env
	out, _ := cmd.CombinedOutput() // the exit code says it
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), says) || says == "" && len(out) > 0 {
		i.t.Errorf("health %s: exit code %d, want %d: %s", strings.Join(args, " "), got, code, out)
	}
}

// Where health asks, by where the server listens.
func TestWhereHealthAsks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ listen, asks string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080/healthz"},
		{"10.1.2.3:80", "http://10.1.2.3:80/healthz"},
		{"0.0.0.0:8080", "http://127.0.0.1:8080/healthz"},
		{":8080", "http://127.0.0.1:8080/healthz"},
		{"[::]:8080", "http://[::1]:8080/healthz"},
		{"[fd00::7]:8080", "http://[fd00::7]:8080/healthz"},
		{"localhost:8080", "http://localhost:8080/healthz"},
	} {
		c := healthCmd{}
		c.Listen = test.listen
		if got, err := c.address(); err != nil || got != test.asks {
			t.Errorf("listening on %s: asks %s, %v, want %s", test.listen, got, err, test.asks)
		}
	}
	c := healthCmd{}
	c.Listen = "127.0.0.1:0"
	if _, err := c.address(); err == nil || !strings.Contains(err.Error(), "give it one") {
		t.Errorf("any port: %v", err)
	}
}
