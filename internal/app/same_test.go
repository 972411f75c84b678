package app

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/sentryagent/agentidp/internal/emulator"
)

// sameChanges are what the drawn runs differ in, one or two at a time.
var sameChanges = []claims{
	{}, {"ref": "refs/heads/dev"}, {"ref": "refs/tags/v1", "ref_type": "tag"}, {"ref": "refs/pull/7/merge"}, {"event_name": "schedule"},
	{"event_name": "pull_request_target"}, {"environment": "prod"}, {"environment": "Prod"}, {"runner_environment": "self-hosted"},
	{"repository": "ACME/Deploy"}, {"repository": "acme/other"}, {"repository_id": "7"}, {"repository_owner_id": emulator.Absent},
	{"job_workflow_ref": "acme/deploy/.github/workflows/ci.yml@refs/heads/main"},
}

// unheardOf are claims that no policy reads and no provider is known to send.
var unheardOf = []claims{
	{"x": "acme/deploy"}, {"Repository": "acme/other", "REF": "refs/heads/dev"}, {"admin": true, "scope": "admin", "scp": []string{"admin"}},
	{"act": claims{"sub": "admin"}, "may_act": claims{"sub": "*"}}, {"agent_id": "x", "client_id": "y", "organization": "other"},
	{"groups": []any{1, nil, claims{"a": []int{}}}}, {"https://example.com/roles": []string{"owner"}}, {"ref ": "refs/heads/main"},
	{"head_ref": "main", "base_ref": "main", "actor": "root", "actor_id": "1", "triggering_actor": "root"},
}

// A run is answered the same whatever order its policies were made in, at which node and
// at which door it asks, and whatever else its token says.
func TestTheSameRunIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		const seed = 20260821
		draw := rand.New(rand.NewPCG(seed, 1))
		w := nodes[0]
		admin := w.admin()
		specs := []map[string]any{
			{"branch": "main"}, {"branch": "main", "events": []string{"schedule"}}, {"tag": "v*"}, {"environment": "prod"}, {"workflow": ".github/workflows/ci.yml", "branch": "dev"},
			{"claims": map[string]any{"runner_environment": "github-hosted"}, "branch": "dev"}, {"branch": "main", "mode": "disabled"}, {"repositoryId": "7", "branch": "main"},
		}
		agents := [2]string{}
		for i := range agents { // the same policies for either, in another order
			agents[i] = w.register(admin, fmt.Sprintf("same%d@ci.acme.example", i))
			for _, at := range draw.Perm(len(specs)) {
				spec := maps.Clone(specs[at])
				spec["agentId"] = agents[i]
				w.policy(admin, spec)
			}
		}
		w.granted(exchangeBody(w.subject(nil), agents[0])) // and the repository is pinned
		outcomes := map[string]int{}
		for range 40 {
			run := maps.Clone(sameChanges[draw.IntN(len(sameChanges))])
			maps.Copy(run, sameChanges[draw.IntN(len(sameChanges))])
			first := ""
			for _, node := range nodes {
				for _, d := range allDoors {
					for _, agent := range agents {
						said := maps.Clone(run)
						maps.Copy(said, unheardOf[draw.IntN(len(unheardOf))])
						got := node.through(d).answered(exchangeBody(w.subject(said), agent))
						if first == "" {
							first = got
							outcomes[got]++
						}
						if got != first {
							t.Errorf("seed %d, %v, by %s: %s, and it was %s", seed, said, d, got, first)
						}
					}
				}
			}
		}
		if len(outcomes) < 5 || outcomes["200"] < 5 {
			t.Errorf("the draws are too narrow: %v", outcomes)
		}
	})
}

// answered sends an exchange and returns what its outcome is called at the native endpoint.
func (w *world) answered(body map[string]any) string {
	w.t.Helper()
	a := w.exchange(body)
	if a.Status == 200 {
		return "200"
	}
	return a.str("code") + " " + a.str("reason")
}
