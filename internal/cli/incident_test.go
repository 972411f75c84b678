package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// TestTheBreachDrill does what docs/incident.md says, word for word, against an
// attacker who has tokens, and looks after each block at what has come of it.
func TestTheBreachDrill(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	known := map[string]string{"REPOSITORY": "acme/deploy", "SINCE": d.began.Format(time.RFC3339)}
	steps := []struct {
		does string // in the block
		then func()
	}{
		{"agentidp admin token", func() { d.says(0, ".") }},
		{"export SINCE=", func() { d.says(0, ".") }},
		{"agentidp decision list", func() {
			d.says(4, " acme/deploy +74 ")
			known["REPOSITORY_ID"] = regexp.MustCompile(`acme/deploy +(\d+)`).FindStringSubmatch(d.session)[1]
		}},
		{"export REPOSITORY_ID=", func() { d.says(0, ".") }},
		{"policy delete --revoke-issued", d.isClosed},
		{"agentidp token revoke --repository-id", func() {
			d.says(1, "^tokens revoked: 1$") // that of the policy which was deleted before
			for _, token := range d.loot {
				if d.opens(token) {
					t.Error("a token of the repository is good")
				}
			}
		}},
		{"agentidp policy list", func() { d.says(2, "^ID "); d.says(2, "\n") }},
		{"tokens.txt", d.isFound},
		{"agentidp keys list", func() {
			d.says(1, " signing ")
			known["KID"] = regexp.MustCompile(`(\S+) .* signing `).FindStringSubmatch(d.session)[1]
			if keys := d.keySet(); !strings.Contains(keys, known["KID"]) {
				t.Errorf("%s is not in %s", known["KID"], keys)
			}
			if !d.opens(d.spared) {
				t.Error("another repository's token has ended before the key was given up")
			}
		}},
		{"agentidp keys rotate --compromised", func() {
			d.says(1, known["KID"]+" .* compromised ")
			d.says(1, " signing ")
			if keys := d.keySet(); strings.Contains(keys, known["KID"]) || !strings.Contains(keys, `"kid"`) {
				t.Errorf("%s is given up, and the key set is %s", known["KID"], keys)
			}
			if d.opens(d.spared) {
				t.Error("a token of the key that was given up is good")
			}
		}},
		{"--type policy_deleted", func() {
			d.says(4, " policy_deleted ")
			d.says(4, " tokens_revoked ") // three with their policies, and one selection
			d.says(1, " signing_key_compromised ")
			d.says(2, " trust_policy_violation ")
			d.says(5, " allowed ")
		}},
		{"agentidp token revoke", func() { d.says(1, "^The token has ended") }},
	}
	blocks := shellBlocks(t, "../../docs/incident.md")
	if len(blocks) != len(steps) {
		t.Fatalf("the document has %d blocks, and this test knows %d", len(blocks), len(steps))
	}
	run := d.shell()
	for k, step := range steps {
		if !strings.Contains(blocks[k], step.does) {
			t.Fatalf("block %d does not say %q:\n%s", k+1, step.does, blocks[k])
		}
		if d.session = run(filled(blocks[k], known)); !t.Failed() {
			step.then()
		}
		if t.Failed() {
			t.Fatalf("after block %d:\n%s", k+1, blocks[k])
		}
	}
}

// A variable that was forgotten must end nothing of anybody's: the document is pasted
// into an interactive shell, which goes on after a line that failed.
func TestTheBreachDrillStopsWhereAVariableIsMissing(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	known := map[string]string{"REPOSITORY": "acme/deploy", "REPOSITORY_ID": takenID, "SINCE": d.began.Format(time.RFC3339), "KID": "some-key"}
	blocks := shellBlocks(t, "../../docs/incident.md")
	session := []string{"AGENTIDP_SERVER=" + d.url, "AGENTIDP_TOKEN=" + d.admin.Token}
	d.staysOpen("nothing is replaced", blocks[:len(blocks)-1], session) // the last ends the session's own token
	for missing := range known {
		env := slices.Clone(session)
		for name, value := range known {
			if name != missing {
				env = append(env, name+"="+value)
			}
		}
		uses := slices.DeleteFunc(slices.Clone(blocks), func(block string) bool { return !strings.Contains(block, "${"+missing+":?}") })
		if len(uses) == 0 {
			t.Errorf("no block insists on %s", missing)
		}
		d.staysOpen(missing+" is missing", uses, env)
	}
	for _, block := range blocks {
		if n := len(regexp.MustCompile(`--(repository|repository-id|since|compromised)[= ]"?\$(\w|\{\w+\})`).FindAllString(block, -1)); n != 0 {
			t.Errorf("%d flags of a block take a variable that may be empty:\n%s", n, block)
		}
	}
}

