package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// Beside opens the database and the keys of a server, beside it while it runs or
// without one, lets do work with them, and closes them. It makes no database, no
// master key and no schema: a server that was started once has made them. With an
// empty public URL it uses the server's; the algorithm of keys always is the
// server's.
func Beside(ctx context.Context, cfg config.Config, logger *slog.Logger, do func(*App) error) error {
	return onDatabase(ctx, cfg, logger, func(a *App) error {
		if err := a.openBeside(ctx); err != nil {
			return err
		}
		return do(a)
	})
}

// onDatabase opens the database of a server, lets do work with it, and closes it. It
// makes none, and leaves the schema as it is.
func onDatabase(ctx context.Context, cfg config.Config, logger *slog.Logger, do func(*App) error) (err error) {
	a := &App{cfg: cfg, logger: logger, clock: stored(nil)}
	if path, embedded := cfg.SQLitePath(); embedded {
		if err := cmp.Or(a.notLost(), databaseThere(path)); err != nil {
			return err
		}
	}
	defer func() { err = damaged(errors.Join(err, a.close())) }()
	if a.db, err = store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: a.clock, Logger: logger}); err != nil {
		return err
	}
	if err := a.notEmptied(ctx); err != nil {
		return err
	}
	if err := a.checkSchema(ctx); err != nil {
		return err
	}
	return do(a)
}

// openBeside makes ready what works on a database that a server was started on.
func (a *App) openBeside(ctx context.Context) (err error) {
	if a.cfg.PublicURL == "" {
		if a.cfg.PublicURL, err = a.db.Setting(ctx, publicURLSetting); err != nil {
			return fmt.Errorf("read the server's public URL; start the server once, or give --public-url: %w", err)
		}
	}
	if a.cfg.SigningAlg, err = a.db.Setting(ctx, signingAlgSetting); err != nil {
		return fmt.Errorf("read the server's signing algorithm; start the server once: %w", err)
	}
	return a.unlock(ctx, false)
}

func (a *App) checkSchema(ctx context.Context) error {
	have, want, err := a.db.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if have < want {
		return fmt.Errorf("the database has schema version %d and this program needs %d; run: agentidp migrate", have, want)
	}
	if have > want {
		return a.db.Understood(ctx)
	}
	return nil
}

// openOrganization returns an organization that is not closed. The operator, who can
// read the database, is told which of the two it is.
func (a *App) openOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	org, err := a.registry.ReadOrganization(ctx, slug)
	if e, ok := errors.AsType[*agentidp.Error](err); !ok || e.Kind != agentidp.NotFound {
		return org, err
	}
	all, listErr := a.registry.Organizations(ctx)
	if listErr != nil {
		return nil, listErr
	}
	if slices.ContainsFunc(all, func(o agentidp.Organization) bool { return o.Slug == slug }) {
		return nil, agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "The organization "+slug+" is closed, which is final; its record stays in the database.")
	}
	return nil, agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, fmt.Sprintf("There is no organization %q; agentidp org list names those that there are.", slug))
}

// AdminToken issues an admin access token.
func (a *App) AdminToken(ctx context.Context, slug, scope string, ttl time.Duration) (string, *agentidp.AccessToken, error) {
	org, err := a.openOrganization(ctx, slug)
	if err != nil {
		return "", nil, err
	}
	return a.tokens.IssueAdmin(ctx, org, scope, ttl)
}

// CreateOrganization makes an organization with its first signing key.
func (a *App) CreateOrganization(ctx context.Context, slug, name string) (*agentidp.Organization, error) {
	return a.registry.CreateOrganization(ctx, slug, name)
}

// Organizations returns all organizations, closed ones too.
func (a *App) Organizations(ctx context.Context) ([]agentidp.Organization, error) {
	return a.registry.Organizations(ctx)
}

// CloseOrganization ends an organization for good, and says whether it was open.
func (a *App) CloseOrganization(ctx context.Context, slug string) (*agentidp.Organization, bool, error) {
	return a.registry.CloseOrganization(ctx, slug)
}

// SigningKeys returns all keys that an organization ever had. When the one that signs
// gets a successor is worked out from the period that the server was last started with.
func (a *App) SigningKeys(ctx context.Context, slug string) ([]agentidp.SigningKey, error) {
	org, err := a.openOrganization(ctx, slug)
	if err != nil {
		return nil, err
	}
	list, err := a.ring.List(ctx, org)
	if err != nil {
		return nil, err
	}
	text, err := a.db.Setting(ctx, keyRotationSetting)
	if errors.Is(err, store.ErrNotFound) { // a server from before there was a schedule
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	if period, err := time.ParseDuration(text); err == nil && period > 0 {
		for i := range list {
			if k := &list[i]; k.Status == agentidp.SigningKeySigning && k.SignsUntil.IsZero() {
				k.RotatesAt = latest(k.CreatedAt, k.SignsFrom).Add(period)
			}
		}
	}
	return list, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// RotateKeys gives an organization's signing key a successor, or gives up the key
// that is compromised, if one is named.
func (a *App) RotateKeys(ctx context.Context, slug, compromised string) (*agentidp.KeyRotation, error) {
	org, err := a.openOrganization(ctx, slug)
	if err != nil {
		return nil, err
	}
	if compromised != "" {
		return a.ring.Compromised(ctx, org, compromised)
	}
	return a.ring.Rotate(ctx, org)
}

// Migrate brings the database's schema up to date and returns the versions
// before and after.
func Migrate(ctx context.Context, cfg config.Config, logger *slog.Logger) (before, after int64, err error) {
	defer func() { err = damaged(err) }()
	if err := (&App{cfg: cfg}).notLost(); err != nil {
		return 0, 0, err
	}
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
