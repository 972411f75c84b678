package thirdparty_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/printed"
)

const (
	repository = "acme/deploy"
	audience   = "https://deploy.example.com"
)

// clock stands still but for advance. The server, its CI issuer, the relying parties
// and their caches all go by it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// server is a running server with the CI issuer that it trusts, and one organization
// of it, in which an agent gets tokens.
type server struct {
	t      *testing.T
	clock  *clock
	cfg    config.Config
	app    *app.App
	stop   func()
	ci     *emulator.Emulator
	slug   string
	issuer string         // the organization's
	admin  *client.Client // of its administrator
	agent  string
}

func newServer(t *testing.T, alg string) *server {
	t.Helper()
	s := &server{t: t, clock: &clock{now: time.Now().Truncate(time.Second)}, slug: "acme"}
	ci := httptest.NewUnstartedServer(nil)
	ciURL := "http://" + ci.Listener.Addr().String()
	var err error
	if s.ci, err = emulator.New(emulator.Config{Issuer: ciURL, Run: emulator.Run{Repository: repository}, Clock: s.clock.Now}); err != nil {
		t.Fatal(err)
	}
	ci.Config.Handler = s.ci.Handler()
	ci.Start()
	t.Cleanup(ci.Close)

	listener := listen(t, "127.0.0.1:0")
	url := "http://" + listener.Addr().String()
	s.cfg = config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(t.TempDir(), "data")},
		PublicURL: url, Listen: listener.Addr().String(), GitHubIssuer: ciURL, Dev: true,
		SigningAlg: alg, TokenTTL: 15 * time.Minute, KeyRotation: day, Limits: config.Limits{RefusalsPerMinute: 100},
	}
	s.issuer = url + "/o/" + s.slug
	s.start(listener)
	t.Cleanup(func() { s.stop() })
	if _, err := s.app.CreateOrganization(t.Context(), s.slug, "Acme"); err != nil {
		t.Fatal(err)
	}
	s.agentWithPolicy()
	return s
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *server) start(listener net.Listener) {
	s.t.Helper()
	if err := s.cfg.Complete(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	var err error
	s.app, err = app.New(ctx, app.Options{Config: s.cfg, Version: "test", Listener: listener, Clock: s.clock.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
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
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the server ended with: %v", err)
		}
		printed.Log(s.t, log.Bytes())
	})
}

// restart ends the server and starts it again, when it looks for keys whose time is
// over.
func (s *server) restart() {
	s.t.Helper()
	s.stop()
	http.DefaultClient.CloseIdleConnections()
	s.start(listen(s.t, s.cfg.Listen))
}

func (s *server) agentWithPolicy() {
	s.t.Helper()
	token, _, err := s.app.AdminToken(s.t.Context(), s.slug, "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin = &client.Client{BaseURL: s.issuer, Token: token}
	agent, err := s.admin.RegisterAgent(s.t.Context(), agentidp.AgentSpec{Name: "deployer@ci.acme.example"})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.admin.CreateTrustPolicy(s.t.Context(), agentidp.TrustPolicySpec{
		Provider: "github", Repository: repository, Branch: "main", AgentID: agent.AgentID, Audiences: []string{audience},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.agent = agent.AgentID
}

// exchange is a CI job that gets an access token. "Try again" may be answered at any
// point; each attempt takes a fresh ID token.
func (s *server) exchange() (string, error) {
	c := &client.Client{BaseURL: s.issuer}
	for deadline := time.Now().Add(time.Minute); ; {
		subject, err := s.ci.Mint(emulator.Options{Audience: s.issuer})
		if err != nil {
			return "", err
		}
		answer, err := c.Exchange(s.t.Context(), client.ExchangeRequest{Token: subject, AgentID: s.agent})
		if err == nil {
			return answer.AccessToken, nil
		}
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != agentidp.CodeTemporarilyUnavailable || time.Now().After(deadline) {
			return "", err
		}
	}
}
