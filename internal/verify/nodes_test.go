package verify_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/verify"
)

// newNodes returns so many nodes over one disk, with one clock and one issuer.
func newNodes(t *testing.T, n int) ([]*world, *disk) {
	t.Helper()
	first, d := newWorldWithDisk(t)
	first.config.Begin = d.begin
	nodes := make([]*world, n)
	for i := range nodes {
		w := *first
		w.verifier = nil
		w.restart(t)
		nodes[i] = &w
	}
	return nodes, d
}

// saved waits until the disk has the set that was fetched now.
func (w *world) saved(t *testing.T, d *disk) {
	t.Helper()
	pace.Eventually(t, "the set is saved", func() bool {
		set := d.set(w.provider.JWKSURI)
		return set != nil && set.FetchedAt.Equal(w.Now())
	})
}

func (w *world) wantAsked(t *testing.T, what string, want int64) {
	t.Helper()
	if got := w.issuer.requests.Load(); got != want {
		t.Errorf("%s: the issuer was asked %d times in all, want %d", what, got, want)
	}
}

func TestWhatOneNodeFetchesServesAll(t *testing.T) {
	t.Parallel()
	nodes, d := newNodes(t, 3)
	all := func(what string, asked int64) {
		t.Helper()
		for _, w := range nodes {
			w.mustVerify(t, w.good(t))
		}
		w := nodes[0]
		w.wantAsked(t, what, asked)
		pace.Eventually(t, what+": the set is saved", func() bool { return d.set(w.provider.JWKSURI) != nil })
	}
	nodes[0].mustVerify(t, nodes[0].good(t))
	nodes[0].saved(t, d)
	all("at the start", 1)

	next := newKey(t, "k2", jose.ES256)
	nodes[0].issuer.publish(t, next)
	nodes[0].Advance(time.Minute)
	for _, w := range nodes {
		w.key = next
	}
	nodes[1].mustVerify(t, nodes[1].good(t))
	nodes[1].saved(t, d)
	all("a new key", 2)

	nodes[0].Advance(11 * time.Minute)
	nodes[2].mustVerify(t, nodes[2].good(t)) // has the set fetched beside it
	nodes[2].saved(t, d)
	all("the set is old", 3)
	pace.Eventually(t, "all have the new set", func() bool {
		for _, w := range nodes {
			if !w.verifier.Stats().Oldest.Equal(w.Now()) {
				return false
			}
		}
		return true
	})
	nodes[0].wantAsked(t, "all have the new set", 3)

	// What another fetched half a minute ago does not have a key that is newer still.
	nodes[0].Advance(time.Minute)
	stranger := newKey(t, "stranger", jose.ES256)
	nodes[0].wantRefused(t, stranger.token(t, claims(t, nil)), "unknown_key")
	nodes[0].saved(t, d)
	nodes[0].Advance(30 * time.Second)
	newest := newKey(t, "k3", jose.ES256)
	nodes[0].issuer.publish(t, newest)
	nodes[1].key = newest
	nodes[1].mustVerify(t, nodes[1].good(t))
	nodes[0].wantAsked(t, "a key that no node knows", 5)
}

func TestNodesThatComeAtTheSameMomentAskOnce(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.config.Begin = d.begin
	w.config.Load = func(ctx context.Context, source string) (*verify.KeySet, error) {
		set, err := d.load(ctx, source)
		time.Sleep(time.Millisecond) // until all have looked
		return set, err
	}
	body, token := jwks(t, w.key), w.good(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w.config.SetTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(fetchTime - time.Second)
			return answered(string(body)), nil
		}))
		var wg sync.WaitGroup
		for range 5 {
			node := *w
			node.verifier = nil
			node.restart(t)
			wg.Go(func() { node.mustVerify(t, token) })
		}
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("the issuer was asked %d times", n)
		}
	})
}

// Strangers' key ids cost the issuer a fetch every 30 seconds, at however many nodes.
func TestStrangersAtManyNodes(t *testing.T) {
	t.Parallel()
	nodes, d := newNodes(t, 3)
	stranger := newKey(t, "stranger", jose.ES256)
	w := nodes[0]
	w.mustVerify(t, w.good(t))
	w.saved(t, d)
	for range 60 { // ten minutes
		w.Advance(10 * time.Second)
		before := w.issuer.requests.Load()
		for _, node := range nodes {
			node.wantRefused(t, stranger.token(t, claims(t, nil)), "unknown_key")
			if node.issuer.requests.Load() > before {
				node.saved(t, d)
			}
		}
	}
	w.wantAsked(t, "in ten minutes", 1+20)
}

