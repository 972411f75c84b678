// Package app wires the server together: storage, keys, verification, the
// stories, the HTTP server around them, and an orderly end. It is the only
// package that knows all others.
//
// It does not own any rule of the product.
package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/api"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/grant"
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
	// LinesDropped, when set, says how many lines of the log were dropped so far.
	LinesDropped func() int64
	// Listener, when set, is used instead of listening on Config.Listen.
	Listener net.Listener
	// Clock, when set, replaces the system's.
	Clock func() time.Time
	// Resolver, when set, is asked for the addresses of issuers.
	Resolver *net.Resolver
	// Authorities, when set, are those whose certificates issuers may have, instead of
	// the system's. Tests alone set it: an operator adds to the system's.
	Authorities *x509.CertPool
}

// App is one server.
type App struct {
	cfg         config.Config
	logger      *slog.Logger
	clock       func() time.Time
	lock        *dataLock
	db          *store.DB
	ring        *keys.Ring
	tokens      *token.Tokens
	registry    *registry.Registry
	resolver    *net.Resolver
	authorities *x509.CertPool
	verifier    *verify.Verifier
	exchange    *exchange.Exchanger
	clients     *credential.Authenticator
	granter     *grant.Granter
	metrics     *metrics.Metrics
	routes      routes
	listener    net.Listener
	http        *http.Server
	watched     net.Listener // of the metrics; nil: they are not served
	watch       *http.Server
	proxies     proxies
	recorded    map[string][]string // claims that are kept beside those that kinds list
	entrance    *admission
	ending      atomic.Bool // the end was asked for
	looked      bool        // for damage, whole, before anything was answered

	certificates *certificates // nil without TLS
	linesDropped func() int64  // nil: none ever are

	follow following

	retention struct {
		sync.Mutex
		RetentionStats
		glance glance // of this process at its clock
	}
}

// New opens storage, proves the master key, and listens. When it returns, the
// server answers as soon as Run is called; on error nothing stays open.
func New(ctx context.Context, opt Options) (_ *App, err error) {
	a := &App{cfg: opt.Config, logger: opt.Logger, clock: stored(opt.Clock), listener: opt.Listener, resolver: opt.Resolver, authorities: opt.Authorities, metrics: metrics.New(opt.Version), linesDropped: opt.LinesDropped, follow: following{called: make(chan struct{}, 1), differ: map[string]string{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.recorded, err = a.cfg.Recorded(); err != nil {
		return nil, err
	}
	if err := dataFolder(a.cfg.DataDir); err != nil {
		return nil, err
	}
	if a.lock, err = lockData(a.cfg.DataDir, usedByAnother); err != nil {
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
	a.entrance = newAdmission(&a.cfg.Limits)
	a.wire(opt.Version)
	if a.cfg.TLS() {
		if a.certificates, err = newCertificates(&a.cfg, a.clock, a.logger); err != nil {
			return nil, err
		}
		a.certificates.serve(a.http)
	}
	if a.listener == nil {
		if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen (AGENTIDP_LISTEN): %w; %s", err, listenRemedy(err))
		}
	}
	a.listener = &limit.Listener{
		Listener: a.listener, Total: a.connections(), PerAddress: a.cfg.AddressConnections, Multiplexed: maxMultiplexed, Trusted: a.proxies.trust, Refused: a.refusedConnection,
	}
	if err := a.listenForMetrics(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// waitersOf returns how many requests wait for the keys of one issuer. Whoever waits has one
// of the places: all of them together half.
func waitersOf(l *config.Limits) int {
	return max(1, placesOf(l)/2/verify.AllWaiters)
}

func (a *App) newVerifier(kinds map[string]*agentidp.ProviderKind) *verify.Verifier {
	return verify.New(verify.Config{
		Waiters: waitersOf(&a.cfg.Limits),
		Kinds:   kinds, Clock: a.clock, Logger: a.logger, Load: a.loadKeySet, Save: a.saveKeySet, Begin: a.beginKeySet,
		Hosts: a.cfg.IssuerHosts, Configured: []string{a.cfg.GitHubIssuer}, AllowInsecureLoopback: a.cfg.Dev, Resolver: a.resolver, RootCAs: a.authorities,
	})
}

// wire connects the stories with HTTP.
func (a *App) wire(version string) {
	a.verifier = a.newVerifier(a.registry.Kinds)
	a.registry.Verifier = a.verifier
	agents := token.NewAgentLimit(a.cfg.AgentTokensPerMinute)
	a.exchange = exchange.New(exchange.Config{
		DB: a.db, Verifier: a.verifier, Tokens: a.tokens, Organization: a.registry.ReadOrganization,
		Providers: a.registry.Providers, TokenTTL: a.cfg.TokenTTL, KeepClaims: a.cfg.KeepClaims > 0, RecordClaims: a.recorded, RefusalsPerMinute: a.cfg.RefusalsPerMinute, ExchangesPerMinute: a.cfg.ExchangesPerMinute, Agents: agents, Clock: a.clock, Logger: a.logger,
		Observe: a.exchanged,
	})
	a.clients = credential.New(credential.Config{DB: a.db, Clock: a.clock, RequestsPerMinute: a.cfg.ClientRequestsPerMinute})
	a.granter = grant.New(grant.Config{
		DB: a.db, Tokens: a.tokens, Clients: a.clients, Organization: a.registry.ReadOrganization, TokenTTL: a.cfg.TokenTTL,
		RefusalsPerMinute: a.cfg.RefusalsPerMinute, Agents: agents, Clock: a.clock,
	})
	api.New(&a.routes, api.Config{Registry: a.registry, Exchanger: a.exchange, Audit: audit.New(a.db), Tokens: a.tokens, Clock: a.clock, Version: version})
	oauth.New(&a.routes, oauth.Config{Ring: a.ring, Tokens: a.tokens, Exchanger: a.exchange, Clients: a.clients, Granter: a.granter, Observe: a.exchanged, SigningAlg: a.cfg.SigningAlg, Clock: a.clock})
	a.routes.HandleFunc("GET "+healthPath, a.healthz)
	a.routes.HandleFunc("GET "+readyPath, a.readyz)
	if a.cfg.SecurityContact != "" {
		a.routes.HandleFunc("GET "+securityPath, a.securityTxt)
	}
	a.metrics.Read(a.sample)
	a.http = &http.Server{
		Handler:           a.handler(&a.routes.ServeMux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withConn,
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
