package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp/internal/store"
)

// soundTime is how long a start looks for damage: about 100 MB on a fast machine.
// agentidp doctor looks at all of a larger database.
const soundTime = time.Second

// sound refuses a database in which there is damage, and one without content that had some.
func (a *App) sound(ctx context.Context) error {
	if !a.cfg.SQLite() {
		return nil
	}
	brief, cancel := context.WithTimeout(ctx, soundTime)
	defer cancel()
	whole, err := a.db.Sound(brief)
	if err != nil {
		return err
	}
	if !whole {
		a.logger.Info("the database is too large to be looked at for damage, whole, at a start; agentidp doctor does it", "looked_for", soundTime.String())
	}
	return a.notEmptied(ctx)
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
