package app

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

func keeping(c *config.Config) { c.KeepDecisions, c.KeepEvents, c.KeepClaims = 90*day, 400*day, 30*day }

// steadily lets time pass at every node, which look for what is old all the while.
func steadily(nodes []*world, d time.Duration) {
	for range int(d / (maxStep / 2)) {
		nodes[0].clock.advance(maxStep / 2)
		var wg sync.WaitGroup
		for _, node := range nodes {
			wg.Go(func() {
				if err := node.app.removeDue(node.t.Context()); err != nil {
					node.t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// counted returns how many rows the tables have that grow.
func (w *world) counted() store.Removed {
	w.t.Helper()
	ctx, org := w.t.Context(), w.org().ID
	never := time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
	var all store.Removed
	decisions, err := w.app.db.Decisions(ctx, org, &agentidp.DecisionFilter{}, "", 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	all.Decisions, all.Events = int64(len(decisions)), int64(w.events())
	used, _, err := w.app.db.RemoveDue(ctx, org, &store.Retention{UsedTokens: never, AccessTokens: never, Claims: never}, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	all.UsedTokens, all.AccessTokens, all.Claims = used.UsedTokens, used.AccessTokens, used.Claims
	return all
}

// What is kept is bounded, whatever happens how often: tables are back where they were.
func TestTablesAreBackWhereTheyWere(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		agent := w.agentWithPolicy(w.admin())
		steadily(nodes, time.Hour)
		for round := range 2 {
			for range 3 {
				w.granted(exchangeBody(w.subject(nil), agent))
				w.want(w.exchange(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent)), 403, agentidp.CodeBranchNotPermitted)
			}
			admin, credentials := w.admin(), agentsPath+"/"+agent+"/credentials"
			ended := w.want(w.do("POST", credentials, admin, map[string]any{"type": "secret"}), 201).str("credentialId")
			w.want(w.do("DELETE", credentials+"/"+ended, admin, nil), 204)
			w.clock.advance(91 * day)
			steadily(nodes, 26*time.Hour)
			got := w.decisions()
			if got[agentidp.OutcomeAllowed] != 3 || got[agentidp.OutcomeDenied] != 0 {
				t.Errorf("round %d: after 91 days there are %v; the grants' events are found by them", round, got)
			}
			w.clock.advance(310 * day)
			steadily(nodes, 26*time.Hour)
			if got := w.counted(); got != (store.Removed{}) {
				t.Errorf("round %d: after 401 days there are %+v", round, got)
			}
		}
		var removed store.Removed
		for _, node := range nodes {
			removed.Add(node.app.RetentionStats().Removed)
		}
		if removed.Decisions != 12 || removed.UsedTokens != 6 || removed.AccessTokens != 9 || removed.Events < 12 || removed.Credentials != 2 || removed.Claims != 12 {
			t.Errorf("the counters say %+v", removed)
		}
		if !strings.Contains(w.logs.String(), "what need not be kept was removed") {
			t.Error("the log does not say so")
		}
	}, keeping)
}

func (w *world) decisions() map[agentidp.Outcome]int {
	w.t.Helper()
	all, err := w.app.db.Decisions(w.t.Context(), w.org().ID, &agentidp.DecisionFilter{}, "", 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	n := map[agentidp.Outcome]int{}
	for _, d := range all {
		n[d.Outcome]++
	}
	return n
}

// what is removed does not come back, so a clock that jumps removes nothing.
func TestR19AClockThatJumpsRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keeping)
	nodes := []*world{w}
	agent := w.agentWithPolicy(w.admin())
	steadily(nodes, 25*time.Hour)
	token := w.subject(nil)
	body := exchangeBody(token, agent)
	w.granted(body)
	before := w.decisions()
	look := func(held bool) {
		t.Helper()
		if err := w.app.removeDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.app.RetentionStats().Held; got != held {
			t.Errorf("held is %v, want %v", got, held)
		}
	}
	look(false)
	for _, jump := range []time.Duration{500 * day, 100 * 365 * day, 25 * time.Hour, 2 * time.Hour} {
		w.clock.advance(jump)
		look(true)
		w.clock.advance(-jump)
		look(true)
		w.want(w.exchange(body), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
	}
	if got := w.decisions(); got[agentidp.OutcomeAllowed] != before[agentidp.OutcomeAllowed] {
		t.Errorf("there were %v decisions, and are %v", before, got)
	}
	if n := strings.Count(w.logs.String(), "the clock is far from where it was at the last look"); n != 8 {
		t.Errorf("%d warnings, want one for each jump", n)
	}
	// A jump too small to be noticed forgets no token that could be used again.
	steadily(nodes, 25*time.Hour)
	token = w.subject(nil)
	body = exchangeBody(token, agent)
	w.granted(body)
	w.clock.advance(maxStep / 2)
	look(false)
	w.clock.advance(-maxStep / 2)
	look(false)
	w.want(w.exchange(body), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
}

// Of two servers whose clocks differ, neither is believed.
func TestR19ServersWhoseClocksDifferRemoveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keeping)
	w.agentWithPolicy(w.admin())
	steadily([]*world{w}, 25*time.Hour)
	other := &App{cfg: w.app.cfg, logger: w.app.logger, db: w.app.db, clock: func() time.Time { return w.clock.Now().Add(500 * day) }}
	before := w.events()
	for range 3 {
		for _, a := range []*App{other, w.app} {
			if err := a.removeDue(t.Context()); err != nil || !a.RetentionStats().Held {
				t.Fatalf("held is %v, %v", a.RetentionStats().Held, err)
			}
		}
		w.clock.advance(30 * time.Minute)
	}
	if after := w.events(); after != before {
		t.Errorf("%d events, and %d before", after, before)
	}
}

// A restart remembers what the clock was, and a look that cannot be read is none.
func TestTheLastLookOutlivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keeping)
	steadily([]*world{w}, 25*time.Hour)
	w.restart()
	if err := w.app.removeDue(t.Context()); err != nil || w.app.RetentionStats().Held {
		t.Errorf("after a restart: held is %v, %v", w.app.RetentionStats().Held, err)
	}
	for _, text := range []string{"", "nonsense", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z tomorrow"} {
		if err := w.app.db.Write(t.Context(), func(tx *store.Tx) error { return tx.SetSetting(t.Context(), lookSetting, text) }); err != nil {
			t.Fatal(err)
		}
		if err := w.app.removeDue(t.Context()); err != nil || !w.app.RetentionStats().Held {
			t.Errorf("%q: held is %v, %v", text, w.app.RetentionStats().Held, err)
		}
	}
}