func TestOneNodeThatFailedToFetchSparesTheOthers(t *testing.T) {
	t.Parallel()
	nodes, d := newNodes(t, 2)
	w, other := nodes[0], nodes[1]
	w.issuer.answers(http.StatusBadGateway, "")
	for i := range int64(3) {
		w.wantUnreachable(t, w.good(t))
		pace.Eventually(t, "others are told", func() bool { return d.set(w.provider.JWKSURI).FailedAt.Equal(w.Now()) })
		other.wantUnreachable(t, other.good(t))
		w.wantAsked(t, "while it is down", i+1)
		if s := other.verifier.Stats(); s.Failing != 1 || s.Failures != 0 {
			t.Errorf("the node that did not ask says %+v", s)
		}
		w.Advance(5 * time.Second)
	}
	w.issuer.publish(t, w.key)
	other.mustVerify(t, other.good(t))
	other.saved(t, d)
	w.mustVerify(t, w.good(t))
	w.wantAsked(t, "up again", 4)
}

// A node that ends while it fetches keeps the others waiting for five seconds, of the
// nodes' clock or, where that is not to be relied on, of real time.
func TestANodeThatNeverAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ahead  time.Duration // its clock
		passes time.Duration // of ours, a second after it began
		waits  time.Duration
	}{
		"our clock goes on":         {passes: 5 * time.Second, waits: time.Second},
		"our clock stands still":    {waits: 5 * time.Second},
		"its clock is ahead":        {ahead: 20 * time.Second, passes: 5 * time.Second, waits: 5 * time.Second},
		"its clock is hours ahead":  {ahead: 3 * time.Hour},
		"its clock is hours behind": {ahead: -3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d := newWorldWithDisk(t)
			w.config.Begin = d.begin
			body, token := jwks(t, w.key), w.good(t)
			synctest.Test(t, func(t *testing.T) {
				w.config.SetTransport(roundTripper(func(*http.Request) (*http.Response, error) { return answered(string(body)), nil }))
				w.restart(t)
				if ours, err := d.begin(t.Context(), w.provider.JWKSURI, w.Now().Add(tt.ahead), 0, 0); !ours || err != nil {
					t.Fatal(ours, err)
				}
				time.AfterFunc(time.Second-time.Millisecond, func() { w.Advance(tt.passes) })
				began := time.Now()
				w.mustVerify(t, token)
				if took := time.Since(began); took.Round(time.Second/2) != tt.waits {
					t.Errorf("waited %s, want %s", took, tt.waits)
				}
			})
		})
	}
}

// Where nobody can be told, each node fetches for itself.
func TestFetchesWithoutStorage(t *testing.T) {
	t.Parallel()
	nodes, _ := newNodes(t, 2)
	for i, w := range nodes {
		w.config.Begin = func(context.Context, string, time.Time, time.Duration, time.Duration) (bool, error) {
			return false, errors.New("the disk takes no writes")
		}
		w.config.Save = func(context.Context, *verify.KeySet) error { return errors.New("the disk takes no writes") }
		w.restart(t)
		w.mustVerify(t, w.good(t))
		w.wantAsked(t, "without storage", int64(i+1))
	}
}

// A node that cannot reach an issuer, behind a firewall of its own or without the
// authority's certificate, does not keep those that can from it by coming first each time.
func TestANodeThatCannotReachTheIssuerKeepsNoOtherFromIt(t *testing.T) {
	t.Parallel()
	for name, changed := range map[string]bool{"no keys are known": false, "the issuer has changed its key": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, d := newNodes(t, 2)
			bad, good := nodes[0], nodes[1]
			if changed {
				good.mustVerify(t, good.good(t))
				good.saved(t, d)
				bad.mustVerify(t, bad.good(t))
				bad.key = newKey(t, "k2", jose.ES256)
				good.key = bad.key
				good.issuer.publish(t, good.key)
				good.Advance(time.Minute)
			}
			bad.config.SetTransport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }))
			bad.restart(t)
			for range 10 {
				bad.wantUnreachable(t, bad.good(t))
				pace.Eventually(t, "others are told", func() bool { k := d.set(bad.provider.JWKSURI); return !k.FailedAt.Before(k.AskedAt) })
				if _, err := good.verify(t, good.good(t)); err == nil {
					return
				}
				good.Advance(time.Second)
			}
			t.Error("after ten seconds the good node has not asked")
		})
	}
}
