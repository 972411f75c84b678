package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// log is an audit log whose clock the test turns.
type log struct {
	events []agentidp.Event
	now    time.Time
	fail   error // what the server answers
	looks  []time.Time
}

func newLog() *log { return &log{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

// commit makes an event visible that happened some time ago.
func (l *log) commit(id string, ago time.Duration) {
	l.events = append(l.events, agentidp.Event{ID: id, At: l.now.Add(-ago)})
	slices.SortStableFunc(l.events, func(a, b agentidp.Event) int { return b.At.Compare(a.At) })
}

func (l *log) list(since time.Time) iter.Seq2[*agentidp.Event, error] {
	return func(yield func(*agentidp.Event, error) bool) {
		if l.fail != nil {
			yield(nil, l.fail)
			return
		}
		l.looks = append(l.looks, since)
		for _, e := range l.events {
			if e.At.Before(since) || strings.HasPrefix(e.ID, "filtered") {
				continue
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// followed follows a log through what happens between its looks, and returns what was
// shown, the lines for people after a "!".
func followed(t *testing.T, l *log, since time.Time, lines int, happens ...func()) ([]string, error) {
	t.Helper()
	var shown []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	tail := &tail{
		newest: func() (time.Time, error) {
			if l.fail != nil || len(l.events) == 0 {
				return time.Time{}, l.fail
			}
			return l.events[0].At, nil
		},
		list: l.list,
		show: func(e *agentidp.Event) error { shown = append(shown, e.ID); return nil },
		say:  func(words string) { shown = append(shown, "! "+words) },
		sleep: func(d time.Duration) {
			l.now = l.now.Add(d)
			if n == len(happens) {
				cancel()
				return
			}
			happens[n]()
			n++
		},
		interval: 2 * time.Second, since: since,
	}
	err := tail.follow(ctx, lines)
	if len(tail.seen) > 1000 {
		t.Errorf("%d events are remembered", len(tail.seen))
	}
	return shown, err
}

func TestTailShowsEachEventOnce(t *testing.T) {
	t.Parallel()
	nothing := func() {}
	for _, tt := range []struct {
		name   string
		before int // events, a second apart
		since  time.Duration
		lines  int
		then   func(*log) []func()
		want   string
	}{
		{"the latest, the oldest of them first, and then what comes", 8, 0, 2, func(l *log) []func() {
			return []func(){func() { l.commit("a", 0) }, nothing, func() { l.commit("b", time.Second); l.commit("c", 0) }}
		}, "old1 old0 a b c"},
		{"only what comes", 8, 0, 0, func(l *log) []func() {
			return []func(){func() { l.commit("a", 0) }}
		}, "a"},
		{"all since an instant", 8, 5 * time.Second, 10, func(l *log) []func() {
			return []func(){func() { l.commit("a", 0) }}
		}, "old5 old4 old3 old2 old1 old0 a"},
		{"a log that has nothing yet", 0, 0, 10, func(l *log) []func() {
			return []func(){nothing, func() { l.commit("a", 0) }, nothing}
		}, "a"},
		{"what becomes visible a moment after later ones", 1, 0, 1, func(l *log) []func() {
			return []func(){func() { l.commit("b", 0) }, func() { l.commit("a", 3*time.Second) }, nothing}
		}, "old0 b a"},
		{"what becomes visible long after later ones", 1, 0, 1, func(l *log) []func() {
			return append([]func(){
				func() { l.commit("b", 0) },
				func() { l.commit("filtered", 0); l.commit("a", 55*time.Second) },
			}, slices.Repeat([]func(){func() { l.commit(fmt.Sprint("filtered", l.now), 0) }}, 2*wideEvery)...)
		}, "old0 b a"},
		{"not what is before that instant", 8, time.Second, 10, func(l *log) []func() {
			return []func(){func() { l.commit("a", 0); l.commit("late", time.Minute) }}
		}, "old1 old0 a"},
		{"many at once", 0, 0, 10, func(l *log) []func() {
			return []func(){func() {
				for i := range 8 {
					l.commit(fmt.Sprint("e", i), time.Duration(8-i)*time.Millisecond)
				}
			}, nothing}
		}, "e0 e1 e2 e3 e4 e5 e6 e7"},
	} {
		l := newLog()
		for i := range tt.before {
			l.commit(fmt.Sprint("old", i), time.Duration(i)*time.Second)
		}
		var since time.Time
		if tt.since > 0 {
			since = l.now.Add(-tt.since)
		}
		shown, err := followed(t, l, since, tt.lines, tt.then(l)...)
		if got := strings.Join(shown, " "); err != nil || got != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
}

func TestTailWaitsForTheServer(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]error{
		"it has too much to do": fmt.Errorf("list events: %w", &client.Error{Status: 503, Message: "Later."}),
		"it limits its clients": fmt.Errorf("list events: %w", &client.Error{Status: 429, Message: "Later."}),
		"it is not there":       fmt.Errorf("list events: %w", &url.Error{Op: "Get", URL: "http://127.0.0.1:1", Err: errors.New("connection refused")}),
		"it breaks off":         fmt.Errorf("list events: read the answer: %w", io.ErrUnexpectedEOF),
	} {
		l := newLog()
		l.commit("old", 0)
		began := l.now
		shown, err := followed(t, l, time.Time{}, 1,
			func() { l.fail = outage; l.commit("a", 0) }, func() {}, func() {}, func() { l.commit("b", 0) }, func() {}, func() {},
			func() { l.fail = nil }, func() { l.commit("c", 0) })
		want := []string{"old", "! " + outage.Error() + "; trying again until it answers", "a", "b", "! the server answers again; nothing was missed", "c"}
		if err != nil || !slices.Equal(shown, want) {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, shown, want)
		}
		// 2 s, then twice as long each time, 30 s at most, and 2 s again.
		if took := l.now.Sub(began); took != (2+4+8+16+30+30+30+2+2)*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

func TestTailEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	refused := &client.Error{Status: 401, Message: "No."}
	l := newLog()
	l.commit("old", 0)
	shown, err := followed(t, l, time.Time{}, 1, func() { l.fail = refused }, func() { l.commit("a", 0) })
	if !errors.Is(err, refused) || !slices.Equal(shown, []string{"old"}) {
		t.Errorf("%v, %q", err, shown)
	}
	away := &client.Error{Status: 503, Message: "Later."}
	if _, err := followed(t, &log{fail: away}, time.Time{}, 1); !errors.Is(err, away) {
		t.Errorf("at first nobody waits: %v", err)
	}
}

// What no look can meet again is forgotten, so that a tail of months stays small.
func TestTailForgets(t *testing.T) {
	t.Parallel()
	l := newLog()
	n := 0
	busy := func() {
		for range 10 {
			l.commit(fmt.Sprint("e", n), 0)
			n++
		}
		l.events = l.events[:min(len(l.events), 800)] // a test's log need not be long
	}
	shown, err := followed(t, l, time.Time{}, 0, slices.Repeat([]func(){busy}, 40*wideEvery)...)
	if err != nil || len(shown) != n {
		t.Errorf("%d of %d events were shown: %v", len(shown), n, err)
	}
}
