// Package audit holds the stories of reading the record: what was decided about
// each exchange and why, and what was done.
//
// It writes nothing: a decision is recorded by the exchange (internal/exchange) and
// an event by whoever does what it tells, in the same commit (internal/store). Nor
// does it own who may read (internal/api).
package audit

import (
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// Log reads the record. It is safe for concurrent use.
type Log struct{ db *store.DB }

// New returns the Log of a database.
func New(db *store.DB) *Log { return &Log{db} }

// Decisions returns a page of the decisions that pass the filter, the newest first
// and without their checks, and the cursor of the next page, empty at the end. The
// pages of one walk do not move when decisions are added: new ones stand before the
// first. Errors: Invalid, Unavailable.
func (l *Log) Decisions(ctx context.Context, org *agentidp.Organization, filter agentidp.DecisionFilter, page agentidp.Page) (decisions []agentidp.Decision, next string, err error) {
	if err := page.Check(CheckDecisions(filter)); err != nil {
		return nil, "", err
	}
	decisions, err = l.db.Decisions(ctx, org.ID, &filter, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err)
	}
	decisions, next = agentidp.CutPage(page, decisions, func(d *agentidp.Decision) string { return d.ID })
	return decisions, next, nil
}

// Decision returns one decision with its checks. Errors: NotFound, Unavailable.
func (l *Log) Decision(ctx context.Context, org *agentidp.Organization, id string) (*agentidp.Decision, error) {
	if !agentidp.IsID(id) {
		return nil, public(store.ErrNotFound)
	}
	d, err := l.db.Decision(ctx, org.ID, id)
	if err != nil {
		return nil, public(err)
	}
	return d, nil
}

// Events returns a page of the events that pass the filter, as Decisions does.
func (l *Log) Events(ctx context.Context, org *agentidp.Organization, filter agentidp.EventFilter, page agentidp.Page) (events []agentidp.Event, next string, err error) {
	if err := page.Check(CheckEvents(filter)); err != nil {
		return nil, "", err
	}
	events, err = l.db.Events(ctx, org.ID, &filter, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err)
	}
	events, next = agentidp.CutPage(page, events, func(e *agentidp.Event) string { return e.ID })
	return events, next, nil
}

// public turns an error of storage into what the caller sees.
func public(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "There is no such decision in this organization.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "Storage cannot be reached now. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
