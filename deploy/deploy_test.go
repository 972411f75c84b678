// Package deploy_test holds the files of this folder against the program: what is written
// for operators is run, as far as a machine without a container daemon can.
//
// Tests that need more than Go are run by make deploy-check, which make ci runs where all
// that they need is installed.
package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/printed"
)

// user is the one of the image, who owns nothing else.
const user = 65532

// program builds the static program, once, as the Dockerfile and make build do.
var program = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "deploy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "agentidp"), "../cmd/agentidp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(filepath.Join(dir, "agentidp"))
})

// built puts the program into a folder and returns its path.
func built(t *testing.T, dir string) string {
	t.Helper()
	content, err := program()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agentidp")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// folder is a new one that every user can reach; t.TempDir is its user's alone.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deploy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// needs returns the path of a tool.
func needs(t *testing.T, tool string) string {
	t.Helper()
	if os.Getenv("AGENTIDP_REQUIRE_DEPLOY") != "1" {
		t.Skip("it needs " + tool + ": make deploy-check")
	}
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// read returns a file of this folder.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// run runs a command to its end and returns all that it printed.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// ownEnvironment is the developer's without settings of AgentIdP.
func ownEnvironment() (env []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AGENTIDP_") {
			env = append(env, variable)
		}
	}
	return env
}

// freeAddress is one of loopback that nobody listens on. It is below the ports that the
// system gives to connections, so that none of these takes it before the test does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close()
			return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

// process is a program that runs until the test ends it, and what it printed.
type process struct {
	*exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts it; the test's end kills what is left of it.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		printed.Log(t, []byte(p.said()))
	})
	return p
}

// end tells it to end, and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // the exit code says it
	return p.ProcessState.ExitCode()
}

// answers waits until a URL is answered with 200.
func (p *process) answers(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status, _ := get(t.Context(), http.DefaultClient, url)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d\n%s", url, status, p.said())
		}
	}
}

// get returns an answer's status and body, and 0 if there was none.
func get(ctx context.Context, client *http.Client, url string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	return ask(client, req)
}

func ask(client *http.Client, req *http.Request) (int, string) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}
