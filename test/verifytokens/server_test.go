package verifytokens_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/printed"
)

const (
	repository = "acme/deploy"
	audience   = "https://deploy.example.com" // as on the page
	elsewhere  = "https://billing.example.com"
	rsaKey     = "rsa" // kid
)

// server is a running server with the CI issuer that it trusts. Its clock and the
// issuer's are behind the services' by some time.
type server struct {
	t      *testing.T
	cfg    config.Config
	app    *app.App
	ci     *emulator.Emulator
	behind atomic.Int64
	jwks   atomic.Int64 // requests for key sets
	rsa    *rsa.PrivateKey
	url    string
}

func (s *server) now() time.Time { return time.Now().Add(-time.Duration(s.behind.Load())) }

// newServer starts a server, behind a proxy that counts, whose clock is behind.
func newServer(t *testing.T, behind time.Duration) *server {
	t.Helper()
	s := &server{t: t}
	s.behind.Store(int64(behind))
	ci := httptest.NewUnstartedServer(nil)
	ciURL := "http://" + ci.Listener.Addr().String()
	var err error
	if s.ci, err = emulator.New(emulator.Config{Issuer: ciURL, Run: emulator.Run{Repository: repository}, Clock: s.now}); err != nil {
		t.Fatal(err)
	}
	ci.Config.Handler = s.ci.Handler()
	ci.Start()
	t.Cleanup(ci.Close)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	s.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	proxy.ModifyResponse = s.publish
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/jwks.json") {
			s.jwks.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.url = front.URL
	s.cfg = config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(t.TempDir(), "data")},
		PublicURL: s.url, Listen: listener.Addr().String(), GitHubIssuer: ciURL, Dev: true,
		SigningAlg: "ES256", TokenTTL: 15 * time.Minute, KeyRotation: 30 * 24 * time.Hour, Limits: config.Limits{RefusalsPerMinute: 100},
	}
	s.run(listener)
	return s
}

// publish adds an RSA key to the key sets, as when the algorithm was another before.
func (s *server) publish(resp *http.Response) error {
	if !strings.HasSuffix(resp.Request.URL.Path, "/jwks.json") {
		return nil
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return err
	}
	set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.rsa.Public(), KeyID: rsaKey, Algorithm: "RS256", Use: "sig"})
	body, err := json.Marshal(set)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (s *server) run(listener net.Listener) {
	s.t.Helper()
	if err := s.cfg.Complete(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	var err error
	s.app, err = app.New(ctx, app.Options{Config: s.cfg, Version: "test", Listener: listener, Clock: s.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	key, err := os.ReadFile(s.cfg.MasterKeyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	printed.Secret(s.t, string(key))
	done := make(chan error, 1)
	go func() { done <- s.app.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the server ended with: %v", err)
		}
		printed.Log(s.t, log.Bytes())
	})
}

// tenant is one organization, in which an agent gets tokens with either of two scopes
// for any of some services.
type tenant struct {
	*server
	org   *agentidp.Organization
	agent string
}

func (s *server) newTenant(slug string, audiences ...string) *tenant {
	s.t.Helper()
	org, err := s.app.CreateOrganization(s.t.Context(), slug, slug)
	if err != nil {
		s.t.Fatal(err)
	}
	admin := s.admin(org)
	agent, err := admin.RegisterAgent(s.t.Context(), agentidp.AgentSpec{
		Name: "deployer@ci.example.com", Capabilities: []string{"deploy:staging", "deploy:staging-eu"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = admin.CreateTrustPolicy(s.t.Context(), agentidp.TrustPolicySpec{
		Provider: "github", Repository: repository, Branch: "main", AgentID: agent.AgentID, Audiences: audiences,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return &tenant{server: s, org: org, agent: agent.AgentID}
}

func (s *server) admin(org *agentidp.Organization) *client.Client {
	s.t.Helper()
	token, _, err := s.app.AdminToken(s.t.Context(), org.Slug, "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return &client.Client{BaseURL: org.Issuer, Token: token}
}

// idToken is what a CI job has before the exchange.
func (o *tenant) idToken(audience string) string {
	o.t.Helper()
	token, err := o.ci.Mint(emulator.Options{Audience: audience})
	if err != nil {
		o.t.Fatal(err)
	}
	return token
}

// exchange is a CI job that gets an access token.
func (o *tenant) exchange(scope, audience string) string {
	o.t.Helper()
	answer, err := (&client.Client{BaseURL: o.org.Issuer}).Exchange(o.t.Context(), client.ExchangeRequest{
		Token: o.idToken(o.org.Issuer), AgentID: o.agent, Scope: scope, Audience: audience,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return answer.AccessToken
}