// command is one that an interactive shell runs by itself: a line, or a loop.
var command = regexp.MustCompile(`(?m)^for [^\n]*\n(?:  [^\n]*\n)*done$|^[^\n]+$`)

// staysOpen runs each command of the blocks, also after one that failed, and asserts
// that no policy was deleted, no token revoked and no key given up.
func (d *drill) staysOpen(name string, blocks, env []string) {
	d.t.Helper()
	folder := d.t.TempDir()
	var printed strings.Builder
	for _, line := range command.FindAllString(strings.Join(blocks, ""), -1) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = folder, append(slices.Clone(d.env), env...), &printed, &printed
		_ = cmd.Run() // many fail: that is what they are to do
	}
	left := 0
	for p, err := range d.admin.AllTrustPolicies(d.t.Context(), agentidp.PolicyFilter{}) {
		if err != nil || p.ID == "" {
			d.t.Fatal(err)
		}
		left++
	}
	good := d.opens(d.spared)
	for _, token := range d.loot {
		good = good && d.opens(token)
	}
	if left != 4 || !good {
		d.t.Fatalf("%s: %d policies are left of 4, and tokens are good: %t\n%s", name, left, good, printed.String())
	}
}

// isClosed: the policies are gone and with them their tokens, the repository gets
// nothing by any name, and others are left alone.
func (d *drill) isClosed() {
	d.says(3, "^[0-9a-f-]{36} deleted$")
	for p, err := range d.admin.AllTrustPolicies(d.t.Context(), agentidp.PolicyFilter{}) {
		if err != nil || p.Repository != "acme/other" {
			d.t.Errorf("a policy is left: %+v, %v", p, err)
		}
	}
	for _, name := range []string{"acme/deploy", "acme/was"} {
		_, err := d.exchange(name, "main", d.agent)
		if code, _ := refusal(err); code != agentidp.CodeTrustPolicyViolation {
			d.t.Errorf("an exchange of %s: %v", name, err)
		}
	}
	if good := []bool{d.opens(d.loot[0]), d.opens(d.loot[1]), d.opens(d.loot[2]), d.opens(d.loot[3]), d.opens(d.spared)}; fmt.Sprint(good) != "[true false false false true]" {
		d.t.Errorf("good are %v", good) // the first is of the policy that was deleted before
	}
	if _, err := d.client(d.boot).RegisterAgent(d.t.Context(), agentidp.AgentSpec{Name: "another@ci.acme.example"}); err == nil {
		d.t.Error("the bootstrap token registered another agent")
	}
	if kept, err := os.ReadFile(filepath.Join(d.folder, takenID, "policies.json")); err != nil || bytes.Count(kept, []byte("\n")) != 3 || !bytes.Contains(kept, []byte(`"branch":"release"`)) {
		d.t.Errorf("policies.json: %s, %v", kept, err)
	}
}

// isFound: every token of the repository is listed, and what was done with them.
func (d *drill) isFound() {
	d.says(5, " allowed .* 74 ")
	for _, token := range append([]string{d.boot}, d.loot...) {
		d.says(1, " "+jtiOf(d.t, token)+"$")
	}
	d.says(0, jtiOf(d.t, d.spared))
	events, err := os.ReadFile(filepath.Join(d.folder, takenID, "events.txt"))
	if err != nil || !regexp.MustCompile(` agent_registered +policy:`).Match(events) {
		d.t.Errorf("events.txt: %s, %v", events, err)
	}
}
