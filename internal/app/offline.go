package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// AdminToken issues an admin access token with direct access to the database and
// the master key, beside a running server or without one. It makes no database, no
// key and no schema: a server that was started once has made them. With an empty
// public URL it uses the server's.
func AdminToken(ctx context.Context, cfg config.Config, logger *slog.Logger, slug, scope string, ttl time.Duration) (_ string, _ *agentidp.AccessToken, err error) {
	if path, ok := strings.CutPrefix(cfg.DatabaseURL, "sqlite:"); ok {
		if _, err := os.Stat(path); err != nil {
			return "", nil, fmt.Errorf("there is no database to make a token for; start the server once, or give its --data-dir: %w", err)
		}
	}
	a := &App{cfg: cfg, logger: logger, clock: stored(nil)}
	defer func() { err = errors.Join(err, a.close()) }()
	if a.db, err = store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: a.clock, Logger: logger}); err != nil {
		return "", nil, err
	}
	if err := a.checkSchema(ctx); err != nil {
		return "", nil, err
	}
	if a.cfg.PublicURL == "" {
		if a.cfg.PublicURL, err = a.db.Setting(ctx, publicURLSetting); err != nil {
			return "", nil, fmt.Errorf("read the server's public URL; start the server once, or give --public-url: %w", err)
		}
	}
	if err := a.unlock(ctx, false); err != nil {
		return "", nil, err
	}
	return a.AdminToken(ctx, slug, scope, ttl)
}

func (a *App) checkSchema(ctx context.Context) error {
	have, want, err := a.db.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("the database has schema version %d and this program needs %d; run: agentidp migrate", have, want)
	}
	return nil
}

// AdminToken issues an admin access token of this server.
func (a *App) AdminToken(ctx context.Context, slug, scope string, ttl time.Duration) (string, *agentidp.AccessToken, error) {
	org, err := a.registry.ReadOrganization(ctx, slug)
	if err != nil {
		return "", nil, err
	}
	return a.tokens.IssueAdmin(ctx, org, scope, ttl)
}

// Migrate brings the database's schema up to date and returns the versions
// before and after.
func Migrate(ctx context.Context, cfg config.Config, logger *slog.Logger) (before, after int64, err error) {
	db, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: stored(nil), Logger: logger})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if before, _, err = db.SchemaVersion(ctx); err != nil {
		return 0, 0, err
	}
	if err := db.Migrate(ctx); err != nil {
		return before, before, err
	}
	after, _, err = db.SchemaVersion(ctx)
	return before, after, err
}

// CommitStats says how many commits the committer made and how many records they
// held.
func (a *App) CommitStats() store.Stats { return a.db.Stats() }
