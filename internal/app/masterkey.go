package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/keys"
)

// ResealKeys gives the database the master key in a file in place of its own. No server
// may run: with PostgreSQL, whoever calls it sees to that.
func ResealKeys(ctx context.Context, cfg config.Config, logger *slog.Logger, file string) (err error) {
	release, err := alone(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return Beside(ctx, cfg, logger, func(a *App) error {
		master, err := keys.Unlock(ctx, a.db, masterKeySource(&cfg, false))
		if err != nil {
			return err
		}
		return keys.Reseal(ctx, a.db, master, keys.MasterKeySource{File: file})
	})
}

// AbandonKeys gives up all signing keys of a database whose master key is lost, and
// makes new ones under another. No server may run: with PostgreSQL, whoever calls it
// sees to that.
func AbandonKeys(ctx context.Context, cfg config.Config, logger *slog.Logger) (err error) {
	release, err := alone(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return onDatabase(ctx, cfg, logger, func(a *App) error {
		alg, err := a.db.Setting(ctx, signingAlgSetting)
		if err != nil {
			return fmt.Errorf("read the server's signing algorithm; start the server once: %w", err)
		}
		return keys.Abandon(ctx, a.db, masterKeySource(&cfg, cfg.SQLite()), alg, a.clock)
	})
}

// alone keeps servers off the data directory until release is called.
func alone(cfg config.Config) (release func() error, err error) {
	if !cfg.SQLite() {
		return func() error { return nil }, nil
	}
	if _, err := os.Stat(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	}
	lock, err := lockData(cfg.DataDir, usedByServer)
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}
