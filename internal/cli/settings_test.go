package cli

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp/internal/config"
)

// operator is somebody who configures the program in a folder of his own.
type operator struct {
	file  string // agentidp.yaml, none if empty
	mode  os.FileMode
	env   []string
	args  []string // "serve --check-config --config agentidp.yaml" if there are none
	setUp func(dir string) error
}

// runs runs the program as a process, with nothing else set, and returns what it
// printed. The folder's own path is left out of it.
func (o *operator) runs(t *testing.T) (stdout, stderr string, code int) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	args := o.args
	if o.file != "" {
		path := filepath.Join(dir, "agentidp.yaml")
		if err := os.WriteFile(path, []byte(o.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, cmp.Or(o.mode, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if args == nil {
		args = []string{"serve", "--check-config", "--config", "agentidp.yaml"}
	}
	if o.setUp != nil {
		if err := o.setUp(dir); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("agentidp", args...)
	cmd.Dir = dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, prefix) {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, o.env...)
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	_ = cmd.Run() // the exit code says it
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil && o.setUp == nil {
		t.Error("the check has made a data directory")
	}
	bare := func(s string) string { return strings.ReplaceAll(s, dir+"/", "") }
	return bare(out.String()), bare(complaints.String()), cmd.ProcessState.ExitCode()
}

// and every other way in which settings can be wrong: what the operator reads
// is the whole text, one line each, and he finds there what to mend and where.
func TestWhatTheOperatorReadsOfWrongSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongSettings {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := tt.operator.runs(t)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d; on standard output:\n%s", code, stdout)
			}
			got := strings.ReplaceAll("\n"+stderr, "\nagentidp: ", "\n")
			if diff := gocmp.Diff(strings.TrimSpace(tt.reads), strings.TrimSpace(got)); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Error("a password is shown")
			}
		})
	}
}

// The sources come in their order, and what is shown is what is in force.
func TestCheckConfigShowsEachSettingAndItsSource(t *testing.T) {
	t.Parallel()
	o := operator{
		file: `
# What is not here has its default.
listen: 0.0.0.0:8443
public-url: "https://file.example.com"
token-ttl: 5m
drain: 20s
dev: false
database-url: postgres://u:hunter2@db.example.com/agentidp?sslmode=verify-full
issuer-hosts:
  - ghes.example.com
  - ci.internal:8443
`, mode: 0o600,
		env:  []string{"AGENTIDP_MASTER_KEY=" + masterKey, "AGENTIDP_TOKEN_TTL=10m", "AGENTIDP_CONFIG=agentidp.yaml", "AGENTIDP_DRAIN=30s"},
		args: []string{"serve", "--check-config", "--token-ttl", "20m"},
	}
	stdout, stderr, code := o.runs(t)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	shown := map[string]string{}
	for line := range strings.Lines(stdout) {
		if f := strings.Fields(line); len(f) == 3 {
			shown[f[0]] = f[1] + " " + f[2]
		}
	}
	for setting, want := range map[string]string{
		"token-ttl":    "20m --token-ttl",
		"drain":        "30s AGENTIDP_DRAIN",
		"public-url":   "https://file.example.com agentidp.yaml:4",
		"dev":          "false agentidp.yaml:7",
		"database-url": "postgres://u:xxxxx@db.example.com/agentidp?sslmode=verify-full agentidp.yaml:8",
		"issuer-hosts": "ghes.example.com,ci.internal:8443 agentidp.yaml:9",
		"data-dir":     "data default",
		"config":       "agentidp.yaml AGENTIDP_CONFIG",
	} {
		if shown[setting] != want {
			t.Errorf("%s: %s, want %s", setting, shown[setting], want)
		}
	}
	if !strings.Contains(stdout, "master-key") || strings.Contains(stdout, masterKey) || strings.Contains(stdout, "hunter2") {
		t.Errorf("secrets are not as they should be:\n%s", stdout)
	}
}

// Every command that works on the database reads the file, and passes over what is
// another command's.
func TestCommandsBesideTheServerReadTheFile(t *testing.T) {
	t.Parallel()
	o := operator{file: "listen: 0.0.0.0:8443\npublic-url: https://idp.example.com\ndata-dir: /nowhere/at/all\n", mode: 0o644}
	for _, args := range [][]string{
		{"admin", "token"}, {"org", "list"}, {"keys", "list"}, {"keys", "rotate"}, {"org", "create", "acme"}, {"org", "close", "acme", "--yes"},
	} {
		o.args = slices.Concat(args, []string{"--config", "agentidp.yaml"})
		if _, stderr, code := o.runs(t); code != exitFailed || !strings.Contains(stderr, "stat /nowhere/at/all/agentidp.db") {
			t.Errorf("%s: exit code %d: %s", strings.Join(args, " "), code, stderr)
		}
	}
}

// A setting of several values has them from wherever they are given, in each form.
func TestListsReachTheirSetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agentidp.yaml")
	for _, tt := range []struct {
		name, file, variable string
		args                 []string
		want                 string
	}{
		{"a list of the file", "hosts: [a, 'b,c']", "", nil, "a|b,c"},
		{"text of the file", "hosts: a,b", "", nil, "a|b"},
		{"the environment before the file", "hosts: [a]", "b,c", nil, "b|c"},
		{"a flag before both", "hosts: [a]", "b", []string{"--hosts", "c,d"}, "c|d"},
		{"none", "data-dir: /x", "", nil, ""},
	} {
		if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(tt.name, func(t *testing.T) {
			if tt.variable != "" {
				t.Setenv("AGENTIDP_TEST_HOSTS", tt.variable)
			}
			var cmds struct {
				Do struct {
					config.Storage `embed:""`

					Hosts []string `env:"AGENTIDP_TEST_HOSTS"`
				} `cmd:""`
			}
			given := newSettings()
			parser, err := kong.New(&cmds, values(), given.options())
			if err != nil {
				t.Fatal(err)
			}
			given.take(parser.Model.Node)
			k, err := parser.Parse(slices.Concat([]string{"do", "--config", path}, tt.args))
			if err != nil {
				t.Fatal(err)
			}
			if err := given.check(k); err != nil {
				t.Error(err)
			}
			if got := strings.Join(cmds.Do.Hosts, "|"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// The example is good as it is: it says nothing but the defaults.
func TestTheExampleChangesNothing(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../docs/agentidp.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	with, without := operator{file: string(example)}, operator{args: serve()}
	got, stderr, code := with.runs(t)
	want, _, _ := without.runs(t)
	settings := func(s string) string {
		_, after, _ := strings.Cut(s, "data-dir") // the file itself is named before
		return after
	}
	if code != exitOK || settings(got) == "" || settings(got) != settings(want) {
		t.Errorf("exit code %d: %s\n%s\nwant\n%s", code, stderr, got, want)
	}
}
