package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
)

// healthTimeout is below the time that container runtimes give a check by themselves.
const healthTimeout = 5 * time.Second

type healthCmd struct {
	config.Config `embed:""`

	Ready bool `help:"Ask whether it can issue tokens, too: whether its database answers and it has not been told to end (/readyz). Restart no server for that: it is ready again when its database is."`
}

// Help is shown by health --help.
func (*healthCmd) Help() string {
	return `For checks that are commands, as those of containers without a shell are. Give it the
settings of the server, best by the same environment or file: it asks where the server
listens. It prints nothing where all is well; the exit code is 1 if the server does not
answer, or answers that it is not.

Example:
  agentidp health --ready`
}

// Run asks.
func (c *healthCmd) Run(ctx context.Context) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "agentidp health")
	// Nothing is sent and one bit is learned, of a listener of this machine: whose
	// certificate it has, and until when it is good, are no question of being alive.
	asks := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	defer asks.CloseIdleConnections()
	resp, err := asks.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("the server does not answer at %s: %w", address, err)
	}
	defer func() { _ = resp.Body.Close() }() // the status says it all
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s; the server's log says why", address, resp.Status)
	}
	return nil
}

// address is where this machine reaches the server.
func (c *healthCmd) address() (string, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", usageError{errors.New("listen (AGENTIDP_LISTEN): the port 0 stands for any, so the server cannot be found by it; give it one")}
	}
	switch host { // all addresses: an image without files has no localhost
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/healthz"}
	if c.TLS() {
		u.Scheme = "https"
	}
	if c.Ready {
		u.Path = "/readyz"
	}
	return u.String(), nil
}
