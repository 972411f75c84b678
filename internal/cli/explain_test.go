package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// What docs/explain.md shows is what is printed: each command of its console blocks runs
// against a server, and what it prints is what stands below it, but for ids, instants and
// addresses. -update writes it.
func TestTheStoriesOfTheManual(t *testing.T) {
	t.Parallel()
	const file = "../../docs/explain.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := newDrill(t)
	agent, err := d.admin.RegisterAgent(t.Context(), agentidp.AgentSpec{Name: "releaser@ci.acme.example", Capabilities: []string{"deploy:staging"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.admin.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{
		Provider: "github", Repository: "org/your-repo", Branch: "main", AgentID: agent.AgentID, Audiences: []string{"https://deploy.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stories{drill: d, agent: agent.AgentID, policy: p.ID}
	s.decisions = map[string]string{"<decision id>": s.refused(s.mint("release", d.url))}
	used := s.mint("main", d.url)
	if _, err := d.admin.Exchange(t.Context(), client.ExchangeRequest{Token: used, AgentID: s.agent}); err != nil {
		t.Fatal(err)
	}
	s.decisions["<decision id of a replay>"] = s.refused(used)
	s.write("claims.json", `{
  "repository": "org/your-repo", "repository_id": "900", "repository_owner_id": "800",
  "ref": "refs/heads/main", "ref_type": "branch", "event_name": "workflow_run",
  "workflow_ref": "org/your-repo/.github/workflows/deploy.yml@refs/heads/main",
  "run_id": "1", "run_attempt": "1"
}
`)
	tokens := []string{s.mint("release", d.url), s.mint("main", "https://github.com/org")}
	got := regexp.MustCompile("(?ms)^```console\n(.*?)^```$").ReplaceAllStringFunc(string(text), func(block string) string {
		var out strings.Builder
		for _, command := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block, -1) {
			if strings.Contains(command[1], "id.token") {
				s.write("id.token", tokens[0])
				tokens = tokens[1:]
			}
			fmt.Fprintf(&out, "$ %s\n%s", command[1], s.prints(command[1]))
		}
		return "```console\n" + out.String() + "```"
	})
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("%s is not what is printed; go test ./internal/cli -run %s -update, and read what changed:\n%s", file, t.Name(), diff)
	}
	if len(tokens) > 0 {
		t.Errorf("%d tokens were not asked about", len(tokens))
	}
}

// stories are told of one agent and its policy.
type stories struct {
	*drill
	agent, policy string
	decisions     map[string]string // by what the document calls them
}

func (s *stories) mint(branch, audience string) string {
	s.t.Helper()
	token, err := s.ci.Mint(emulator.Options{Audience: audience, Run: &emulator.Run{Repository: "org/your-repo", Ref: "refs/heads/" + branch},
		Claims: map[string]any{"repository_id": "900", "repository_owner_id": "800", "run_id": "1"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// refused makes an exchange that is refused, and returns its decision.
func (s *stories) refused(token string) string {
	s.t.Helper()
	_, err := s.admin.Exchange(s.t.Context(), client.ExchangeRequest{Token: token, AgentID: s.agent})
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.DecisionID == "" {
		s.t.Fatalf("no decision: %v", err)
	}
	return e.DecisionID
}

func (s *stories) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

var (
	idPattern      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	instantPattern = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

// prints runs a command of the document, and returns what it prints as the document has
// it.
func (s *stories) prints(command string) string {
	s.t.Helper()
	command = strings.ReplaceAll(command, "<agent id>", s.agent)
	for name, id := range s.decisions {
		command = strings.ReplaceAll(command, name, id)
	}
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", command)
	cmd.Dir, cmd.Env = s.folder, slices.Concat(s.env, []string{"AGENTIDP_TOKEN=" + s.admin.Token, "AGENTIDP_SERVER=" + s.url})
	out, err := cmd.CombinedOutput()
	if _, refused := errors.AsType[*exec.ExitError](err); err != nil && !refused {
		s.t.Fatal(err)
	}
	printed := string(out)
	for name, id := range map[string]string{"<agent id>": s.agent, "<policy id>": s.policy, "<decision id>": s.decisions["<decision id>"]} {
		printed = strings.ReplaceAll(printed, id, name)
	}
	printed = strings.ReplaceAll(printed, s.url, "https://idp.example.com")
	return instantPattern.ReplaceAllString(idPattern.ReplaceAllString(printed, "01a2…"), "2026-11-22T10:00:00Z")
}
