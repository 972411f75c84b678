package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Transport is an http.RoundTripper that adds an access token to the requests that go to
// the services it names, and to no others:
//
//	service := &http.Client{Transport: &client.Transport{Tokens: source, Hosts: []string{"deploy.example.com"}}}
//
// A request to another host, one that a redirect from another host led to, and one that
// has an Authorization header already, pass as they are. Plain http to a named host
// other than loopback is an error. Nothing is repeated: only the caller knows what a
// request does.
type Transport struct {
	Tokens TokenSource
	// Hosts are the services for which the token is meant, as in their URLs: a host name
	// for the scheme's own port, else host:port. There are no wildcards.
	Hosts []string
	// Base carries the requests; nil is http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip sends a request, with the token where it belongs.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	token, err := t.token(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as http.RoundTripper wants; the error to tell is the other
		}
		return nil, err
	}
	if token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return base.RoundTrip(req)
}

// token returns what a request is to carry; nothing, where it is to pass as it is.
func (t *Transport) token(req *http.Request) (string, error) {
	for _, host := range t.Hosts {
		if strings.ContainsAny(host, "/@*") {
			return "", fmt.Errorf("Transport.Hosts: %q is no host; give a whole name, without scheme and path, such as deploy.example.com", host)
		}
	}
	switch {
	case !t.mayHaveToken(req):
		return "", nil
	case t.Tokens == nil:
		return "", errors.New("Transport.Tokens: it is nil")
	case req.URL.Scheme != "https" && !isLoopback(req.URL.Hostname()):
		return "", fmt.Errorf("plain http to %s would send the access token in the clear; use https (http is for loopback)", req.URL.Hostname())
	}
	token, err := t.Tokens.Token(req.Context())
	if err != nil {
		return "", err
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("the access token: %w", err)
	}
	return token, nil
}

// mayHaveToken looks at all that led here: a host that is not named must not be able to
// choose, by a redirect, what is done with the token.
func (t *Transport) mayHaveToken(req *http.Request) bool {
	named := func(u *url.URL) bool {
		return slices.ContainsFunc(t.Hosts, func(h string) bool { return strings.EqualFold(withPort(h, u.Scheme), withPort(u.Host, u.Scheme)) })
	}
	if len(req.Header.Values("Authorization")) > 0 || !named(req.URL) {
		return false
	}
	for from := req.Response; from != nil && from.Request != nil; from = from.Request.Response {
		if !strings.EqualFold(withPort(from.Request.URL.Host, from.Request.URL.Scheme), withPort(req.URL.Host, req.URL.Scheme)) {
			return false
		}
	}
	return true
}

// withPort returns host:port, with the scheme's port where the host has none.
func withPort(host, scheme string) string {
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(strings.TrimSuffix(host, ":"), "[]"), port)
}
