package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// TestR18ALostMasterKey does what docs/lost-master-key.md says, word for word, and
// looks after each block at what has come of it.
func TestR18ALostMasterKey(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	used := d.subject("acme/other", "refs/heads/main")
	exchange := client.ExchangeRequest{Token: used, AgentID: d.agent}
	if _, err := d.admin.Exchange(t.Context(), exchange); err != nil {
		t.Fatal(err)
	}
	keys := d.keySet()
	d.end(syscall.SIGTERM)
	if err := os.Remove(filepath.Join(d.data, "master.key")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("agentidp", "serve")
	cmd.Env = d.env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "this database is sealed, and there is no key") {
		t.Fatalf("a start without the key: %v %s", err, out)
	}
	d.env = append(d.env, "BACKUP="+filepath.Join(t.TempDir(), "lost.db"), "AGENTIDP_SERVER="+d.url)
	steps := []struct {
		does string // in the block
		then func()
	}{
		{"agentidp backup", func() { d.says(1, "policies: 4, agents: 2") }},
		{"agentidp keys abandon --yes", func() {
			d.says(1, "^Every signing key is given up")
			d.says(1, "^ok +master key ")
			d.says(0, "^FAIL")
			d.start()
		}},
		{"agentidp keys list", func() {
			d.says(1, " compromised ")
			d.says(1, " signing ")
			if now := d.keySet(); now == keys || strings.Count(now, `"kid"`) != 1 {
				t.Errorf("the key set was %s and is %s", keys, now)
			}
			for _, token := range append([]string{d.admin.Token, d.spared}, d.loot...) {
				if d.opens(token) {
					t.Error("a token of before is good")
				}
			}
			if _, err := d.exchange("acme/other", "main", d.agent); err != nil {
				t.Errorf("a job exchanges again: %v", err)
			}
			_, err := d.admin.Exchange(t.Context(), exchange)
			if _, reason := refusal(err); reason != agentidp.ReasonTokenReplayed {
				t.Errorf("a used subject token: the server %s", said(err))
			}
		}},
		{"agentidp audit list", func() {
			d.says(1, " signing_key_compromised +operator ")
			d.says(1, " signing_key_created +operator ")
		}},
	}
	blocks := shellBlocks(t, "../../docs/lost-master-key.md")
	if len(blocks) != len(steps) {
		t.Fatalf("the document has %d blocks, and this test knows %d", len(blocks), len(steps))
	}
	run := d.shell()
	for k, step := range steps {
		if !strings.Contains(blocks[k], step.does) {
			t.Fatalf("block %d does not say %q:\n%s", k+1, step.does, blocks[k])
		}
		if d.session = run(blocks[k]); !t.Failed() {
			step.then()
		}
		if t.Failed() {
			t.Fatalf("after block %d:\n%s", k+1, blocks[k])
		}
	}
}

// Another master key, in the words of the command's own example.
func TestAnotherMasterKey(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	command := func(want int, says string, args ...string) {
		t.Helper()
		cmd := exec.Command("agentidp", args...)
		cmd.Env = d.env
		out, _ := cmd.CombinedOutput() // the exit code says it
		if cmd.ProcessState.ExitCode() != want || !regexp.MustCompile(says).Match(out) {
			t.Errorf("agentidp %s: %d %s, want %d %s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out, want, says)
		}
	}
	next := filepath.Join(t.TempDir(), "new.key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	command(exitFailed, ": a server uses .*; stop it first", "keys", "reseal", "--new-master-key-file", next)
	command(exitFailed, ": a server uses .*; stop it first", "keys", "abandon", "--yes")
	d.end(syscall.SIGTERM)
	command(exitUsage, "gives up every signing key.*give --yes", "keys", "abandon")
	command(exitFailed, "is the one that sealed this database, so nothing is lost", "keys", "abandon", "--yes")
	command(exitFailed, "no such file", "keys", "reseal", "--new-master-key-file", next+"x")
	write("changeme")
	command(exitFailed, "is not 32 bytes in base64", "keys", "reseal", "--new-master-key-file", next)
	write("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	command(exitOK, "The database opens with the key in .*new.key alone", "keys", "reseal", "--new-master-key-file", next)
	command(exitFailed, "is not the one that sealed this database", "keys", "list")
	if err := os.Rename(next, filepath.Join(d.data, "master.key")); err != nil {
		t.Fatal(err)
	}
	d.start()
	if !d.opens(d.spared) {
		t.Error("a token of before is not good any more, though its key is the same")
	}
}
