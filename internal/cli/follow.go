package cli

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// An event becomes visible when its commit is durable, which can be after events with
// a later instant. So a look begins a little before the one before it, and every so
// often a wide look begins as long before the last wide one as the API says suffices.
const (
	margin      = time.Minute
	smallMargin = 5 * time.Second
	wideEvery   = 10 // looks

	longestWait = 30 * time.Second // between two tries
)

// tail follows the audit log. All instants are the server's: the clock here may be
// another.
type tail struct {
	newest func() (time.Time, error)                               // instant of the latest event, whatever it is
	list   func(since time.Time) iter.Seq2[*agentidp.Event, error] // the newest first
	show   func(*agentidp.Event) error
	say    func(string)
	sleep  func(time.Duration)

	interval time.Duration
	since    time.Time // nothing before is looked at; zero: only what comes

	last, wide time.Time            // the newest event when the last look began, and the last wide one
	seen       map[string]time.Time // events that another look can meet, with their instants
}

// follow begins with what happened since an instant, or with the latest events, and
// goes on until ctx is done. What fails at first is an error; later, it waits for the
// server.
func (t *tail) follow(ctx context.Context, lines int) error {
	t.seen = map[string]time.Time{}
	if err := t.begin(lines); err != nil {
		return err
	}
	wait := t.interval
	t.sleep(wait)
	for n := 1; ctx.Err() == nil; n++ {
		err := t.look(n%wideEvery == 0)
		switch {
		case err == nil && wait > t.interval:
			t.say("the server answers again; nothing was missed")
			wait = t.interval
		case err == nil || ctx.Err() != nil:
		case !passes(err):
			return err
		default:
			if wait == t.interval {
				t.say(err.Error() + "; trying again until it answers")
			}
			wait = min(2*wait, max(longestWait, 2*t.interval))
		}
		t.sleep(wait)
	}
	return nil
}

// begin shows all events since an instant, or the latest; then what a look can meet
// beside them counts as seen.
func (t *tail) begin(lines int) error {
	newest, err := t.newest()
	if err != nil {
		return err
	}
	t.last, t.wide = newest, newest
	if !t.since.IsZero() {
		return t.print(t.since)
	}
	before, err := t.unseen(t.back(t.wide, margin))
	if err != nil {
		return err
	}
	for _, e := range before {
		t.seen[e.ID] = e.At
	}
	if lines == 0 {
		return nil
	}
	var latest []*agentidp.Event
	for e, err := range t.list(time.Time{}) {
		if err != nil {
			return err
		}
		if latest = append(latest, e); len(latest) == lines {
			break
		}
	}
	return t.showAll(latest)
}

// look shows what is new.
func (t *tail) look(wide bool) error {
	newest, err := t.newest()
	if err != nil {
		return err
	}
	if !wide {
		err = t.print(t.back(t.last, smallMargin))
	} else {
		err = t.print(t.back(t.wide, margin))
	}
	if err != nil {
		return err
	}
	t.last = newest
	if wide {
		t.wide = newest
		t.forget(t.back(t.wide, margin))
	}
	return nil
}

// back goes back from an instant, but not to what nobody asked for.
func (t *tail) back(from time.Time, by time.Duration) time.Time {
	if from.IsZero() { // there was no event at all
		return t.since
	}
	if from = from.Add(-by); from.Before(t.since) {
		return t.since
	}
	return from
}

// print shows what is new since an instant, the oldest first.
func (t *tail) print(since time.Time) error {
	events, err := t.unseen(since)
	if err != nil {
		return err
	}
	return t.showAll(events)
}

// showAll shows events that are there with the newest first, and each counts as seen.
func (t *tail) showAll(events []*agentidp.Event) error {
	for _, e := range slices.Backward(events) {
		t.seen[e.ID] = e.At
		if err := t.show(e); err != nil {
			return err
		}
	}
	return nil
}

// unseen returns the events since an instant that were not seen, the newest first.
func (t *tail) unseen(since time.Time) ([]*agentidp.Event, error) {
	var events []*agentidp.Event
	for e, err := range t.list(since) {
		if err != nil {
			return nil, err
		}
		if _, known := t.seen[e.ID]; !known {
			events = append(events, e)
		}
	}
	return events, nil
}

// forget lets go of what no look meets any more.
func (t *tail) forget(before time.Time) {
	for id, at := range t.seen {
		if at.Before(before) {
			delete(t.seen, id)
		}
	}
}

// passes reports whether trying again can help: the server is away, or has too much
// to do.
func passes(err error) bool {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status == 429 || e.Status >= 500
	}
	_, ok := errors.AsType[*url.Error](err)
	return ok || errors.Is(err, io.ErrUnexpectedEOF)
}
