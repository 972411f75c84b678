package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

// limits are those of every server under attack. Where it is measured what an exchange costs
// the load stays below them: it comes from one address, for one repository, and a flood speaks
// for other addresses. What is refused is not limited either, unless a flood is to be.
func limits() config.Limits {
	l := config.Limits{
		RefusalsPerMinute: 60, AddressRequestsPerMinute: 12_000, AddressFailuresPerMinute: 300, ExchangesPerMinute: 600,
		ClientRequestsPerMinute: 6000, AgentTokensPerMinute: 1200, TokenRequestsPerMinute: 3000, MaxConnections: 4096, AddressConnections: 1024,
	}
	if os.Getenv(attackedVariable) == "" {
		l.TrustedProxies, l.AddressRequestsPerMinute = []string{"127.0.0.1"}, 10_000_000
		l.ExchangesPerMinute, l.ClientRequestsPerMinute, l.AgentTokensPerMinute = 10_000_000, 10_000_000, 10_000_000
	}
	if os.Getenv(unlimitedVariable) != "" {
		l.RefusalsPerMinute, l.AddressFailuresPerMinute = 1_000_000, 10_000_000
	}
	return l
}

// serve is the child that runs AgentIdP, with one agent and its policy.
func serve(ctx context.Context) (err error) {
	if err := countSyncs(); err != nil {
		return err
	}
	dir := os.Getenv(folderVariable)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "agentidp-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cfg, listener, err := configure(ctx, dir)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // the log costs what it costs
	if err != nil {
		return err
	}
	defer log.Close()
	a, err := app.New(ctx, app.Options{Config: *cfg, Version: "bench", Logger: slog.New(slog.NewJSONHandler(log, nil)), Listener: listener})
	if err != nil {
		return err
	}
	stopProfile, err := startProfile(os.Getenv(profileVariable))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopProfile()) }()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r, err := prepare(ctx, a, ownURL(listener))
	if err == nil {
		err = attend(*r, func(u *usage) {
			s := a.CommitStats()
			u.Batches, u.Members, u.Syncs = s.Batches, s.Members, synced.Load()
		})
	}
	cancel()
	return errors.Join(err, <-done)
}

// configure is the configuration of a server, and where it listens.
func configure(ctx context.Context, dir string) (*config.Config, net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	cfg := &config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(dir, "data"), DatabaseURL: os.Getenv("AGENTIDP_BENCH_DATABASE_URL"), MasterKey: os.Getenv("AGENTIDP_BENCH_MASTER_KEY")},
		PublicURL: ownURL(listener), GitHubIssuer: os.Getenv("AGENTIDP_BENCH_ISSUER"),
		MetricsListen: config.Off, SigningAlg: "ES256", TokenTTL: 15 * time.Minute, KeepClaims: 30 * 24 * time.Hour, Dev: true,
		Listen:      listener.Addr().String(),
		TLSCertFile: os.Getenv(certificateVariable), TLSKeyFile: os.Getenv(keyVariable), Limits: limits(),
	}
	if shared := os.Getenv(joinVariable); shared != "" {
		cfg.PublicURL = shared
	}
	return cfg, listener, cfg.Complete()
}

// ownURL is that of a server, whatever the installation's is.
func ownURL(l net.Listener) string {
	scheme := "http"
	if os.Getenv(certificateVariable) != "" {
		scheme = "https"
	}
	return scheme + "://" + l.Addr().String()
}

func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// prepare registers the agent, its policy and its secret, where no other has done it.
func prepare(ctx context.Context, a *app.App, own string) (*ready, error) {
	token, _, err := a.AdminToken(ctx, agentidp.DefaultOrganization, "", 0)
	if err != nil {
		return nil, err
	}
	r := &ready{URL: own, AdminToken: token}
	if os.Getenv(joinVariable) != "" || os.Getenv(againVariable) != "" {
		return r, nil
	}
	hc, err := certified(os.Getenv(certificateVariable))
	if err != nil {
		return nil, err
	}
	admin := &client.Client{BaseURL: a.URL(), Token: token, HTTP: hc}
	agent, err := admin.RegisterAgent(ctx, agentidp.AgentSpec{Name: "bench@acme.example", Capabilities: []string{"deploy:staging"}, Audiences: []string{benchAudience}})
	if err != nil {
		return nil, err
	}
	for _, repository := range append(honestRepositories(), benchRepository) {
		_, err = admin.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{
			Provider: "github", Repository: repository, Branch: "main", AgentID: agent.AgentID, Audiences: []string{benchAudience},
		})
		if err != nil {
			return nil, err
		}
	}
	secret, err := admin.CreateCredential(ctx, agent.AgentID, agentidp.CredentialSpec{Type: agentidp.CredentialSecret})
	if err != nil {
		return nil, err
	}
	r.AgentID, r.Credential = agent.AgentID, *secret
	return r, nil
}

// echo is the child that answers with what it was sent: what HTTP alone costs.
func echo(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the load left
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	err = attend(ready{URL: "http://" + listener.Addr().String()}, func(*usage) {})
	err = errors.Join(err, server.Close())
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
