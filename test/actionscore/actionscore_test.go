// Package actionscore_test runs the real @actions/core against the real program:
// agentidp emulate github.
package actionscore_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

var exported = regexp.MustCompile(`export (ACTIONS_ID_TOKEN_REQUEST_(?:URL|TOKEN))='([^']+)'`)

func TestGetIDTokenTalksToTheEmulator(t *testing.T) {
	if _, err := os.Stat("node_modules/@actions/core"); err != nil {
		const remedy = "the toolkit is not installed: run npm ci in test/actionscore (make toolkit does)"
		if os.Getenv("AGENTIDP_REQUIRE_NODE") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	program := filepath.Join(t.TempDir(), "agentidp")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/agentidp").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	for _, format := range []string{"classic", "immutable", "custom"} {
		t.Run("with sub in its form "+format, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "npm", "test")
			cmd.Env = append(os.Environ(), emulate(t, program, format)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("npm test: %v\n%s", err, out)
			}
		})
	}
}

// emulate starts the emulator and returns the two variables that it tells a job to
// set.
func emulate(t *testing.T, program, format string) []string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "emulate", "github", "--listen", "127.0.0.1:0",
		"--repository", "acme/deploy", "--ref", "refs/heads/main", "--sub-format", format,
		"--key-file", filepath.Join(t.TempDir(), "key.pem"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the emulator ended with: %v", err)
		}
	})
	var env []string
	for lines := bufio.NewScanner(out); len(env) < 2 && lines.Scan(); {
		if found := exported.FindStringSubmatch(lines.Text()); found != nil {
			env = append(env, found[1]+"="+found[2])
		}
	}
	if len(env) != 2 {
		t.Fatal("the emulator did not say how a job uses it")
	}
	return env
}
