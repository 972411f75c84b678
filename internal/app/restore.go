package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Restored says what a restored database holds and what was done to it.
type Restored struct {
	*store.Contents                        // of the backup; nil for a database that was only marked
	Database        string                 // where it is
	Kept            string                 // the database that was there; "": none was
	At              time.Time              // subject tokens issued before are refused
	Organizations   []RestoredOrganization // those that are open
}

// RestoredOrganization is an organization of a restored database.
type RestoredOrganization struct {
	agentidp.Organization
	Ended int64                 // access tokens
	Keys  []agentidp.SigningKey // that stand in the key set
}

// Restore puts a backup in the place of the database. No server may run on the data
// directory. Everything is done to a copy of the backup beside its place: it is
// checked, opened with the master key, migrated and marked (see MarkRestored). Then it
// takes its place in one step, so that whenever this ends, there is the database of
// before or one that is restored, and never one that would take used tokens. Only
// force lets it replace a database, which is kept under another name.
func Restore(ctx context.Context, cfg config.Config, logger *slog.Logger, file string, force bool) (_ *Restored, err error) {
	path, embedded := cfg.SQLitePath()
	if !embedded {
		return restoreInto(ctx, cfg, logger, file, force)
	}
	if err := dataFolder(cfg.DataDir); err != nil {
		return nil, err
	}
	lock, err := lockData(cfg.DataDir, usedByServer)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := mayReplace(file, path, force); err != nil {
		return nil, err
	}
	contents, err := store.Inspect(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w. Nothing was changed", file, err)
	}
	tmp := path + ".restoring"
	defer func() { err = errors.Join(err, removeDatabase(tmp)) }()
	if err := errors.Join(removeDatabase(tmp), copyFile(file, tmp)); err != nil {
		return nil, fmt.Errorf("copy %s: %w", file, err)
	}
	cfg.DatabaseURL = "sqlite:" + tmp
	out, err := restoreCopy(ctx, cfg, logger)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be put in place, and nothing was changed: %w", file, err)
	}
	out.Contents, out.Database = contents, path
	if _, err := durable(tmp); err != nil {
		return nil, err
	}
	if err := ownedLike(cfg.DataDir, tmp, lock.file.Name()); err != nil {
		return nil, err
	}
	out.Kept, err = replace(ctx, tmp, path, out.At, logger)
	return out, err
}

// restoreCopy opens the copy as a server would, and marks it.
func restoreCopy(ctx context.Context, cfg config.Config, logger *slog.Logger) (_ *Restored, err error) {
	a := &App{cfg: cfg, logger: logger, clock: stored(nil)}
	defer func() { err = errors.Join(err, a.close()) }()
	if a.db, err = store.Open(ctx, cfg.DatabaseURL, store.Options{Clock: a.clock, Logger: logger}); err != nil {
		return nil, err
	}
	if err := a.db.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := a.openBeside(ctx); err != nil {
		return nil, err
	}
	return a.MarkRestored(ctx)
}

// MarkRestored makes a database that was put back to an earlier state safe to use, by
// whatever means that was done. From then on no server takes a subject token that was
// issued before, because those that were exchanged since that state would pass for
// unused; and every access token has ended, because those that were revoked since would
// be good again. Repeating it is safe. Where it ended in the midst, a database of which
// servers notice that it was put back is refused as before.
func (a *App) MarkRestored(ctx context.Context) (*Restored, error) {
	out := &Restored{At: a.clock()}
	orgs, err := a.registry.Restored(ctx, out.At)
	if err != nil {
		return nil, err
	}
	operator := &agentidp.Principal{Subject: agentidp.ActorOperator}
	before := out.At.Add(verify.Skew) // another server's clock may have been ahead
	for i := range orgs {
		org := RestoredOrganization{Organization: orgs[i]}
		if org.Ended, err = a.tokens.RevokeAll(ctx, &orgs[i], operator, "", &agentidp.TokenSelection{IssuedBefore: &before}); err != nil {
			return nil, err
		}
		if _, err := a.ring.Signer(ctx, &orgs[i]); err != nil { // proves that its keys open
			return nil, err
		}
		keys, err := a.ring.List(ctx, &orgs[i])
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.Status != agentidp.SigningKeyRetired && k.Status != agentidp.SigningKeyCompromised {
				org.Keys = append(org.Keys, k)
			}
		}
		out.Organizations = append(out.Organizations, org)
	}
	return out, a.ownMark(ctx) // last: what ended before it is not taken for done by a server
}

func mayReplace(file, database string, force bool) error {
	there, err := os.Stat(database)
	if errors.Is(err, fs.ErrNotExist) {
		there, err = nil, nil
	}
	if err != nil {
		return err
	}
	if given, err := os.Stat(file); err == nil && there != nil && os.SameFile(given, there) {
		return fmt.Errorf("%s is the database itself; to mark it as restored run: agentidp restore --mark", file)
	}
	// What was copied without its log is not what it was.
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return fmt.Errorf("%s has a write-ahead log beside it, so it is a database in use or a plain copy of one; give a file that agentidp backup made, "+
			"or take its folder for the data directory and run: agentidp restore --mark", file)
	}
	if there != nil && !force {
		return fmt.Errorf("there is a database already: %s; give --force to replace it (it is kept under another name)", database)
	}
	return nil
}

// replace puts tmp in the place of the database at path, which keeps another name. A
// database is there at every moment: where there is none, a server would make a new one.
func replace(ctx context.Context, tmp, path string, at time.Time, logger *slog.Logger) (kept string, err error) {
	folder := filepath.Dir(path)
	if _, err := os.Stat(path); err == nil {
		kept = path + ".replaced-" + at.Format("20060102T150405Z")
		// Opened and closed once more, it takes in its log. One that is damaged may not:
		// then the log keeps it company.
		if db, err := store.Open(ctx, "sqlite:"+path, store.Options{Logger: logger}); err == nil {
			err = db.Close()
			logger.Debug("the database was closed", "file", path, "error", err)
		}
		if err := os.Link(path, kept); err != nil {
			return "", fmt.Errorf("keep the database that is there as %s: %w", kept, err)
		}
	}
	// A log that stays would be replayed into a database that it is not of.
	for _, companion := range []string{"-wal", "-shm"} {
		to := kept + companion
		if kept == "" {
			to = path + ".stray-" + at.Format("20060102T150405Z") + companion
		}
		if err := os.Rename(path+companion, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return kept, errors.Join(os.Rename(tmp, path), syncFolder(folder))
}

// removeDatabase removes a database that was not finished, if there is one.
func removeDatabase(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // nothing was written
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
