package app

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
)

// twenty times in a minute a server is started again (in the long form, each of
// them), and each time strangers bring key ids that nobody knows. The issuer is asked as often as one server would ask
// that runs all the time: at first, and then once in thirty seconds.
func TestR32ServersThatAreStartedAgainAndAgain(t *testing.T) {
	t.Parallel()
	for name, servers := range map[string]int{"one server on SQLite": 1, "three on PostgreSQL": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := []option{}
			if servers > 1 {
				options = append(options, onPostgres(t))
			}
			nodes := []*world{newWorld(t, options...)}
			w := nodes[0]
			for range servers - 1 {
				nodes = append(nodes, w.node())
			}
			w.clock.freeze()
			agent := w.agentWithPolicy(w.admin())
			const storm, step = 20, 3 * time.Second
			for i := range storm {
				for k, node := range nodes {
					if i%len(nodes) == k || pace.Long() {
						node.restart()
					}
				}
				everyone(t, nodes, func(node *world) error {
					_, err := node.accessToken(w, agent)
					return err
				})
				everyone(t, nodes, func(node *world) error {
					a, err := node.send("POST", exchangePath, "", exchangeBody(w.unknownKey(), agent))
					if err == nil && (a.Status != 401 || a.str("code") != agentidp.CodeInvalidToken) {
						err = errors.New("a key that nobody has: " + a.str("code"))
					}
					return err
				})
				w.clock.advance(step)
			}
			if got, most := w.fetches.Load(), int64(1+storm*step/(30*time.Second)); got < 1 || got > most {
				t.Errorf("the issuer was asked %d times, want %d at most", got, most)
			} else {
				t.Logf("the issuer was asked %d times", got)
			}
		})
	}
}

// everyone does something at all nodes at once.
func everyone(t *testing.T, nodes []*world, do func(*world) error) {
	t.Helper()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { errs[i] = do(node) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// unknownKey returns a stranger's token with a key id that nobody has.
func (w *world) unknownKey() string {
	w.t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(w.mint(), ".")[1])
	if err != nil {
		w.t.Error(err)
	}
	return compact(header("RS256", agentidp.NewID(w.clock.Now())), string(payload), raw(random(256)))
}
