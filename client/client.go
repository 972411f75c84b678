package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	// DefaultTimeout is the limit for one attempt at a call where Client.HTTP is nil.
	DefaultTimeout = 30 * time.Second

	maxResponse = 8 << 20 // bytes; 200 policies are some 2 MiB at most
)

// Client calls one organization of one AgentIdP server. Its methods may be
// called concurrently as long as its fields stay as they are.
type Client struct {
	// BaseURL is the organization's issuer URL: https://idp.example.com, or
	// https://idp.example.com/o/acme. A trailing slash makes no difference.
	BaseURL string
	// Token is the access token for the management calls. Exchange sends none.
	Token string
	// Tokens gives the access token where Token is empty.
	Tokens TokenSource
	// MaxRetries is how often a call is repeated that may be (see the package's
	// documentation); 0 is DefaultMaxRetries, less than 0 is never.
	MaxRetries int
	// HTTP carries the requests; nil is a client with DefaultTimeout, which holds for
	// each attempt, while a call's context holds for all of them together. Its
	// CheckRedirect is not used: no redirect is ever followed, because the token
	// would go along.
	HTTP *http.Client
	// InsecureAllowHTTP allows plain http to hosts other than loopback, where
	// anybody on the way can read the tokens.
	InsecureAllowHTTP bool
}

// call is one request to the API and what is expected in answer.
type call struct {
	verb    string // for error messages: "create the trust policy"
	method  string
	path    string // below /api/v1, or below BaseURL with a form; escaped
	query   url.Values
	body    any        // nil: none
	form    url.Values // in place of body, at an OAuth endpoint
	media   string     // of body; empty: application/json
	ifMatch string
	out     any    // where the answer goes; nil: there is none
	subject string // the token in body or form, which takes the place of Token
	beside  bool   // Token is sent beside subject all the same, where there is one

	readOnly   bool // a POST that changes nothing
	idempotent bool // a POST that the server may get twice: once it is done, nothing more is
}

// do makes a call, and again where that is safe and may help.
func (c *Client) do(ctx context.Context, k *call) error {
	unknown := false
	err := c.persist(ctx, k.again, func() error {
		err := c.roundTrip(ctx, k)
		unknown = unknown || lost(err)
		return err
	})
	switch {
	case err == nil:
		return nil
	case unknown && !k.reads():
		return fmt.Errorf("%s: %w; %w", k.verb, err, ErrOutcomeUnknown)
	}
	return fmt.Errorf("%s: %w", k.verb, err)
}

func (c *Client) roundTrip(ctx context.Context, k *call) error {
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	var token string
	if k.subject == "" || k.beside && (c.Token != "" || c.Tokens != nil) {
		if token, err = c.accessToken(ctx); err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	status, header, body, err := c.send(req)
	if err != nil {
		return err
	}
	if status < 200 || status > 299 {
		return newError(status, header, body, token, k.subject)
	}
	if k.out == nil {
		return nil
	}
	if err := json.Unmarshal(body, k.out); err != nil {
		// Not the cause: it can quote the body, and the body can hold a token.
		return fmt.Errorf("the server answered %d with a body that is not the JSON expected; check that %s is an AgentIdP server",
			status, req.URL.Host)
	}
	return nil
}

func (c *Client) request(ctx context.Context, k *call) (*http.Request, error) {
	base, err := c.parseURL("BaseURL", strings.TrimSuffix(c.BaseURL, "/"))
	if err != nil {
		return nil, err
	}
	if base.RawQuery != "" || base.ForceQuery || base.Fragment != "" {
		return nil, errors.New("BaseURL: it has a query or fragment; give scheme, host and path alone")
	}
	var body io.Reader
	target, media := base.String()+"/api/v1"+k.path, k.media
	switch {
	case k.form != nil:
		body = strings.NewReader(k.form.Encode())
		target, media = base.String()+k.path, "application/x-www-form-urlencoded"
	case k.body != nil:
		data, err := json.Marshal(k.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", "agentidp-client")
	if body != nil {
		if media == "" {
			media = "application/json"
		}
		req.Header.Set("Content-Type", media)
	}
	if k.ifMatch != "" {
		req.Header.Set("If-Match", k.ifMatch)
	}
	return req, nil
}

// send performs a request and reads the whole answer, within maxResponse. Where none
// comes, the error is a noAnswer.
func (c *Client) send(req *http.Request) (status int, header http.Header, body []byte, err error) {
	hc := http.Client{Timeout: DefaultTimeout}
	if c.HTTP != nil {
		hc = *c.HTTP
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// Of a transport that does not tell, it is taken that it sent.
	var wanted, got atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	}))
	res, err := hc.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = fmt.Errorf("%w; no server is running at %s://%s", err, req.URL.Scheme, req.URL.Host)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		err = fmt.Errorf("%w; it speaks plain http: use http:// if it is on this machine (loopback), or else give it a certificate", err)
	}
	if err != nil {
		return 0, nil, nil, &noAnswer{error: err, sent: got.Load() || !wanted.Load()}
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return 0, nil, nil, &noAnswer{error: fmt.Errorf("read the answer: %w", err), sent: true}
	}
	if len(body) > maxResponse {
		return 0, nil, nil, fmt.Errorf("the answer is larger than %d MiB", maxResponse>>20)
	}
	return res.StatusCode, res.Header, body, nil
}

// parseURL refuses what would send a token in the clear. Errors name the setting
// and never repeat a URL, which may hold a password.
func (c *Client) parseURL(setting, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s: it is not an absolute https URL, such as https://idp.example.com", setting)
	case u.User != nil:
		return nil, fmt.Errorf("%s: it has a user name or password in it; leave them out", setting)
	case u.Scheme == "http" && !c.InsecureAllowHTTP && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s: plain http to %s would send tokens in the clear; use https (http is for loopback)", setting, u.Hostname())
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkID keeps everything but an id out of paths, where "" or ".." would name
// something else.
func checkID(noun, id string) error {
	if !agentidp.IsID(id) {
		return fmt.Errorf("%s id: %q is not a UUID in lower case", noun, id)
	}
	return nil
}

// decodeKnown decodes what is to be sent back whole, and refuses what would be lost by
// that: a member that this package does not know.
func decodeKnown(doc []byte, v any, noun string) error {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("change the %s: it says what this program does not know (%w) and would be lost; use a program of the server's version", noun, err)
	}
	return nil
}
