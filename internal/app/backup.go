package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// backupSetting says when the last backup was made.
const backupSetting = "last_backup"

var errNotEmbedded = errors.New("PostgreSQL is backed up and brought back with its own tools (pg_dump and pg_restore, or its archive for a point in time), and the master key apart from it; " +
	"after bringing a database back, and before servers use it, run: agentidp restore --mark")

// BackedUp is a backup that was made.
type BackedUp struct {
	*store.Contents
	Size int64
}

// Backup writes a copy of the database into a file, beside the server while it runs or
// without one, and checks it. What was answered before it began is in it; the master
// key is not, nor is it needed. The file has the mode 0600 and appears whole or not at
// all; only force lets it take the place of another.
func Backup(ctx context.Context, cfg config.Config, logger *slog.Logger, file string, force bool) (_ *BackedUp, err error) {
	path, embedded := cfg.SQLitePath()
	if !embedded {
		return nil, errNotEmbedded
	}
	if err := databaseThere(path); err != nil {
		return nil, err
	}
	if err := mayWrite(file, path, force); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: stored(nil), Logger: logger})
	if err != nil {
		return nil, damaged(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	began := time.Now().UTC()
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // 0600
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s; make it, or name a file in another", filepath.Dir(file))
	}
	if err != nil {
		return nil, fmt.Errorf("make a file beside %s: %w", file, err)
	}
	defer func() {
		if gone := os.Remove(tmp.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	if err := tmp.Close(); err != nil { // before SQLite takes locks on it
		return nil, err
	}
	if err := db.CopyTo(ctx, tmp.Name()); err != nil {
		return nil, err
	}
	made := &BackedUp{}
	if made.Contents, err = store.Inspect(ctx, tmp.Name()); err != nil {
		return nil, fmt.Errorf("the copy cannot be relied on, so no backup was made: %w", err)
	}
	warnOfOld(ctx, &App{cfg: cfg, logger: logger, db: db})
	if made.Size, err = durable(tmp.Name()); err != nil {
		return nil, err
	}
	if err := giveName(tmp.Name(), file, force); err != nil {
		return nil, err
	}
	err = db.Write(ctx, func(tx *store.Tx) error { return tx.SetSetting(ctx, backupSetting, began.Format(time.RFC3339)) })
	if err != nil {
		return nil, fmt.Errorf("%s is a good backup, but when it was made could not be noted in the database: %w", file, err)
	}
	return made, nil
}

// warnOfOld says of which state the copy is, if not of the latest: no server would start on
// it, and who keeps the last few backups would give a better one up for it. It may be what
// is left, so it is backed up.
func warnOfOld(ctx context.Context, a *App) {
	path, _ := a.cfg.SQLitePath()
	switch old, err := a.isOlder(ctx); {
	case err != nil:
		a.logger.Warn("whether the database is the one that a server last used here could not be seen", "database", path, "error", err)
	case old:
		a.logger.Warn("what is backed up is an older state than the one that a server last used here: the database is an old copy, or has lost its log, and what was changed since is not in the backup", "database", path)
	}
}

func databaseThere(path string) error {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w; run it as the user of the server", err)
		}
		return fmt.Errorf("there is no database to work on; start the server once, or give its --data-dir: %w", err)
	}
	return nil
}

// mayWrite refuses what a backup must not be written over.
func mayWrite(file, database string, force bool) error {
	there, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	used, err := os.Stat(database)
	switch {
	case err != nil:
		return err
	case os.SameFile(there, used):
		return fmt.Errorf("%s is the database itself; name another file", file)
	case there.IsDir():
		return fmt.Errorf("%s is a folder; name a file in it", file)
	case !force:
		return fmt.Errorf("%s is there already; name another file, or give --force to replace it", file)
	}
	return nil
}

// durable makes a file's content outlast a power cut, and returns its size.
func durable(file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, fmt.Errorf("write %s to the disk: %w", file, err)
	}
	return info.Size(), nil
}

// giveName gives a finished file its name, for good. Without force it takes no name that
// somebody else has meanwhile taken.
func giveName(tmp, file string, force bool) error {
	if force {
		return errors.Join(os.Rename(tmp, file), syncFolder(filepath.Dir(file)))
	}
	err := os.Link(tmp, file)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		return errors.Join(os.Rename(tmp, file), syncFolder(filepath.Dir(file)))
	}
	return errors.Join(err, syncFolder(filepath.Dir(file)))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
