package app

import (
	"database/sql"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
)

// unwritable keeps everybody from writing a decision, and nobody from reading, until the
// returned function is called. It does not make writes fail: they wait.
func (w *world) unwritable() (release func()) {
	w.t.Helper()
	ctx := w.t.Context()
	if path, embedded := w.app.cfg.SQLitePath(); embedded {
		db, err := sql.Open("sqlite", "file://"+path+"?_txlock=immediate")
		if err != nil {
			w.t.Fatal(err)
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		return func() {
			if err := tx.Rollback(); err != nil {
				w.t.Error(err)
			}
			db.Close()
		}
	}
	conn, err := pgx.Connect(ctx, w.app.cfg.DatabaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE decisions IN EXCLUSIVE MODE"); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := conn.Close(ctx); err != nil {
			w.t.Error(err)
		}
	}
}

// turnedAway asserts that a request was told to come again.
func turnedAway(t *testing.T, a *answer, err error) {
	switch {
	case err != nil:
		t.Error(err)
	case a.Status != 503 || a.str("code") != agentidp.CodeTemporarilyUnavailable || a.Header.Get("Retry-After") == "" || strings.Contains(string(a.Raw), "access_token"):
		t.Errorf("%d %s, Retry-After %q", a.Status, a.str("code"), a.Header.Get("Retry-After"))
	}
}

// the audit log cannot be written, and whoever writes it is made to wait for ever.
// Nobody else does: each exchange, granted or refused, is 503 within the time of a
// request (past the server's WriteTimeout no answer would arrive), and no token leaves. What
// needs no record is served, and afterwards all is well: the tokens that were turned away are
// good, or the server knows that they are used.
func TestR25NoTokenWithoutItsRecord(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.agentWithPolicy(admin)
		w.granted(exchangeBody(w.subject(nil), agent))
		good, refused := w.subject(nil), w.subject(claims{"ref": "refs/heads/dev"})

		release := w.unwritable()
		var wg sync.WaitGroup
		for _, token := range []string{good, w.subject(nil), refused} {
			wg.Go(func() {
				a, err := w.send("POST", exchangePath, "", exchangeBody(token, agent))
				turnedAway(t, a, err)
			})
		}
		if _, embedded := w.app.cfg.SQLitePath(); embedded { // elsewhere only decisions wait
			wg.Go(func() {
				a, err := w.send("POST", agentsPath, admin, map[string]any{"name": "late@ci.acme.example"})
				turnedAway(t, a, err)
			})
		}
		if got := w.keyIDs(); len(got) != 1 {
			t.Errorf("the keys are %v", got)
		}
		w.want(w.do("GET", "/healthz", "", nil), 200)
		w.want(w.do("GET", "/.well-known/openid-configuration", "", nil), 200)
		wg.Wait()
		release()

		pace.Eventually(t, "exchanges are granted again", func() bool {
			a, err := w.send("POST", exchangePath, "", exchangeBody(w.subject(nil), agent))
			return err == nil && a.Status == 200
		})
		a := w.exchange(exchangeBody(good, agent))
		if a.Status != 200 && a.str("reason") != agentidp.ReasonTokenReplayed {
			t.Errorf("the token that was turned away: %d %s %s", a.Status, a.str("code"), a.str("reason"))
		}
		w.want(w.exchange(exchangeBody(refused, agent)), 403, agentidp.CodeBranchNotPermitted)
	})
}
