package cli

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the snapshots from what the program prints")

// snapshot holds what is printed against a file that people have read.
func snapshot(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; go test ./internal/cli -run %s -update writes it", err, t.Name())
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what is printed; go test ./internal/cli -run %s -update, and read what changed:\n%s", file, t.Name(), diff)
	}
}

// little is a program with one of everything that a shell completes.
type little struct {
	Verbose bool `short:"v" help:"Say more. It's optional."`
	Thing   struct {
		Make struct {
			Colour string `short:"c" enum:",red,blue" default:"" help:"red or blue."`
			From   string `placeholder:"FILE" help:"Read it from FILE."`
			Name   string `help:"Its name: any."`
		} `cmd:"" help:"Make one."`
		Break struct {
			How string `arg:"" enum:"softly,hard" help:"How."`
		} `cmd:"" help:"Break one."`
	} `cmd:"" help:"Things. All of them."`
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&little{}, kong.Name("agentidp"))
	if err != nil {
		t.Fatal(err)
	}
	for shell, script := range map[string]func([]completed) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript} {
		snapshot(t, "completion/little."+shell, script(everyCommand(parser.Model.Node)))
	}
}

// script writes the program's own completion to a file, where the shell is on this
// machine, and checks it there.
func script(t *testing.T, shell string) string {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skip(shell + " is not on this machine")
	}
	var out, stderr strings.Builder
	if code := Main(t.Context(), []string{"completion", shell}, &IO{Out: &out, Err: &stderr}); code != exitOK {
		t.Fatal(stderr.String())
	}
	file := filepath.Join(t.TempDir(), "completion."+shell)
	if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.CommandContext(t.Context(), shell, "-n", file).CombinedOutput(); err != nil {
		t.Fatalf("%s -n: %v\n%s", shell, err, msg)
	}
	return file
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	file := script(t, "bash")
	dir := t.TempDir()
	for _, name := range []string{"policy.yaml", "policy two.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		line string // words as bash splits them; the last one is being typed
		want string
	}{
		{"agentidp|dec", "decision"},
		{"agentidp|--h", "--help"},
		{"agentidp|policy|re", "repin"},
		{"agentidp|policy|create|--repository", "--repository|--repository-id|--repository-owner-id"},
		{"agentidp|policy|create|--repository|acme/deploy|--mode|", "enforce|shadow|disabled"},
		{"agentidp|policy|create|--mode|=|d", "disabled"},
		{"agentidp|policy|create|--mode|=", "enforce|shadow|disabled"},
		{"agentidp|agent|list|-o|j", "json"},
		{"agentidp|agent|create|--agent-type|s", "screener|summarizer"},
		{"agentidp|policy|create|-f|pol", "policy two.json|policy.yaml"},
		{"agentidp|policy|create|--file|=|policy.", "policy.yaml"},
		{"agentidp|policy|create|--repository|", ""},
		{"agentidp|completion|", "bash|zsh|fish|--help|-h"},
		{"agentidp|decision|list|--outcome|den", "denied"},
		{"agentidp|nonsense|policy|", "create|list|get|update|explain|backtest|repin|delete|lint|apply|export|schema|--help|-h"},
		{"agentidp|audit|tail|--nonsense", ""},
	} {
		const run = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _agentidp; complete -p agentidp; printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"--norc", "-c", run, "bash", file}, strings.Split(tt.line, "|")...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		got := strings.Join(slices.Sorted(slices.Values(lines[1:])), "|")
		want := strings.Join(slices.Sorted(slices.Values(slices.DeleteFunc(strings.Split(tt.want, "|"), func(s string) bool { return s == "" }))), "|")
		if err != nil || lines[0] != "complete -F _agentidp agentidp" || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.line, err, out, want)
		}
	}
}

func TestZshReadsItsScript(t *testing.T) {
	t.Parallel()
	script(t, "zsh")
}

func TestFishCompletes(t *testing.T) {
	t.Parallel()
	file := script(t, "fish")
	for line, want := range map[string]string{
		"agentidp dec":                     "decision\t",
		"agentidp policy re":               "repin\t",
		"agentidp policy create --mode d":  "disabled\t",
		"agentidp agent list -o j":         "json\t",
		"agentidp policy create --trust-r": "--trust-registered-agents\t",
	} {
		out, err := exec.CommandContext(t.Context(), "fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, file, line).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v\n%s\nwant\n%s", line, err, out, want)
		}
	}
}
