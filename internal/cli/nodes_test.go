package cli

import (
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// startNodes starts so many servers of one installation over one PostgreSQL.
func startNodes(t *testing.T, n int, settings ...string) []*installation {
	t.Helper()
	nodes := []*installation{newInstallation(t, settings...)}
	for range n - 1 {
		nodes = append(nodes, nodes[0].beside())
	}
	for _, node := range nodes {
		node.start()
	}
	return nodes
}

// Several servers over one PostgreSQL are one AgentIdP: one set of keys, and what one of
// them was told, all know.
func TestServersOverOnePostgreSQLAreOne(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	l := newLedger(nodes[0], nodes[0].program("admin", "token"))
	w := l.crowd(1)[0]
	for range 2 { // an agent, and its policy
		if err := w.perform(t.Context(), w.next(), false); err != nil {
			t.Fatal(err)
		}
	}
	for first := range nodes {
		token := nodes[first].subject(w.repository, "refs/heads/main")
		for k := range nodes {
			node := (first + k) % len(nodes)
			_, err := nodes[node].client("").Exchange(t.Context(), client.ExchangeRequest{Token: token, AgentID: w.agent})
			if _, reason := refusal(err); (k == 0) != (err == nil) || k > 0 && reason != agentidp.ReasonTokenReplayed {
				t.Errorf("a token that server %d is the first to see, at server %d: %v", first, node, err)
			}
		}
	}
}
