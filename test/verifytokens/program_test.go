package verifytokens_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// folder returns a new folder with files, and with Node's packages.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := filepath.Abs("node_modules")
	if err == nil {
		err = os.Symlink(packages, filepath.Join(dir, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// testdata returns a file that makes a program of the page's code.
func testdata(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// start runs a program until the test ends, and returns the first line that it prints.
func start(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	var complaints strings.Builder
	cmd.Dir, cmd.Stderr = dir, &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended, which is told now
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says\n%s", name, complaints.String())
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("%s ended without a word", name)
	}
	return lines.Text()
}

// run runs a program with more environment to its end, and returns what it has printed.
func run(t *testing.T, dir string, environment []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// administer runs commands of the page as an administrator of an organization, and returns
// what they print.
func (o *tenant) administer(commands string, environment ...string) string {
	o.t.Helper()
	dir := o.t.TempDir()
	if out, err := exec.CommandContext(o.t.Context(), "go", "-C", "../..", "build", "-o", dir, "./cmd/agentidp").CombinedOutput(); err != nil {
		o.t.Fatalf("build the program: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(o.t.Context(), "sh", "-euc", commands)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "AGENTIDP_SERVER="+o.org.Issuer, "AGENTIDP_TOKEN="+o.admin(o.org).Token)
	cmd.Env = append(cmd.Env, environment...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("%s\nends with %v\n%s", commands, err, complaints.String())
	}
	return string(out)
}

// node fails the test where Node or its packages are missing. Nothing of this module is
// left out: who runs it wants to know of all of the page.
func node(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("node_modules/jose"); err != nil {
		t.Fatal("Node's packages are not installed: run npm ci in test/verifytokens (make verify-tokens does)")
	}
	return "node"
}

// python returns a Python that has PyJWT: the first on the path, or the system's.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import jwt, cryptography").Run() == nil {
			return name
		}
	}
	t.Fatal("no Python with PyJWT: apt-get install python3-jwt python3-cryptography (make tools does)")
	return ""
}
