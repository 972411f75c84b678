package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// The examples talk to a server that is running. It trusts acme/deploy to register
// agents, and runs of acme/website on main as the agent uploader, for the service at
// uploadHost.
var serverURL, adminToken, tokenFile, uploaderID, uploadHost string

func TestMain(m *testing.M) {
	end, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the server of the examples:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := end(); err != nil {
		fmt.Fprintln(os.Stderr, "end the server of the examples:", err)
		code = 1
	}
	os.Exit(code)
}

func start() (end func() error, err error) {
	dir, err := os.MkdirTemp("", "agentidp-client-")
	if err != nil {
		return nil, err
	}
	github := httptest.NewUnstartedServer(nil)
	ci, err := emulator.New(emulator.Config{Issuer: "http://" + github.Listener.Addr().String(), Run: emulator.Run{Repository: "acme/deploy"}})
	if err != nil {
		return nil, err
	}
	github.Config.Handler = ci.Handler()
	github.Start()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serverURL = "http://" + listener.Addr().String()
	cfg := config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(dir, "data")},
		PublicURL: serverURL, GitHubIssuer: github.URL, SigningAlg: "ES256", TokenTTL: 15 * time.Minute, Limits: config.Limits{RefusalsPerMinute: 60}, Dev: true,
		Listen: listener.Addr().String(),
	}
	if err := cfg.Complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := app.New(ctx, app.Options{Config: cfg, Version: "test", Listener: listener, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	service := httptest.NewServer(http.HandlerFunc(upload))
	uploadHost = strings.TrimPrefix(service.URL, "http://")
	end = func() error {
		service.Close()
		cancel()
		err := <-done
		github.Close()
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := prepare(ctx, server, ci); err != nil {
		return nil, errors.Join(err, end())
	}
	tokenFile = filepath.Join(dir, "admin.token")
	return end, os.WriteFile(tokenFile, []byte(adminToken+"\n"), 0o600)
}

// prepare makes what the examples find, and one exchange that is denied.
func prepare(ctx context.Context, server *app.App, ci *emulator.Emulator) (err error) {
	if adminToken, _, err = server.AdminToken(ctx, agentidp.DefaultOrganization, "", 0); err != nil {
		return err
	}
	admin := &client.Client{BaseURL: serverURL, Token: adminToken}
	agent, err := admin.RegisterAgent(ctx, agentidp.AgentSpec{Name: "uploader@acme.example"})
	if err != nil {
		return err
	}
	uploaderID = agent.AgentID
	for _, spec := range []agentidp.TrustPolicySpec{
		{Provider: "github", Repository: "acme/deploy", TrustRegisteredAgents: true},
		{Provider: "github", Repository: "acme/deploy", AgentID: uploaderID, Audiences: []string{"https://upload.example.com"}},
		{Provider: "github", Repository: "acme/website", Branch: "main", AgentID: uploaderID},
	} {
		if _, err := admin.CreateTrustPolicy(ctx, spec); err != nil {
			return err
		}
	}
	token, err := ci.Mint(emulator.Options{Audience: serverURL, Run: &emulator.Run{Repository: "acme/website", Ref: "refs/heads/feature"}})
	if err != nil {
		return err
	}
	_, err = admin.Exchange(ctx, client.ExchangeRequest{Token: token, AgentID: uploaderID})
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != agentidp.CodeBranchNotPermitted {
		return fmt.Errorf("the exchange was not denied: %w", err)
	}
	return errors.Join(os.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", ci.RequestURL()), os.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ci.RequestToken()))
}

// upload is a service that takes a report from whoever has an agent's token for it.
func upload(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	is, err := (&client.Client{BaseURL: serverURL}).Introspect(r.Context(), token)
	if err != nil || !is.Active || is.Audience != "https://upload.example.com" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	fmt.Fprint(w, "thank you, ", is.AgentName)
}
