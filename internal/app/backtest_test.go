package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// backtest asks what a draft (nil: none) would do, in the place of a policy ("": beside
// the others).
func (w *world) backtest(admin, id string, body map[string]any) *agentidp.Backtest {
	w.t.Helper()
	path := policiesPath + "/backtest"
	if id != "" {
		path = policiesPath + "/" + id + "/backtest"
	}
	var b agentidp.Backtest
	if err := json.Unmarshal(w.want(w.do("POST", path, admin, body), 200).Raw, &b); err != nil {
		w.t.Fatal(err)
	}
	return &b
}

// What a back-test says of a draft is what becomes of the same runs once the policy says
// what the draft says.
func TestABacktestAgreesWithTheExchangesThatFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RecordClaims = []string{"github:run_number"} })
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging", "deploy:production")
	runs := []claims{
		{},
		{"ref": "refs/heads/dev"},
		{"ref": "refs/heads/release/1"},
		{"ref": "refs/tags/v1", "ref_type": "tag"},
		{"event_name": "pull_request_target"},
		{"event_name": "pull_request", "ref": "refs/pull/7/merge", "ref_type": "branch"},
		{"environment": "production"},
		{"environment": "production", "ref": "refs/heads/dev", "ref_protected": "false"},
		{"runner_environment": "self-hosted"},
		{"job_workflow_ref": "acme/deploy/.github/workflows/other.yml@refs/heads/main"},
		{"run_number": "7"},
		{"repository": "acme/renamed"},
	}
	decided := func() (granted []bool) {
		for _, run := range runs {
			a := w.exchange(exchangeBody(w.subject(run), agent))
			if a.Status != http.StatusOK && a.Status != http.StatusForbidden {
				t.Fatalf("%v: %d %s", run, a.Status, a.Raw)
			}
			granted = append(granted, a.Status == http.StatusOK)
		}
		return granted
	}
	spec := func(more map[string]any) map[string]any {
		all := map[string]any{"provider": "github", "repository": repository, "agentId": agent}
		maps.Copy(all, more)
		return all
	}
	id := w.want(w.do("POST", policiesPath, admin, spec(map[string]any{"branch": "main"})), 201).str("id")
	w.want(w.do("POST", policiesPath, admin, spec(map[string]any{"branch": "dev", "environment": "production"})), 201)
	before := decided()
	for i, draft := range []map[string]any{
		{},
		{"branch": "dev"},
		{"tag": "v*"},
		{"environment": "production"},
		{"branch": "main", "events": []string{"push", "pull_request_target"}, "acceptRisk": "It only labels."},
		{"workflow": ".github/workflows/deploy.yml"},
		{"claims": map[string]any{"runner_environment": "github-hosted", "run_number": "7"}},
		{"condition": `claims.ref.startsWith("refs/heads/release/") || claims.environment == "production"`},
		{"mode": "disabled"},
		{"branch": "main", "claims": map[string]any{"repository_visibility": []string{"public", "private"}}},
	} {
		said := w.backtest(admin, id, map[string]any{"policy": spec(draft), "limit": len(runs)})
		w.want(w.do("PUT", policiesPath+"/"+id, admin, spec(draft), "If-Match", fmt.Sprintf(`"%d"`, i+1)), 200)
		after := decided()
		var want [4]int // newly allowed, newly denied, still allowed, still denied
		for r := range runs {
			switch {
			case !before[r] && after[r]:
				want[0]++
			case before[r] && !after[r]:
				want[1]++
			case after[r]:
				want[2]++
			default:
				want[3]++
			}
		}
		got := [4]int{said.NewlyAllowed.Count, said.NewlyDenied.Count, said.StillAllowed, said.StillDenied}
		if got != want || said.Replayed != len(runs) {
			t.Errorf("%v: the back-test says %v of %d, and it was %v", draft, got, said.Replayed, want)
		}
		before = after
	}
}

