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
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/api"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/oauth"
	"github.com/sentryagent/agentidp/internal/providers"
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
	verifier *verify.Verifier
	exchange *exchange.Exchanger
	listener net.Listener
	http     *http.Server
}

// New opens storage, proves the master key, and listens. When it returns, the
// server answers as soon as Run is called; on error nothing stays open.
func New(ctx context.Context, opt Options) (_ *App, err error) {
	a := &App{cfg: opt.Config, logger: opt.Logger, clock: stored(opt.Clock), listener: opt.Listener}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := dataFolder(a.cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	}
	if a.lock, err = lockData(a.cfg.DataDir); err != nil {
		return nil, err
	}
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	a.wire(opt.Version)
	if a.listener == nil {
		if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen (AGENTIDP_LISTEN): %w", err)
		}
	}
	return a, nil
}

// dataFolder makes the data directory. Whoever can write to it can put a database
// of their own there, so nobody else may.
func dataFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %04o); run: chmod go-w %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// stored returns a clock with the precision of the database, so that what was
// just made and what is read back are equal. A nil clock is the system's.
func stored(clock func() time.Time) func() time.Time {
	if clock == nil {
		clock = time.Now
	}
	return func() time.Time { return clock().UTC().Truncate(time.Microsecond) }
}

// open brings up the database and all that rests on it alone.
func (a *App) open(ctx context.Context) error {
	var err error
	if a.db, err = store.Open(ctx, a.cfg.DatabaseURL, store.Options{Clock: a.clock, Logger: a.logger}); err != nil {
		return err
	}
	if err := a.db.Migrate(ctx); err != nil {
		return err
	}
	if err := a.unlock(ctx, a.cfg.SQLite()); err != nil {
		return err
	}
	if err := a.registry.EnsureDefaultOrganization(ctx); err != nil {
		return fmt.Errorf("create the default organization: %w", err)
	}
	org, err := a.registry.Organization(ctx, agentidp.DefaultOrganization)
	if err != nil {
		return err
	}
	if _, err := a.ring.Signer(ctx, org.ID); err != nil { // proves the key that signs before anything asks for it
		return err
	}
	return a.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSetting(ctx, publicURLSetting, a.cfg.PublicURL) })
}

// publicURLSetting tells programs beside the server under which URL it issues.
const publicURLSetting = "public_url"

// unlock proves the master key and makes ready what signs and what is kept. create
// allows a new master key for a database that was never sealed.
func (a *App) unlock(ctx context.Context, create bool) error {
	kinds, err := providers.Kinds()
	if err != nil {
		return err
	}
	_, missing := os.Stat(a.cfg.MasterKeyFile)
	master, err := keys.Unlock(ctx, a.db, keys.MasterKeySource{
		Value: a.cfg.MasterKey, File: a.cfg.MasterKeyFile, MayCreate: create,
	})
	if err != nil {
		return err
	}
	if missing != nil && a.cfg.MasterKey == "" {
		a.logger.Warn("a new master key was made; without it the signing keys are lost, so keep a copy apart from the database", "file", a.cfg.MasterKeyFile)
	}
	a.ring = keys.NewRing(a.db, master, a.cfg.SigningAlg, a.clock)
	a.tokens = token.New(a.db, a.ring, a.clock)
	a.registry = registry.New(registry.Config{
		DB: a.db, Kinds: kinds, Providers: []*agentidp.Provider{providers.GitHub(kinds["github"], a.cfg.GitHubIssuer)},
		PublicURL: a.cfg.PublicURL, Clock: a.clock,
	})
	return nil
}

// wire connects the stories with HTTP.
func (a *App) wire(version string) {
	a.verifier = verify.New(verify.Config{
		Kinds: a.registry.Kinds, Clock: a.clock, Logger: a.logger, AllowInsecureLoopback: a.cfg.Dev,
		Load: a.loadKeySet, Save: a.saveKeySet,
	})
	a.exchange = exchange.New(exchange.Config{
		DB: a.db, Verifier: a.verifier, Tokens: a.tokens, Organization: a.registry.ReadOrganization,
		Providers: a.registry.Providers, TokenTTL: a.cfg.TokenTTL, RefusalsPerMinute: a.cfg.RefusalsPerMinute, Clock: a.clock, Logger: a.logger,
	})
	mux := http.NewServeMux()
	api.New(mux, api.Config{Registry: a.registry, Exchanger: a.exchange, Audit: audit.New(a.db), Tokens: a.tokens, Version: version})
	oauth.New(mux, a.ring, a.tokens, a.cfg.SigningAlg)
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	a.http = &http.Server{
		Handler:           a.handler(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
}

func (a *App) loadKeySet(ctx context.Context, source string) (*verify.KeySet, error) {
	jwks, fetched, err := a.db.KeySet(ctx, source)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &verify.KeySet{Source: source, JWKS: jwks, FetchedAt: fetched}, nil
}

func (a *App) saveKeySet(ctx context.Context, set *verify.KeySet) error {
	return a.db.Write(ctx, func(tx *store.Tx) error { return tx.SaveKeySet(ctx, set.Source, set.JWKS, set.FetchedAt) })
}

// URL returns the public URL, which is the default organization's issuer.
func (a *App) URL() string { return a.cfg.PublicURL }

// Address returns the address that the server listens on.
func (a *App) Address() string { return a.listener.Addr().String() }

// grace is how long requests under way may take to finish after the end was
// asked for.
const grace = 10 * time.Second

// Run serves until ctx is done, then refuses new connections, lets requests
// under way finish for at most ten seconds, and closes storage. It returns nil
// after an orderly end.
func (a *App) Run(ctx context.Context) error {
	easeCollector()
	purgeCtx, stopPurge := context.WithCancel(ctx)
	purged := make(chan struct{})
	go func() {
		defer close(purged)
		a.purgeAlways(purgeCtx)
	}()

	served := make(chan error, 1)
	go func() { served <- a.http.Serve(a.listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err = a.http.Shutdown(timeout); err != nil {
			err = errors.Join(fmt.Errorf("requests were still under way %s after the end was asked for: %w", grace, err), a.http.Close())
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	stopPurge()
	<-purged
	return errors.Join(err, a.close())
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
	if a.listener != nil {
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
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

// purgeInterval is how often used tokens that no longer matter are removed.
const purgeInterval = time.Minute

// purgeMargin keeps used tokens longer than they could be used, so that a clock
// that jumps ahead and back forgets none.
const purgeMargin = 24 * time.Hour

const purgeBatch = 1000

// purgeAlways removes, every minute, used subject tokens that the verifier refuses
// for their age anyway.
func (a *App) purgeAlways(ctx context.Context) {
	ticker := time.NewTicker(purgeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		a.purge(ctx)
	}
}

// purge removes what was due a day ago.
func (a *App) purge(ctx context.Context) {
	for {
		n, err := a.db.PurgeUsedTokens(ctx, a.clock().Add(-purgeMargin), purgeBatch)
		if err != nil && ctx.Err() == nil {
			a.logger.Warn("used tokens were not purged; trying again in a minute", "error", err)
		}
		if err != nil || n < purgeBatch {
			return
		}
	}
}
