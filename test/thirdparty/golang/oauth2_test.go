package thirdparty_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/printed"
)

// styles are the ways in which golang.org/x/oauth2 authenticates a client. The third
// tries the first, and the second if that is refused.
var styles = []struct {
	name  string
	style oauth2.AuthStyle
}{
	{"in the header", oauth2.AuthStyleInHeader},
	{"in the parameters", oauth2.AuthStyleInParams},
	{"as it finds out", oauth2.AuthStyleAutoDetect},
}

// worker registers an agent with a secret, and returns what a program is told to be
// it: where it is, who it is, and its secret.
func (s *server) worker(name string, audiences ...string) clientcredentials.Config {
	s.t.Helper()
	agent, err := s.admin.RegisterAgent(s.t.Context(), agentidp.AgentSpec{
		Name: name, Capabilities: []string{"deploy:production", "deploy:staging"}, Audiences: audiences,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.admin.CreateCredential(s.t.Context(), agent.AgentID, agentidp.CredentialSpec{Type: agentidp.CredentialSecret})
	if err != nil {
		s.t.Fatal(err)
	}
	printed.Secret(s.t, c.ClientSecret)
	return clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: s.issuer + "/oauth2/token"}
}

// refusal returns what x/oauth2 makes of an answer that is none.
func refusal(t *testing.T, err error) (status int, code string) {
	t.Helper()
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		t.Fatalf("got %v, want an *oauth2.RetrieveError", err)
	}
	if e.ErrorDescription == "" {
		t.Errorf("%s has no description", e.ErrorCode)
	}
	return e.Response.StatusCode, e.ErrorCode
}

// S-023: a client authenticates by HTTP Basic, or in the body; S-025: and gets a token
// for itself, which a service that knows the issuer alone verifies.
func TestClientCredentialsOfGo(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	service, err := newParty(t.Context(), s, audience)
	if err != nil {
		t.Fatal(err)
	}
	worker := s.worker("worker@acme.example", audience, "https://logs.example.com")
	for _, tt := range styles {
		t.Run(tt.name, func(t *testing.T) {
			c := worker
			c.AuthStyle = tt.style
			c.Scopes = []string{"deploy:staging"}
			token, err := c.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if life := time.Until(token.Expiry); token.Type() != "Bearer" || token.RefreshToken != "" || token.Extra("scope") != "deploy:staging" || life < tokenLife-time.Minute || life > tokenLife {
				t.Errorf("a token of type %s with scope %v for %s, and a refresh token: %t", token.Type(), token.Extra("scope"), life, token.RefreshToken != "")
			}
			read, err := service.verifier.Verify(t.Context(), token.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if read.Subject != c.ClientID || !slices.Equal(read.Audience, []string{audience}) {
				t.Errorf("it is for %s at %s", read.Subject, read.Audience)
			}
			c.EndpointParams = url.Values{"audience": {"https://logs.example.com"}}
			if token, err = c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := service.verifier.Verify(t.Context(), token.AccessToken); err == nil {
				t.Error("a token for another service is accepted")
			}
		})
	}
}

// S-028 and S-029: what is refused has the status and the code of RFC 6749 §5.2.
func TestClientCredentialsOfGoThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	worker, other := s.worker("worker@acme.example", audience), s.worker("other@acme.example", audience)
	for _, tt := range []struct {
		name   string
		change func(*clientcredentials.Config)
		status int
		code   string
	}{
		{"the secret of another", func(c *clientcredentials.Config) { c.ClientSecret = other.ClientSecret }, http.StatusUnauthorized, "invalid_client"},
		{"no secret at all", func(c *clientcredentials.Config) { c.ClientSecret = "" }, http.StatusUnauthorized, "invalid_client"},
		{"a client that there is not", func(c *clientcredentials.Config) { c.ClientID = agentidp.NewID(time.Now()) }, http.StatusUnauthorized, "invalid_client"},
		{"a scope that it does not have", func(c *clientcredentials.Config) { c.Scopes = []string{"deploy:nowhere"} }, http.StatusBadRequest, "invalid_scope"},
		{"a service that it does not know", func(c *clientcredentials.Config) {
			c.EndpointParams = url.Values{"resource": {"https://other.example.com"}}
		}, http.StatusBadRequest, "invalid_target"},
		{"a grant that there is not", func(c *clientcredentials.Config) {
			c.EndpointParams = url.Values{"grant_type": {"password"}}
		}, http.StatusBadRequest, "unsupported_grant_type"},
	} {
		for _, style := range styles {
			c := worker
			c.AuthStyle = style.style
			tt.change(&c)
			_, err := c.Token(t.Context())
			if status, code := refusal(t, err); status != tt.status || code != tt.code {
				t.Errorf("%s, %s: %d %s, want %d %s", tt.name, style.name, status, code, tt.status, tt.code)
			}
		}
	}
}

// An HTTP client that x/oauth2 makes gets its tokens by itself. With one for our own API
// an agent reads what is said of it, as far as its scopes go.
func TestAnHTTPClientOfGoGetsItsTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	worker := s.worker("worker@acme.example", s.issuer+"/api/v1")
	if _, err := s.admin.UpdateAgent(t.Context(), worker.ClientID, map[string]any{"capabilities": []string{"agents:read"}}); err != nil {
		t.Fatal(err)
	}
	hc := worker.Client(t.Context())
	for path, want := range map[string]int{"/api/v1/agents/" + worker.ClientID: http.StatusOK, "/api/v1/oidc/trust-policies": http.StatusForbidden} {
		resp, err := hc.Get(s.issuer + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// S-043: the assertion of golang.org/x/oauth2/jwt is a workload's own token (RFC 7523). It
// names no agent, so it is good to register one.
func TestTheJWTBearerGrantOfGo(t *testing.T) {
	t.Parallel()
	s := newServer(t, "ES256")
	const issuer = "https://batch.acme.example"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "batch", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.CreateProvider(t.Context(), agentidp.ProviderSpec{Name: "batch", Issuer: issuer, JWKS: keys}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{Provider: "batch", Claims: agentidp.ClaimConditions{"sub": {"nightly"}}}); err != nil {
		t.Fatal(err)
	}
	c := jwt.Config{
		Email: issuer, Subject: "nightly", Audience: s.issuer, TokenURL: s.issuer + "/oauth2/token", PrivateKeyID: "batch",
		PrivateKey: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	resp, err := c.Client(t.Context()).Post(s.issuer+"/api/v1/agents", "application/json", bytes.NewReader([]byte(`{"name":"nightly@acme.example"}`)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("registering an agent is answered %s", resp.Status)
	}
	for sub, aud := range map[string]string{"daily": s.issuer, "nightly": s.issuer + "/oauth2/token"} {
		c := c
		c.Subject, c.Audience = sub, aud
		_, err := c.TokenSource(t.Context()).Token()
		e, ok := errors.AsType[*oauth2.RetrieveError](err)
		var body struct{ Error string }
		if !ok || json.Unmarshal(e.Body, &body) != nil || e.Response.StatusCode != http.StatusBadRequest || body.Error != "invalid_grant" {
			t.Errorf("an assertion of %s for %s: %v", sub, aud, fmt.Sprint(err))
		}
	}
}
