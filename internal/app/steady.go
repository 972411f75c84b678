package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// What is removed does not come back, so a clock that jumped is not believed at once:
// with one that is a year ahead for a minute, all that is kept for 90 days would be
// gone. Each look remembers when it was, in the database, for all servers and across
// restarts. Where the clock is further from the last look than maxStep, because it was
// set, because two servers disagree, or because none ran for so long, nothing is
// removed for holdTime, in which somebody can see the warning.
const (
	maxStep  = time.Hour
	holdTime = 24 * time.Hour
	// lookAgain is how old the remembered look may be: one write in that time.
	lookAgain = 10 * time.Minute

	lookSetting = "retention_look" // "<last look> <nothing is removed before>", RFC 3339
)

// look is what is remembered of the clock.
type look struct{ last, heldUntil time.Time }

// steady reports whether the clock may be trusted to remove things.
func (a *App) steady(ctx context.Context, now time.Time) (bool, error) {
	before, err := readLook(ctx, a.db)
	if err != nil {
		return false, err
	}
	next := look{now, before.heldUntil}
	step := now.Sub(before.last)
	switch {
	case before.last.IsZero():
		next.heldUntil = now.Add(holdTime)
	case step > maxStep || step < -maxStep:
		next.heldUntil = now.Add(holdTime)
		a.logger.Warn("the clock is far from where it was at the last look, or no server ran since; nothing that is old is removed until the clock has gone on steadily for a day",
			"clock", now.Format(time.RFC3339), "last_look", before.last.Format(time.RFC3339), "again_at", next.heldUntil.Format(time.RFC3339))
	case step.Abs() < lookAgain:
		return !now.Before(before.heldUntil), nil
	}
	err = errors.Join(a.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSetting(ctx, lookSetting, next.String()) }), a.mark(ctx))
	return err == nil && !now.Before(next.heldUntil), err
}

// glance is when the process looked at its clock last, and when that was by the one that
// nobody sets.
type glance struct {
	clock     time.Time
	monotonic time.Time
}

// tellStep warns of a clock that was set while this process ran: too little for
// steady is enough for tokens to be refused. Where the machine slept it is told too.
func (a *App) tellStep(clock, monotonic time.Time) {
	a.retention.Lock()
	defer a.retention.Unlock()
	before := a.retention.glance
	a.retention.glance = glance{clock, monotonic}
	if before.clock.IsZero() {
		return
	}
	step := clock.Sub(before.clock) - monotonic.Sub(before.monotonic)
	if step.Abs() > agentidp.ClockSkew {
		a.logger.Warn("the clock was set, or the machine slept; if it is right now, tokens issued just before may be refused for their times, and otherwise all are: run agentidp doctor",
			"clock", clock.Format(time.RFC3339), "by", step.Round(time.Second).String())
	}
}

func (l look) String() string {
	return l.last.Format(time.RFC3339Nano) + " " + l.heldUntil.Format(time.RFC3339Nano)
}

// readLook returns the zero look where there is none, and where it cannot be read: then
// nothing is removed for a day, and another is remembered.
func readLook(ctx context.Context, db *store.DB) (l look, err error) {
	text, err := db.Setting(ctx, lookSetting)
	if errors.Is(err, store.ErrNotFound) {
		return look{}, nil
	}
	if err != nil {
		return look{}, err
	}
	var last, until string
	if _, err := fmt.Sscan(text, &last, &until); err != nil {
		return look{}, nil //nolint:nilerr // as said
	}
	l.last, err = time.Parse(time.RFC3339Nano, last)
	if err == nil {
		l.heldUntil, err = time.Parse(time.RFC3339Nano, until)
	}
	if err != nil {
		return look{}, nil //nolint:nilerr // as said
	}
	return l, nil
}
