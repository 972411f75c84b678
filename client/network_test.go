package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"time"

	"github.com/sentryagent/agentidp"
)

// fate is what becomes of one request: an answer's status, or an error.
type fate struct {
	status int
	after  string // Retry-After
	err    error
	unsent bool // the error came before there was a connection
	silent bool // the transport does not tell of connections
	body   string
}

var (
	refusedConnection = fate{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, unsent: true}
	brokenConnection  = fate{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}}
	unknownHost       = fate{err: &net.DNSError{Err: "no such host", Name: "idp.example.com", IsNotFound: true}, unsent: true}
	wrongCertificate  = fate{err: &tls.CertificateVerificationError{Err: errors.New("it is for another name")}, unsent: true}
	fine              = fate{status: 200, body: `{"access_token":"at","token_type":"Bearer","expires_in":900}`}
)

// network is an http.RoundTripper that deals out fates, the last one for ever, and
// notes when each request came. It needs no socket, so that time can be synctest's.
type network struct {
	fates  []fate
	times  []time.Time
	header []http.Header
	bodies []string
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	f := n.fates[min(len(n.times), len(n.fates)-1)]
	n.times, n.header = append(n.times, time.Now()), append(n.header, req.Header)
	body := ""
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		body = string(b)
	}
	n.bodies = append(n.bodies, body)
	trace := httptrace.ContextClientTrace(req.Context())
	if !f.silent {
		trace.GetConn(req.URL.Host)
	}
	if !f.unsent && !f.silent {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if f.err != nil {
		return nil, f.err
	}
	header := http.Header{}
	if strings.Contains(f.body, `"code"`) {
		header.Set("Content-Type", "application/problem+json")
	}
	if f.after != "" {
		header.Set("Retry-After", f.after)
	}
	return &http.Response{StatusCode: f.status, Header: header, Body: io.NopCloser(strings.NewReader(f.body)), Request: req}, nil
}

func (n *network) client() *Client {
	return &Client{BaseURL: "https://idp.example.com", Token: "t", HTTP: &http.Client{Transport: n}}
}

// waits returns the times between requests.
func (n *network) waits() []time.Duration {
	var all []time.Duration
	for i := 1; i < len(n.times); i++ {
		all = append(all, n.times[i].Sub(n.times[i-1]))
	}
	return all
}

func listAgents(ctx context.Context, c *Client) error {
	_, err := c.ListAgents(ctx, agentidp.AgentFilter{}, ListOptions{})
	return err
}

// What kind of call each one is decides what is repeated.
const (
	reads   = "reads"
	repeats = "changes, and twice is as good as once"
	once    = "changes, and is sent once"
	spends  = "spends its subject token"
)

var everyCall = []struct {
	name, kind string
	call       func(ctx context.Context, c *Client) error
}{
	{"list agents", reads, listAgents},
	{"get an agent", reads, func(ctx context.Context, c *Client) error { _, err := c.GetAgent(ctx, agentID); return err }},
	{"introspect", reads, func(ctx context.Context, c *Client) error { _, err := c.Introspect(ctx, "at"); return err }},
	{"list refusals", reads, func(ctx context.Context, c *Client) error { _, err := c.ListRefusals(ctx); return err }},
	{"test a provider", reads, func(ctx context.Context, c *Client) error { _, err := c.TestProvider(ctx, "ghes"); return err }},
	{"lint a policy", reads, func(ctx context.Context, c *Client) error {
		_, err := c.LintTrustPolicy(ctx, agentidp.TrustPolicySpec{})
		return err
	}},
	{"back-test a policy", reads, func(ctx context.Context, c *Client) error {
		_, err := c.BacktestTrustPolicy(ctx, policyID, agentidp.BacktestRequest{})
		return err
	}},
	{"delete a provider", repeats, func(ctx context.Context, c *Client) error { return c.DeleteProvider(ctx, "ghes") }},
	{"create a provider", once, func(ctx context.Context, c *Client) error {
		_, err := c.CreateProvider(ctx, agentidp.ProviderSpec{})
		return err
	}},
	{"replace a policy", repeats, func(ctx context.Context, c *Client) error {
		_, err := c.ReplaceTrustPolicy(ctx, policyID, 1, agentidp.TrustPolicySpec{})
		return err
	}},
	{"delete a policy", repeats, func(ctx context.Context, c *Client) error { return c.DeleteTrustPolicy(ctx, policyID, DeleteOptions{}) }},
	{"decommission", repeats, func(ctx context.Context, c *Client) error { return c.DecommissionAgent(ctx, agentID) }},
	{"suspend", repeats, func(ctx context.Context, c *Client) error { _, err := c.SuspendAgent(ctx, agentID); return err }},
	{"register", repeats, func(ctx context.Context, c *Client) error {
		_, err := c.RegisterAgent(ctx, agentidp.AgentSpec{})
		return err
	}},
	{"revoke a token", repeats, func(ctx context.Context, c *Client) error { return c.RevokeToken(ctx, "at") }},
	{"revoke tokens", repeats, func(ctx context.Context, c *Client) error {
		_, err := c.RevokeTokens(ctx, agentidp.TokenSelection{AgentID: agentID})
		return err
	}},
	{"create a policy", once, func(ctx context.Context, c *Client) error {
		_, err := c.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{})
		return err
	}},
	{"list credentials", reads, func(ctx context.Context, c *Client) error {
		_, err := c.ListCredentials(ctx, agentID, ListOptions{})
		return err
	}},
	{"read a credential", reads, func(ctx context.Context, c *Client) error {
		_, err := c.GetCredential(ctx, agentID, policyID)
		return err
	}},
	{"delete a credential", repeats, func(ctx context.Context, c *Client) error { return c.DeleteCredential(ctx, agentID, policyID) }},
	{"create a credential", once, func(ctx context.Context, c *Client) error {
		_, err := c.CreateCredential(ctx, agentID, agentidp.CredentialSpec{})
		return err
	}},
	{"rotate a credential", once, func(ctx context.Context, c *Client) error {
		_, err := c.RotateCredential(ctx, agentID, policyID, 0)
		return err
	}},
	{"update an agent", once, func(ctx context.Context, c *Client) error { _, err := c.UpdateAgent(ctx, agentID, nil); return err }},
	{"reactivate", once, func(ctx context.Context, c *Client) error { _, err := c.ReactivateAgent(ctx, agentID); return err }},
	{"repin", once, func(ctx context.Context, c *Client) error { _, err := c.Repin(ctx, policyID); return err }},
	{"exchange", spends, func(ctx context.Context, c *Client) error {
		_, err := c.Exchange(ctx, ExchangeRequest{Token: "ci"})
		return err
	}},
}
