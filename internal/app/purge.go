package app

import (
	"context"
	"time"
)

// purgeInterval is how often used tokens that no longer matter are removed.
const purgeInterval = time.Minute

// purgeMargin keeps used tokens longer than they could be used, so that a clock
// that jumps ahead and back forgets none.
const purgeMargin = 24 * time.Hour

const purgeBatch = 1000

// purgeAlways removes, every minute, used subject tokens that the verifier refuses
// for their age anyway.
func (a *App) purgeAlways(ctx context.Context) {
	ticker := time.NewTicker(purgeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		a.purge(ctx)
	}
}

// purge removes what was due a day ago.
func (a *App) purge(ctx context.Context) {
	for {
		n, err := a.db.PurgeUsedTokens(ctx, a.clock().Add(-purgeMargin), purgeBatch)
		if err != nil && ctx.Err() == nil {
			a.logger.Warn("used tokens were not purged; trying again in a minute", "error", err)
		}
		if err != nil || n < purgeBatch {
			return
		}
	}
}
