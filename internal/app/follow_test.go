package app

import (
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
)

// Whatever is changed through one node, all nodes forget what they remember of it: on
// PostgreSQL they call each other, on SQLite the one looks for what commands change.
func TestEachNodeForgetsWhatAnotherChanged(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes = three(nodes)
		w := nodes[0]
		admin := w.admin()
		agent := w.agentWithPolicy(admin)
		policy := w.policy(admin, map[string]any{"branch": "release", "agentId": agent})
		for i, change := range []struct {
			typ  agentidp.EventType
			make func(via *world)
		}{
			{agentidp.EventPolicyDeleted, func(via *world) {
				via.want(via.do(http.MethodDelete, policiesPath+"/"+policy.str("id"), admin, nil), 204)
			}},
			{agentidp.EventAgentSuspended, func(via *world) {
				via.want(via.do(http.MethodPost, agentsPath+"/"+agent+"/suspend", admin, nil), 200)
			}},
			{agentidp.EventSigningKeyCompromised, func(via *world) {
				if _, err := via.app.RotateKeys(t.Context(), w.slug, w.keyIDs()[0]); err != nil {
					t.Fatal(err)
				}
			}},
		} {
			change.make(nodes[i%len(nodes)])
			pace.Eventually(t, fmt.Sprintf("%s is told to %d nodes", change.typ, len(nodes)), func() bool { return w.told(change.typ) == len(nodes) })
		}
	})
}

// told is how often a node forgot what was remembered of a change of this type, of all
// nodes, which write one log.
func (w *world) told(typ agentidp.EventType) (n int) {
	for line := range strings.Lines(w.logs.String()) {
		if strings.Contains(line, "what was remembered of a change is forgotten") && strings.Contains(line, `"type":"`+string(typ)+`"`) {
			n++
		}
	}
	return n
}

// With nothing told to anybody, each promise is kept: what a node remembers grants nothing
// that was taken back, and refuses nothing that was given.
func TestNoPromiseRestsOnWhatNodesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	nodes := []*world{w, w.node(), w.node()}
	db, err := sql.Open("pgx", w.app.cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE RULE silence AS ON INSERT TO changes DO INSTEAD NOTHING"); err != nil {
		t.Fatal(err)
	}
	noWindow(t, nodes)

	admin := w.admin()
	bad := w.keyIDs()[0]
	for _, node := range nodes {
		node.want(node.do(http.MethodGet, agentsPath, admin, nil), 200)
	}
	if _, err := w.app.RotateKeys(t.Context(), w.slug, bad); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		node.want(node.do(http.MethodGet, agentsPath, admin, nil), 401, agentidp.CodeInvalidToken)
		if slices.Contains(node.keyIDs(), bad) {
			t.Error("a node hands out a key that was given up")
		}
	}
	for _, typ := range []agentidp.EventType{agentidp.EventPolicyDeleted, agentidp.EventAgentSuspended, agentidp.EventSigningKeyCompromised} {
		if n := w.told(typ); n != 0 {
			t.Errorf("%s was told to %d nodes all the same", typ, n)
		}
	}
}
