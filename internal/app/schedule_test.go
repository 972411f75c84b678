package app

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/pace"
)

// through a year of rotations nobody asked for, of several servers one makes each
// key, the key set stays small, and no relying party that honours its Cache-Control
// meets a token of a key that it does not know.
func TestR17AYearOfScheduledRotations(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		const year = 365 * day
		nodes = three(nodes)
		w := nodes[0]
		w.clock.freeze()
		began := w.clock.Now()
		parties := make([]*relyingParty, 3) // their key sets end one after the other
		for i := range parties {
			parties[i] = &relyingParty{node: nodes[i%len(nodes)]}
		}
		expires := map[string]time.Time{} // by kid: the end of the last token that it signed
		largest := 0
		for w.clock.Now().Sub(began) < year {
			var wg sync.WaitGroup
			for _, node := range nodes {
				wg.Go(func() {
					if err := node.app.rotateDue(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			token, rec, err := nodes[len(nodes)-1].app.AdminToken(t.Context(), w.slug, "", keys.LongestLife)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range parties {
				kid, err := p.verify(token)
				if err != nil {
					t.Fatalf("%s after the start, party %d: %v", w.clock.Now().Sub(began), i, err)
				}
				expires[kid] = rec.ExpiresAt
				for old, end := range expires {
					if w.clock.Now().Before(end) && !p.knows(old) {
						t.Fatalf("%s after the start, party %d does not know %s, of which a token lives until %s", w.clock.Now().Sub(began), i, old, end)
					}
				}
				largest = max(largest, len(p.keys))
			}
			list, err := w.app.SigningKeys(t.Context(), w.slug)
			if err != nil {
				t.Fatal(err)
			}
			step := day
			for _, k := range list {
				// Around a turn, a second at a time is too long a test, and a day too coarse.
				if k.Status == agentidp.SigningKeyPending || k.Status == agentidp.SigningKeySigning && w.clock.Now().Sub(k.SignsFrom) < 10*time.Minute {
					step = 100 * time.Second
				}
			}
			w.clock.advance(step)
		}
		list, err := w.app.SigningKeys(t.Context(), w.slug)
		if err != nil || len(list) != 5 || len(expires) != 5 {
			t.Errorf("after a year there are %d keys, and %d have signed, want 5 (%v)", len(list), len(expires), err)
		}
		if largest != 2 {
			t.Errorf("the key set had up to %d keys, want 2", largest)
		}
		made := w.want(w.do("GET", "/api/v1/audit/events?type=signing_key_created", w.admin(), nil), 200)
		if n := strings.Count(string(made.Raw), `"actor":"system"`); n != 5 { // the first one too
			t.Errorf("%d keys were made by the server itself: %s", n, made.Raw)
		}
	}, func(c *config.Config) { c.KeyRotation = 90 * day })
}

func (r *relyingParty) knows(kid string) bool {
	for _, k := range r.keys {
		if k.ID == kid {
			return true
		}
	}
	return false
}

// When the next is due is told, a server that was off when it was due makes up for it
// when it starts, and what is turned off stays so.
func TestScheduledRotationsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	list := func(want int) []agentidp.SigningKey {
		t.Helper()
		list, err := w.app.SigningKeys(t.Context(), w.slug)
		if err != nil || len(list) != want {
			t.Fatalf("%d keys, want %d: %+v, %v", len(list), want, list, err)
		}
		return list
	}
	if k := list(1)[0]; !k.RotatesAt.IsZero() {
		t.Errorf("without a schedule: %s", k.RotatesAt)
	}
	w.restart(func(c *config.Config) { c.KeyRotation = 30 * day })
	if k := list(1)[0]; !k.RotatesAt.Equal(k.CreatedAt.Add(30 * day)) {
		t.Errorf("made %s, and the next %s", k.CreatedAt, k.RotatesAt)
	}
	w.restart(func(c *config.Config) { c.KeyRotation = 0 })
	w.clock.advance(100 * day)
	if err := w.app.rotateDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	list(1)
	w.restart(func(c *config.Config) { c.KeyRotation = 30 * day })
	pace.Eventually(t, "a successor", func() bool {
		list, err := w.app.SigningKeys(t.Context(), w.slug)
		return err != nil || len(list) == 2
	})
	w.clock.advance(keys.Lead)
	if k := list(2)[1]; k.Status != agentidp.SigningKeySigning || !k.RotatesAt.Equal(k.SignsFrom.Add(30*day)) {
		t.Errorf("%+v", k)
	}
}
