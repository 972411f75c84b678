package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// What a repair is as a command, and what a shell makes of it.
func TestRepairsAreCommandsToPaste(t *testing.T) {
	t.Parallel()
	const id, agent = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"
	p := agentidp.TrustPolicy{ID: id, Revision: 3, MatchCount: 7, TrustPolicySpec: agentidp.TrustPolicySpec{
		Provider: "github", Repository: "acme/deploy", Branch: "main", AgentID: agent, Events: []string{"push"}, TokenTTLSeconds: 300,
		Claims: agentidp.ClaimConditions{"team": {"ops"}, "actor": {"octocat", "hubot"}}, Scopes: []string{"deploy:staging"}, Mode: agentidp.ModeEnforce,
		Description: "It's $HOME's", ExpiresAt: new(time.Date(2126, 11, 21, 12, 0, 0, 0, time.UTC)),
	}}
	readable := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !readable || r.URL.Path != "/api/v1/oidc/trust-policies/"+id {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"code": "insufficient_scope", "detail": "x", "status": 403}`))
			return
		}
		_ = json.NewEncoder(w).Encode(p)
	}))
	defer server.Close()
	parser, err := newParser(t.Context(), &IO{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	r := &remedy{ctx: t.Context(), client: &client.Client{BaseURL: server.URL, Token: "admin-token"}, program: parser.Model.Node, agentID: agent}
	value := func(v any) json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const evil = "x'; touch /tmp/owned; $(touch owned) `id` \"!!\" \\ main"
	copied := func(with ...string) [][]string {
		return [][]string{append([]string{"agentidp", "policy", "create"}, with...)}
	}
	for _, tt := range []struct {
		name    string
		repairs []agentidp.Repair
		want    [][]string // the words of each command
	}{
		{"a value to a list", []agentidp.Repair{{Action: agentidp.RepairAdd, Field: "events", Value: value("release")}},
			[][]string{{"agentidp", "policy", "update", id, "--event", "push", "--event", "release"}}},
		{"a value to a claim's, and nothing of the others", []agentidp.Repair{{Action: agentidp.RepairAdd, Field: "claims.team", Value: value("dev")}},
			[][]string{{"agentidp", "policy", "update", id, "--claim", "team=ops", "--claim", "team=dev"}}},
		{"a field away", []agentidp.Repair{{Action: agentidp.RepairUnset, Field: "expiresAt"}}, [][]string{{"agentidp", "policy", "update", id, "--unset", "expires-at"}}},
		{"a claim away", []agentidp.Repair{{Action: agentidp.RepairUnset, Field: "claims.team"}}, [][]string{{"agentidp", "policy", "update", id, "--unset", "claim.team"}}},
		{"a field to a value", []agentidp.Repair{{Action: agentidp.RepairSet, Field: "mode", Value: value("enforce")}, {Action: agentidp.RepairSet, Field: "maxAgents", Value: value(1000000)}},
			[][]string{{"agentidp", "policy", "update", id, "--max-agents", "1000000"}}},
		{"in a copy, which keeps all else", []agentidp.Repair{{Action: agentidp.RepairSet, Field: "branch", Value: value("release/1"), Copy: true}}, copied(
			"--provider", "github", "--repository", "acme/deploy", "--agent-id", agent, "--branch", "release/1", "--event", "push",
			"--claim", "actor=octocat", "--claim", "actor=hubot", "--claim", "team=ops", "--scope", "deploy:staging", "--token-ttl-seconds", "300",
			"--expires-at", "2126-11-21T12:00:00Z", "--description", "It's $HOME's")},
		{"in a copy, one away and another for it", []agentidp.Repair{
			{Action: agentidp.RepairUnset, Field: "branch", Copy: true}, {Action: agentidp.RepairSet, Field: "tag", Value: value("v*"), Copy: true}, {Action: agentidp.RepairUnset, Field: "claims.actor", Copy: true},
		}, copied(
			"--provider", "github", "--repository", "acme/deploy", "--agent-id", agent, "--tag", "v*", "--event", "push", "--claim", "team=ops",
			"--scope", "deploy:staging", "--token-ttl-seconds", "300", "--expires-at", "2126-11-21T12:00:00Z", "--description", "It's $HOME's")},
		{"a new one", []agentidp.Repair{{Action: agentidp.RepairCreate, Value: value(map[string]any{"provider": "github", "repository": "acme/new", "branch": "main"})}},
			copied("--provider", "github", "--repository", "acme/new", "--branch", "main")},
		{"a new one that takes a reason", []agentidp.Repair{
			{Action: agentidp.RepairCreate, Value: value(map[string]any{"provider": "github", "repository": "acme/new", "events": []string{"issues"}})}, {Action: agentidp.RepairSet, Field: "acceptRisk"},
		}, copied("--provider", "github", "--repository", "acme/new", "--event", "issues", "--accept-risk", reasonToBeGiven)},
		{"what a stranger chose", []agentidp.Repair{{Action: agentidp.RepairSet, Field: "environment", Value: value(evil)}}, [][]string{{"agentidp", "policy", "update", id, "--environment", evil}}},
		{"what looks like a flag", []agentidp.Repair{{Action: agentidp.RepairSet, Field: "environment", Value: value("--mode=x")}}, [][]string{{"agentidp", "policy", "update", id, "--environment=--mode=x"}}},
		{"a reason that somebody has to give", []agentidp.Repair{{Action: agentidp.RepairSet, Field: "acceptRisk"}}, [][]string{{"agentidp", "policy", "update", id, "--accept-risk", reasonToBeGiven}}},
		{"the next identity", []agentidp.Repair{{Action: agentidp.RepairRepin}}, [][]string{{"agentidp", "policy", "repin", id}}},
		{"an agent", []agentidp.Repair{{Action: agentidp.RepairReactivate}}, [][]string{{"agentidp", "agent", "reactivate", agent}}},
	} {
		var got [][]string
		for _, line := range r.lines(&agentidp.Miss{PolicyID: id, Repairs: tt.repairs}) {
			got = append(got, shellWords(t, line))
			if _, err := parser.Parse(append(got[len(got)-1][1:], "--server", "https://idp.example.com")); err != nil && !strings.Contains(line, reasonToBeGiven) {
				t.Errorf("%s: %s: %v", tt.name, line, err)
			}
		}
		if !slices.EqualFunc(got, tt.want, slices.Equal) {
			t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
		}
	}

	// Where there is no command, there are words.
	said := func(repairs ...agentidp.Repair) string {
		return strings.Join(r.lines(&agentidp.Miss{PolicyID: id, Repairs: repairs}), "\n")
	}
	if got, want := said(agentidp.Repair{Action: agentidp.RepairSet, Field: "branch", Value: value("a\u202eb"), Copy: true}), `In a copy of policy `+id+`: set branch to "a\u202eb".`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := said(agentidp.Repair{Action: agentidp.RepairRequest, Field: "scope"}), "Ask for less: leave scope out of the request."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := said(agentidp.Repair{Action: agentidp.RepairRequest, Field: "agentId"}), "Ask for an agent by its id: correct agentId in the request."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	readable = false
	want := "In policy " + id + ": add \"release\" to events.\nIn policy " + id + ": take away branch.\n(No command is shown, because the policy could not be read: insufficient_scope.)"
	if got := said(agentidp.Repair{Action: agentidp.RepairAdd, Field: "events", Value: value("release")}, agentidp.Repair{Action: agentidp.RepairUnset, Field: "branch"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if r.lines(nil) != nil {
		t.Error("there is something to do where nothing is wrong")
	}
}

// shellWords are the words that a shell makes of a line.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `agentidp() { printf '%s\0' agentidp "$@"; }; `+line)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}
