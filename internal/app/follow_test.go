package app

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
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

// Two servers of one installation that were started with other settings say so: the one
// that starts, and the one that runs. With another master key none starts.
func TestServersWithOtherSettingsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	node := *w
	node.logs = &syncBuffer{}
	other := node.node()
	at := other.app.cfg.PublicURL
	elsewhere := strings.Replace(at, "127.0.0.1", "localhost", 1)
	if strings.Contains(other.logs.String(), "another") {
		t.Errorf("with the same settings: %s", other.logs)
	}
	other.restart(func(c *config.Config) { c.PublicURL, c.SigningAlg = elsewhere, "RS256" })
	for _, want := range []string{
		`"setting":"public-url (AGENTIDP_PUBLIC_URL)","was":"` + at + `","is":"` + elsewhere + `"`,
		`"setting":"signing-alg (AGENTIDP_SIGNING_ALG)","was":"ES256","is":"RS256"`,
	} {
		if !strings.Contains(other.logs.String(), want) {
			t.Errorf("the one that starts does not say %s", want)
		}
	}
	w.clock.advance(compareInterval)
	for _, want := range []string{
		`"setting":"public-url (AGENTIDP_PUBLIC_URL)","here":"` + at + `","there":"` + elsewhere + `"`,
		`"setting":"signing-alg (AGENTIDP_SIGNING_ALG)","here":"ES256","there":"RS256"`,
	} {
		pace.Eventually(t, "the one that runs says "+want, func() bool { return strings.Contains(w.logs.String(), want) })
	}
	if strings.Contains(w.logs.String()+other.logs.String(), "key-rotation (") {
		t.Error("of a setting that both have alike, something is said")
	}
	cfg := other.app.cfg
	cfg.MasterKey, cfg.DataDir = base64.StdEncoding.EncodeToString(random(32)), t.TempDir()
	if _, err := New(t.Context(), Options{Config: cfg, Version: "test", Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "is not the one that sealed this database") {
		t.Errorf("with another master key: %v", err)
	}
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
