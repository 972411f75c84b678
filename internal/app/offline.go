package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// AdminToken issues an admin access token with direct access to the database and
// the master key, beside a running server or without one. It changes no schema.
func AdminToken(ctx context.Context, cfg config.Config, logger *slog.Logger, slug, scope string, ttl time.Duration) (_ string, _ *agentidp.AccessToken, err error) {
	a := &App{cfg: cfg, logger: logger, clock: stored(nil)}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(ctx, false); err != nil {
		return "", nil, err
	}
	return a.AdminToken(ctx, slug, scope, ttl)
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
