package app

import (
	"context"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp/internal/store"
)

const (
	// retentionInterval is how often it is looked for what need not be kept.
	retentionInterval = time.Minute

	// keepMargin keeps used tokens and records of access tokens longer than they could
	// matter to a clock that is behind, or that jumps ahead and back.
	keepMargin = 24 * time.Hour

	// keepKeySets is how long key sets of issuers are kept that no server asks for: a week
	// after the day on which they could last be used.
	keepKeySets = 8 * 24 * time.Hour

	// removeBatch is how many rows one transaction removes: with SQLite, exchanges wait
	// for it.
	removeBatch = 250
)

// RetentionStats says what was removed since the server began, and whether nothing is
// because the clock jumped.
type RetentionStats struct {
	store.Removed
	Held bool
}

// RetentionStats returns the counters.
func (a *App) RetentionStats() RetentionStats {
	a.retention.Lock()
	defer a.retention.Unlock()
	return a.retention.RetentionStats
}

// removeAlways removes every minute what need not be kept.
func (a *App) removeAlways(ctx context.Context) {
	ticker := time.NewTicker(retentionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := a.removeDue(ctx); err != nil && ctx.Err() == nil {
			a.logger.Warn("what need not be kept was not removed; trying again in a minute", "error", err)
		}
	}
}

// removeDue removes all that is due by a clock that can be trusted, a batch at a time,
// and between two leaves the database alone for longer than it took.
func (a *App) removeDue(ctx context.Context) error {
	now := a.clock()
	a.tellStep(now, time.Now())
	steady, err := a.steady(ctx, now)
	if err != nil {
		return fmt.Errorf("look whether the clock jumped: %w", err)
	}
	a.retention.Lock()
	a.retention.Held = !steady
	a.retention.Unlock()
	if !steady {
		return nil
	}
	if err := a.db.ForgetKeySets(ctx, now.Add(-keepKeySets)); err != nil {
		return err
	}
	orgs, err := a.db.Organizations(ctx)
	if err != nil {
		return err
	}
	var removed store.Removed
	for i := range orgs {
		n, err := a.removeOf(ctx, orgs[i].ID, a.dueAt(now))
		removed.Add(n)
		if err != nil {
			return err
		}
	}
	if removed.Total()-removed.UsedTokens > 0 {
		a.logger.Info("what need not be kept was removed", "decisions", removed.Decisions, "claims", removed.Claims, "events", removed.Events,
			"access_tokens", removed.AccessTokens, "used_tokens", removed.UsedTokens, "credentials", removed.Credentials)
	}
	return nil
}

func (a *App) removeOf(ctx context.Context, orgID string, due *store.Retention) (removed store.Removed, err error) {
	for {
		began := time.Now()
		n, more, err := a.db.RemoveDue(ctx, orgID, due, removeBatch)
		removed.Add(n)
		a.retention.Lock()
		a.retention.Add(n)
		a.retention.Unlock()
		if err != nil || !more {
			return removed, err
		}
		select {
		case <-ctx.Done():
			return removed, ctx.Err()
		case <-time.After(2 * time.Since(began)):
		}
	}
}

// dueAt says what is due at an instant. A grant's decision is kept as long as its event,
// whose index it is. Where no claims are to be kept, those that are there are due.
func (a *App) dueAt(now time.Time) *store.Retention {
	due := &store.Retention{UsedTokens: now.Add(-keepMargin), AccessTokens: now.Add(-keepMargin), Claims: now.Add(-a.cfg.KeepClaims)}
	decisions, events := a.cfg.KeepDecisions, a.cfg.KeepEvents
	if decisions > 0 {
		due.Refusals = now.Add(-decisions)
	}
	if events > 0 {
		due.Events = now.Add(-events)
		due.Credentials = due.Events // the log names them
	}
	if decisions > 0 && events > 0 {
		due.Grants = now.Add(-max(decisions, events))
	}
	return due
}
