package app

import (
	"context"
	"errors"

	"github.com/sentryagent/agentidp/internal/store"
)

// placeSetting is where PostgreSQL keeps the database that servers last used. What comes
// back from a dump says where it was, and is somewhere else.
const placeSetting = "place"

// errMoved refuses a database that came back from a dump: what was exchanged and revoked
// after the dump would be good again.
var errMoved = errors.New("the database is not where servers last used it: it was brought back from a dump, copied, or moved by pg_upgrade; " +
	"run: agentidp restore --mark, so that no token of before is taken again")

// notMoved returns errMoved if so. A standby that was promoted is the same database.
func (a *App) notMoved(ctx context.Context) error {
	now, err := a.db.Place(ctx)
	if err != nil {
		return err
	}
	known, err := a.db.Setting(ctx, placeSetting)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && known != now {
		err = errMoved
	}
	return err
}

// settlePlace notes where the database is. again: also if it was noted that it is elsewhere.
func (a *App) settlePlace(ctx context.Context, again bool) error {
	now, err := a.db.Place(ctx)
	if err != nil {
		return err
	}
	return a.db.Write(ctx, func(tx *store.Tx) error {
		if again {
			return tx.SetSetting(ctx, placeSetting, now)
		}
		if err := tx.PutSetting(ctx, placeSetting, now); !errors.Is(err, store.ErrExists) {
			return err
		}
		return nil
	})
}