// Claims are kept of tokens that policies decided on, and of no other.
func TestOfWhichTokensClaimsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	token := w.subject(nil)
	kept := w.granted(exchangeBody(token, agent)).str("decision_id")
	refused := w.want(w.exchange(exchangeBody(w.subject(nil), agentidp.NewID(w.clock.Now()))), 403, agentidp.CodeTrustPolicyViolation).str("decision_id")
	for _, id := range []string{kept, refused} {
		var c map[string]any
		if err := json.Unmarshal(w.decision(id).Claims, &c); err != nil || c["repository"] != repository {
			t.Errorf("of a decision of policies %s is kept, %v", w.decision(id).Claims, err)
		}
		for _, name := range []string{"actor", "triggering_actor", "jti", "sub", "iss", "aud", "exp", "iat", "nbf"} {
			if _, there := c[name]; there {
				t.Errorf("%s is kept", name)
			}
		}
	}
	replayed := w.want(w.exchange(exchangeBody(token, agent)), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed).str("decision_id")
	forOthers := w.want(w.exchange(exchangeBody(w.subject(claims{"aud": "https://other.example"}), agent)), 401, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch).str("decision_id")
	for _, id := range []string{replayed, forOthers} {
		if got := w.decision(id).Claims; got != nil {
			t.Errorf("of a token that is no good %s is kept", got)
		}
	}
	w.restart(func(c *config.Config) { c.KeepClaims = 0 })
	if got := w.decision(w.granted(exchangeBody(w.subject(nil), agent)).str("decision_id")).Claims; got != nil {
		t.Errorf("although none are to be kept, %s is", got)
	}
}

// A back-test names all that it does not know.
func TestABacktestSaysWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	spec := map[string]any{"provider": "github", "repository": repository, "branch": "main", "agentId": agent}
	numbered := maps.Clone(spec)
	numbered["condition"], numbered["mode"] = `claims.run_number == "7"`, "shadow"
	w.granted(exchangeBody(w.subject(nil), agent))
	b := func(draft map[string]any) *agentidp.Backtest {
		return w.backtest(admin, "", map[string]any{"policy": draft})
	}
	says := func(what string, b *agentidp.Backtest, replayed int, notes ...string) {
		t.Helper()
		notes = append(notes, "Agents, pins and the other policies are those of now.")
		for _, note := range notes {
			if !slices.ContainsFunc(b.Notes, func(n string) bool { return strings.HasPrefix(n, note) }) {
				t.Errorf("%s: %q is not among %q", what, note, b.Notes)
			}
		}
		if b.Replayed != replayed || len(b.Notes) != len(notes) {
			t.Errorf("%s: %d replayed, and the notes are %q", what, b.Replayed, b.Notes)
		}
	}
	const keptFor = "Claims are kept for 30 days"
	says("a usual one", b(spec), 1, keptFor)
	says("what is not kept is read", b(numbered), 1, keptFor, "The policy's mode is shadow; it is replayed as though it were enforce.",
		"The policy reads claims of the tokens that are not kept (run_number), so it may accept less here than it would. To keep them from now on: AGENTIDP_RECORD_CLAIMS=github:run_number")
	numbered["mode"] = "enforce"
	id := w.want(w.do("POST", policiesPath, admin, numbered), 201).str("id")
	says("others read what is not kept", b(spec), 1, keptFor, "Other policies read claims of the tokens that are not kept (run_number)")
	w.want(w.do("DELETE", policiesPath+"/"+id, admin, nil), 204)

	w.restart(func(c *config.Config) { c.KeepClaims = 0 })
	w.granted(exchangeBody(w.subject(nil), agent))
	says("none are kept", b(spec), 0, "No claims are kept (AGENTIDP_KEEP_CLAIMS is 0)")
	w.restart(func(c *config.Config) { c.KeepClaims = 30 * day })
	says("once none were kept", b(spec), 1, keptFor, "Exchanges whose claims are not kept, and which were left out: 1.")

	w.want(w.do("POST", agentsPath+"/"+agent+"/suspend", admin, nil), 200)
	says("the agent is suspended", b(spec), 1, keptFor, "Exchanges whose claims", "The agent is suspended now, so nothing is granted on either side.")
	w.clock.advance(31 * day)
	admin = w.admin()
	says("all is long ago", b(spec), 0, keptFor, "The agent is suspended")
}
