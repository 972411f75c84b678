package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

// ready is the first line that a child prints.
type ready struct {
	URL        string                     `json:"url"`
	AgentID    string                     `json:"agentId,omitempty"`
	Credential agentidp.CreatedCredential `json:"credential,omitzero"` // of the agent, good for as long as the run
}

// usage is what a child has used so far; it answers each line on its standard
// input with one.
type usage struct {
	CPU     time.Duration `json:"cpu"`
	Mallocs uint64        `json:"mallocs"`
	Bytes   uint64        `json:"bytes"`
	Batches int64         `json:"batches"`
	Members int64         `json:"members"`

	Answered map[int]int64 `json:"answered,omitempty"` // by status: of an attacker
}

// child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ready ready
}

func startChild(ctx context.Context, role string, env ...string) (*child, error) {
	return launch(ctx, nil, role, nil, env...)
}

// launch starts a child behind other words of a command, and says something to it first.
func launch(ctx context.Context, before []string, role string, say []byte, env ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	words := slices.Concat(before, []string{exe})
	c := &child{cmd: exec.CommandContext(ctx, words[0], words[1:]...)}
	c.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = c.in.Write(say)
	if err = errors.Join(err, c.read(&c.ready)); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, errors.Join(err, c.stop()))
	}
	return c, nil
}

func (c *child) read(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func (c *child) usage() (u usage, err error) {
	if _, err = fmt.Fprintln(c.in); err != nil {
		return u, err
	}
	return u, c.read(&u)
}

func (c *child) stop() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

// attend is a child's side: it says that it is ready and answers each line with
// its usage, until its standard input ends.
func attend(r ready, extra func(*usage)) error { return attendTo(os.Stdin, r, extra) }

func attendTo(in io.Reader, r ready, extra func(*usage)) error {
	enc := json.NewEncoder(os.Stdout)
	if err := enc.Encode(r); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		cpu, err := cpuTime()
		if err != nil {
			return err
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		u := usage{CPU: cpu, Mallocs: mem.Mallocs, Bytes: mem.TotalAlloc}
		extra(&u)
		if err := enc.Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// cpuTime returns what this process has used so far, in user and system mode.
func cpuTime() (time.Duration, error) {
	var rusage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &rusage)
	return time.Duration(rusage.Utime.Nano() + rusage.Stime.Nano()), err
}

// limits are those of every server, and where it is measured what an exchange costs the
// load stays below them: it comes from one address, for one repository, and a flood speaks
// for other addresses.
func limits() config.Limits {
	l := config.Limits{
		RefusalsPerMinute: 60, AddressRequestsPerMinute: 12_000, AddressFailuresPerMinute: 300, ExchangesPerMinute: 600,
		ClientRequestsPerMinute: 6000, AgentTokensPerMinute: 1200, TokenRequestsPerMinute: 3000, MaxConnections: 4096, AddressConnections: 1024,
	}
	if os.Getenv(attackedVariable) == "" {
		l.TrustedProxies, l.AddressRequestsPerMinute = []string{"127.0.0.1"}, 10_000_000
		l.ExchangesPerMinute, l.ClientRequestsPerMinute, l.AgentTokensPerMinute = 10_000_000, 10_000_000, 10_000_000
	}
	return l
}

// serve is the child that runs AgentIdP, with one agent and its policy.
func serve(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "agentidp-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg := config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(dir, "data"), DatabaseURL: os.Getenv("AGENTIDP_BENCH_DATABASE_URL"), MasterKey: os.Getenv("AGENTIDP_BENCH_MASTER_KEY")},
		PublicURL: "http://" + listener.Addr().String(), GitHubIssuer: os.Getenv("AGENTIDP_BENCH_ISSUER"),
		MetricsListen: config.Off, SigningAlg: "ES256", TokenTTL: 15 * time.Minute, KeepClaims: 30 * 24 * time.Hour, Dev: true,
		Listen:      listener.Addr().String(),
		TLSCertFile: os.Getenv(certificateVariable), TLSKeyFile: os.Getenv(keyVariable), Limits: limits(),
	}
	if cfg.TLS() {
		cfg.PublicURL = "https://" + listener.Addr().String()
	}
	if err := cfg.Complete(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY, 0o600) // the log costs what it costs
	if err != nil {
		return err
	}
	defer log.Close()
	a, err := app.New(ctx, app.Options{Config: cfg, Version: "bench", Logger: slog.New(slog.NewJSONHandler(log, nil)), Listener: listener})
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
	agent, err := prepare(ctx, a)
	if err == nil {
		err = attend(*agent, func(u *usage) {
			s := a.CommitStats()
			u.Batches, u.Members = s.Batches, s.Members
		})
	}
	cancel()
	return errors.Join(err, <-done)
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

// prepare registers the agent, its policy and its secret.
func prepare(ctx context.Context, a *app.App) (*ready, error) {
	token, _, err := a.AdminToken(ctx, agentidp.DefaultOrganization, "", 0)
	if err != nil {
		return nil, err
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
	return &ready{URL: a.URL(), AgentID: agent.AgentID, Credential: *secret}, nil
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
