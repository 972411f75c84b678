package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip" // it also registers with http.DefaultServeMux, which nothing here serves
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/metrics"
)

// watchers is how many connections those who watch have at once: few, so that whoever else
// reaches them takes none from clients, of whom the process may have only so many. Beyond
// it the one that has kept the server waiting longest makes room.
const watchers = 32

// listenForMetrics opens the listener of those who watch, apart from that of clients:
// what it serves is for nobody else. A server that cannot have it does not start,
// because alerts that are never evaluated look like good news.
func (a *App) listenForMetrics(ctx context.Context) error {
	if a.cfg.MetricsListen == config.Off {
		return nil
	}
	var err error
	if a.watched, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.MetricsListen); err != nil {
		return fmt.Errorf("metrics-listen (AGENTIDP_METRICS_LISTEN): %w; give another address, or off for none", err)
	}
	a.watched = &limit.Listener{Listener: a.watched, Total: watchers, Trusted: func(netip.Addr) bool { return false }, Refused: func(netip.Addr) {}}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	if a.cfg.Pprof {
		profiles(mux)
	}
	a.watch = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _ := r.Context().Value(connKey{}).(*limit.Conn)
			conn.Begin()
			defer conn.End()
			mux.ServeHTTP(w, r)
		}),
		ConnContext:       withConn,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      time.Minute, // a scrape waits for the database a little; profiles set their own
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
	return nil
}

// profiles serves the run-time's profiles. The command line is not among them: there
// may be a password in it.
func profiles(mux *http.ServeMux) {
	serve := func(pattern string, profile http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			// A page in a browser on this machine can have its own name resolve to
			// loopback.
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = r.Host
			}
			if !config.IsLoopback(strings.Trim(host, "[]")) {
				http.Error(w, "profiles are for this machine; ask for them by an address on loopback", http.StatusForbidden)
				return
			}
			profile(w, r)
		})
	}
	serve("GET /debug/pprof/", pprof.Index)
	serve("GET /debug/pprof/cmdline", http.NotFound)
	serve("GET /debug/pprof/profile", pprof.Profile)
	serve("GET /debug/pprof/symbol", pprof.Symbol)
	serve("GET /debug/pprof/trace", pprof.Trace)
}

// MetricsAddress returns the address that /metrics is served on; empty: it is not.
func (a *App) MetricsAddress() string {
	if a.watched == nil {
		return ""
	}
	return a.watched.Addr().String()
}

// serveMetrics serves until stop is called. That it ended otherwise is no reason to
// refuse exchanges.
func (a *App) serveMetrics() (stop func()) {
	if a.watch == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.watch.Serve(a.watched); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("metrics are served no more", "error", err)
		}
	}()
	return func() {
		_ = a.watch.Close() // a scrape is cut off, and the scraper says so
		<-done
	}
}

// grantNames are what grant types are called in metrics.
var grantNames = map[string]string{
	agentidp.GrantTokenExchange: "token_exchange", agentidp.GrantJWTBearer: "jwt_bearer", agentidp.GrantClientCredentials: "client_credentials",
}

// exchanged counts an exchange.
func (a *App) exchanged(r exchange.Result) {
	x := metrics.Exchange{Outcome: r.Outcome, Code: r.Code, Reason: r.Reason, Provider: r.Provider, Mode: "agent", Grant: grantNames[r.GrantType], Took: r.Took}
	if r.Bootstrap {
		x.Mode = "bootstrap"
	}
	a.metrics.Exchanged(x)
}

// sampleTime bounds what a scrape waits for the database.
const sampleTime = 2 * time.Second

// sample is what this node knows of itself now. It reads nothing but what /readyz
// reads.
func (a *App) sample() metrics.Sample {
	ctx, cancel := context.WithTimeout(context.Background(), sampleTime)
	defer cancel()
	now := a.clock()
	written, fetched := a.db.Stats(), a.verifier.Stats()
	s := metrics.Sample{
		Ready:          a.serves(ctx),
		Events:         written.Events,
		CommitFailures: written.Failures, CommitWaits: written.Waits,
		KeyFetches: fetched.Fetches, KeyFailures: fetched.Failures,
		ClockSlow: fetched.ClockSlow, ClockFast: fetched.ClockFast,
		DatabaseBytes: a.databaseBytes(),
	}
	if a.linesDropped != nil {
		s.LogLinesDropped = a.linesDropped()
	}
	if since := a.ring.OldestTurn(); !since.IsZero() {
		s.SigningKeyAge = now.Sub(since)
	}
	for _, source := range a.verifier.Sources() {
		issuer := metrics.Issuer{Host: "unknown", Reachable: !source.Failing, Age: -1, Ignored: source.Ignored}
		if u, err := url.Parse(source.Address); err == nil {
			issuer.Host = u.Hostname()
		}
		if !source.FetchedAt.IsZero() {
			issuer.Age = max(0, now.Sub(source.FetchedAt))
		}
		s.Issuers = append(s.Issuers, issuer)
	}
	return s
}

// serves reports whether new exchanges are for this node, as /readyz has it.
func (a *App) serves(ctx context.Context) bool {
	if a.ending.Load() {
		return false
	}
	org, err := a.registry.ReadOrganization(ctx, agentidp.DefaultOrganization)
	return err == nil && a.ready(ctx, org) == nil
}

// databaseBytes returns the sizes of the files of an embedded database.
func (a *App) databaseBytes() map[string]int64 {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		return nil
	}
	sizes := make(map[string]int64)
	for name, file := range map[string]string{"database": path, "wal": path + "-wal"} {
		if info, err := os.Stat(file); err == nil {
			sizes[name] = info.Size()
		}
	}
	return sizes
}
