// Package app wires the server together: storage, keys, verification, the
// stories, the HTTP server around them, and an orderly end. It is the only
// package that knows all others.
//
// It does not own any rule of the product.
package app

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/api"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/metrics"
	"github.com/sentryagent/agentidp/internal/oauth"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Options is what a server is made of. Config must be complete (see
// config.Config.Complete).
type Options struct {
	Config  config.Config
	Version string
	Logger  *slog.Logger
	// Listener, when set, is used instead of listening on Config.Listen.
	Listener net.Listener
	// Clock, when set, replaces the system's.
	Clock func() time.Time
	// Resolver, when set, is asked for the addresses of issuers.
	Resolver *net.Resolver
}

// App is one server.
type App struct {
	cfg      config.Config
	logger   *slog.Logger
	clock    func() time.Time
	lock     *dataLock
	db       *store.DB
	ring     *keys.Ring
	tokens   *token.Tokens
	registry *registry.Registry
	resolver *net.Resolver
	verifier *verify.Verifier
	exchange *exchange.Exchanger
	metrics  *metrics.Metrics
	routes   routes
	listener net.Listener
	http     *http.Server
	watched  net.Listener // of the metrics; nil: they are not served
	watch    *http.Server
	proxies  proxies
	entrance *admission
	ending   atomic.Bool // the end was asked for

	certificates *certificates // nil without TLS

	retention struct {
		sync.Mutex
		RetentionStats
	}
}

// New opens storage, proves the master key, and listens. When it returns, the
// server answers as soon as Run is called; on error nothing stays open.
func New(ctx context.Context, opt Options) (_ *App, err error) {
	a := &App{cfg: opt.Config, logger: opt.Logger, clock: stored(opt.Clock), listener: opt.Listener, resolver: opt.Resolver, metrics: metrics.New(opt.Version)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := dataFolder(a.cfg.DataDir); err != nil {
		return nil, err
	}
	if a.lock, err = lockData(a.cfg.DataDir); err != nil {
		return nil, err
	}
	if err := a.notLost(); err != nil {
		return nil, err
	}
	if err := a.open(ctx); err != nil {
		return nil, damaged(err)
	}
	if a.proxies, err = a.cfg.Proxies(); err != nil {
		return nil, err
	}
	a.entrance = newAdmission(&a.cfg.Limits, a.clock)
	a.wire(opt.Version)
	if a.cfg.TLS() {
		if a.certificates, err = newCertificates(&a.cfg, a.clock, a.logger); err != nil {
			return nil, err
		}
		a.certificates.serve(a.http)
	}
	if a.listener == nil {
		if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen (AGENTIDP_LISTEN): %w", err)
		}
	}
	a.listener = &limit.Listener{
		Listener: a.listener, Total: a.cfg.MaxConnections, PerAddress: a.cfg.AddressConnections, Trusted: a.proxies.trust, Refused: a.refusedConnection,
	}
	if err := a.listenForMetrics(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) newVerifier(kinds map[string]*agentidp.ProviderKind) *verify.Verifier {
	return verify.New(verify.Config{
		Kinds: kinds, Clock: a.clock, Logger: a.logger, Load: a.loadKeySet, Save: a.saveKeySet,
		Hosts: a.cfg.IssuerHosts, Configured: []string{a.cfg.GitHubIssuer}, AllowInsecureLoopback: a.cfg.Dev, Resolver: a.resolver,
	})
}

// wire connects the stories with HTTP.
func (a *App) wire(version string) {
	a.verifier = a.newVerifier(a.registry.Kinds)
	a.registry.Verifier = a.verifier
	a.exchange = exchange.New(exchange.Config{
		DB: a.db, Verifier: a.verifier, Tokens: a.tokens, Organization: a.registry.ReadOrganization,
		Providers: a.registry.Providers, TokenTTL: a.cfg.TokenTTL, RefusalsPerMinute: a.cfg.RefusalsPerMinute, ExchangesPerMinute: a.cfg.ExchangesPerMinute, Clock: a.clock, Logger: a.logger,
		Observe: a.exchanged,
	})
	api.New(&a.routes, api.Config{Registry: a.registry, Exchanger: a.exchange, Audit: audit.New(a.db), Tokens: a.tokens, Version: version})
	oauth.New(&a.routes, a.ring, a.tokens, a.cfg.SigningAlg)
	a.routes.HandleFunc("GET "+healthPath, a.healthz)
	a.routes.HandleFunc("GET "+readyPath, a.readyz)
	a.metrics.Read(a.sample)
	a.http = &http.Server{
		Handler:           a.handler(&a.routes.ServeMux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(&serverLog{logger: a.logger, clock: a.clock}, "", 0),
	}
}

// URL returns the public URL, which is the default organization's issuer.
func (a *App) URL() string { return a.cfg.PublicURL }

// Address returns the address that the server listens on.
func (a *App) Address() string { return a.listener.Addr().String() }

// LookAtCertificates reads the TLS certificate again if it is another than before.
func (a *App) LookAtCertificates() {
	if a.certificates != nil {
		a.certificates.look()
	}
}

// grace is how long requests under way may take to finish once new ones are
// refused.
const grace = 10 * time.Second

// Run serves until ctx is done, then for as long as Config.Drain says as before,
// but for telling everybody to go elsewhere; then it refuses new connections, lets
// requests under way finish for at most ten seconds, and closes storage. It returns
// nil after an orderly end.
func (a *App) Run(ctx context.Context) error {
	easeCollector()
	aside, stopAside := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { a.removeAlways(aside) })
	done.Go(func() { a.rotateAlways(aside) })

	stopLooking := a.certificates.watch(ctx)
	stopMetrics := a.serveMetrics()
	served := make(chan error, 1)
	go func() {
		if a.certificates != nil {
			served <- a.http.ServeTLS(a.listener, "", "")
			return
		}
		served <- a.http.Serve(a.listener)
	}()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		err = a.end(context.WithoutCancel(ctx))
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	stopMetrics()
	stopAside()
	done.Wait()
	stopLooking()
	return errors.Join(err, a.close())
}

// end takes leave of clients before it closes anything. Closing a kept-alive
// connection at once would break the request that may just be on its way over it
// (RFC 9112 §9.5); so each connection ends with an answer that says so, and load
// balancers see that /readyz fails. What is idle even then is closed.
func (a *App) end(ctx context.Context) error {
	a.ending.Store(true)
	time.Sleep(a.cfg.Drain)
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := a.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // any stranger can send slowly, and is no failure of ours
		a.logger.Warn("requests were cut off that were still under way when the time to finish was over", "after", grace)
		return a.http.Close()
	}
	return err
}

// easeCollector lets the heap grow to five times what is live before it is
// collected, unless GOGC says otherwise. Only a few MB are live, and the default
// would collect them many times a second under load, for a quarter of the CPU of an
// exchange (docs/performance.md).
func easeCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// close ends what New opened, in the reverse order.
func (a *App) close() error {
	var errs []error
	for _, listener := range []net.Listener{a.listener, a.watched} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.verifier != nil {
		a.verifier.Close()
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.release())
	}
	return errors.Join(errs...)
}
