package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp/internal/store"
)

const (
	// soundFirst is how large a database may be, in bytes, to be looked at for damage, whole,
	// before anything is answered: a fast machine looks at 100 MB in a second.
	soundFirst = 16 << 20
	// soundTime is how long that may take where a machine is slow.
	soundTime = time.Second
)

// sound refuses a database in which there is damage, and one without content that had some.
// What it does not come to is looked at while the server answers (soundOn).
func (a *App) sound(ctx context.Context) error {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		return nil
	}
	if file, err := os.Stat(path); err == nil && file.Size() > soundFirst {
		return a.notEmptied(ctx)
	}
	brief, cancel := context.WithTimeout(ctx, soundTime)
	defer cancel()
	var err error
	if a.looked, err = a.db.Sound(brief); err != nil {
		return err
	}
	return a.notEmptied(ctx)
}

// soundOn looks for damage that the start did not look for, and returns what it finds, which
// ends the server. What cannot be read just now is no damage.
func (a *App) soundOn(ctx context.Context) error {
	if a.looked || !a.cfg.SQLite() {
		return nil
	}
	began := time.Now()
	whole, err := a.db.Sound(ctx)
	switch {
	case err != nil && store.Damage(err) != nil:
		return damaged(err)
	case err != nil:
		a.logger.Warn("the database could not be looked at for damage; agentidp doctor does it", "error", err)
	case whole:
		a.logger.Info("the database was looked at for damage, and there is none", "took", time.Since(began).Round(time.Millisecond).String())
	}
	return nil
}

// notEmptied refuses a database that is another program's, and one that a server ran on
// and that holds nothing: its log, the file that ends in -wal, was taken from it.
func (a *App) notEmptied(ctx context.Context) error {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		return nil
	}
	if have, _, err := a.db.SchemaVersion(ctx); err != nil || have > 0 {
		return err
	}
	if err := a.db.NobodyElses(ctx); err != nil {
		return err
	}
	used, _, err := remembered(a.cfg.DataDir)
	if err != nil || used != a.place(path) {
		return err
	}
	return a.older(path)
}

// place is how the file of the lock names a database.
func (a *App) place(database string) string {
	if whole, err := filepath.Abs(database); err == nil {
		database = whole
	}
	return within(a.cfg.DataDir, database)
}

// The database and the file of the lock count together: at each start, and while the
// server runs every ten minutes. A database that has counted less far than the file is
// not the one that was there, but an older state of it.
const markSetting = "mark"

func readMark(ctx context.Context, db *store.DB) (int64, error) {
	text, err := db.Setting(ctx, markSetting)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the setting %s: %w", markSetting, err)
	}
	return n, nil
}

// notOlder refuses an older state of the database: what was exchanged and revoked since
// would be good again.
func (a *App) notOlder(ctx context.Context) error {
	if !a.cfg.SQLite() {
		return a.notMoved(ctx)
	}
	old, err := a.isOlder(ctx)
	if err != nil || !old {
		return err
	}
	path, _ := a.cfg.SQLitePath()
	return a.older(path)
}

// isOlder reports whether the database is an older state than the one that a server last
// used here. One may run meanwhile: it counts in the database first.
func (a *App) isOlder(ctx context.Context) (bool, error) {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		return false, nil
	}
	used, mark, err := remembered(a.cfg.DataDir)
	if err != nil || used != a.place(path) {
		return false, err
	}
	n, err := readMark(ctx, a.db)
	return err == nil && n < mark, err
}

func (a *App) older(path string) error {
	return fmt.Errorf("the database %s is an older state than the one that a server last used here: an old copy, or one that has lost its log, %[1]s-wal; put back what is missing, "+
		"or, if this state is to be used, run: agentidp restore --mark, so that no token of before is taken again (for one without any content: agentidp restore --force FILE)", path)
}

// mark counts on, in the database first.
func (a *App) mark(ctx context.Context) error {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		if err := a.notMoved(ctx); err != nil {
			return err
		}
		return a.settlePlace(ctx, false)
	}
	if a.lock == nil {
		return nil
	}
	n, err := readMark(ctx, a.db)
	if err != nil {
		return err
	}
	if err := a.setMark(ctx, n+1); err != nil {
		return err
	}
	if err := a.lock.remember(a.place(path), n+1); err != nil {
		return fmt.Errorf("note which database is used: %w", err)
	}
	return nil
}

// ownMark makes the state that there is one to go on from.
func (a *App) ownMark(ctx context.Context) error {
	if !a.cfg.SQLite() {
		return a.settlePlace(ctx, true)
	}
	n, err := readMark(ctx, a.db)
	if err != nil {
		return err
	}
	_, locked, err := remembered(a.cfg.DataDir)
	if err != nil {
		return err
	}
	return a.setMark(ctx, max(n, locked)+1)
}

func (a *App) setMark(ctx context.Context, n int64) error {
	return a.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSetting(ctx, markSetting, strconv.FormatInt(n, 10)) })
}
