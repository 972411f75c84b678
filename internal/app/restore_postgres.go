package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// restoreInto puts a backup of an embedded database into an empty one of PostgreSQL: so
// an installation moves. Everything is done to a copy in the data directory, as by Restore,
// and a marked copy is taken over in one transaction: whenever this ends, the database is
// empty or is one that is restored.
func restoreInto(ctx context.Context, cfg config.Config, logger *slog.Logger, file string, force bool) (_ *Restored, err error) {
	if force {
		return nil, errors.New("--force is for SQLite: a database of PostgreSQL that holds something is never replaced; give an empty one")
	}
	if err := dataFolder(cfg.DataDir); err != nil {
		return nil, err
	}
	lock, err := lockData(cfg.DataDir, usedByServer)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	tmp := filepath.Join(cfg.DataDir, "agentidp.restoring")
	defer func() { err = errors.Join(err, removeDatabase(tmp)) }()
	if err := removeDatabase(tmp); err != nil {
		return nil, err
	}
	if err := mayReplace(file, tmp, false); err != nil {
		return nil, err
	}
	contents, err := store.Inspect(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w. Nothing was changed", file, err)
	}
	if err := copyFile(file, tmp); err != nil {
		return nil, fmt.Errorf("copy %s: %w", file, err)
	}
	embedded := cfg
	embedded.DatabaseURL = "sqlite:" + tmp
	out, err := restoreCopy(ctx, embedded, logger)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be put in place, and nothing was changed: %w", file, err)
	}
	out.Contents, out.Database = contents, "the PostgreSQL database"
	return out, takeOver(ctx, cfg, embedded, logger)
}

// takeOver copies a marked database into PostgreSQL's, whole or not at all.
func takeOver(ctx context.Context, cfg, embedded config.Config, logger *slog.Logger) (err error) {
	from, err := store.Open(ctx, embedded.DatabaseURL, store.Options{Clock: stored(nil), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: stored(nil), Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Migrate(ctx); err != nil {
		return err
	}
	err = to.Take(ctx, from)
	if errors.Is(err, store.ErrNotEmpty) {
		return errors.New("the database holds an installation already, and nothing was changed; give an empty one, in which no server was started")
	}
	return err
}
