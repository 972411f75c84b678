package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// unit writes the unit with the program that there is here, and returns its path.
func unit(t *testing.T) string {
	t.Helper()
	dir := folder(t)
	text := strings.ReplaceAll(read(t, "systemd/agentidp.service"), "/usr/local/bin/agentidp", built(t, dir))
	path := filepath.Join(dir, "agentidp.service")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// systemd knows every line of the unit, and thinks little of what it leaves open:
// systemd-analyze calls less than 2.0 OK, and an unhardened service is 9.6.
func TestTheUnit(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	path := unit(t)
	if out := run(t, exec.Command("systemd-analyze", "verify", path)); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	run(t, exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", path))
}

// The program gets by with the system calls that the unit allows it, as a user without
// privileges: start, health, a token, a backup and the end.
func TestTheUnitAllowsWhatTheProgramCalls(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	strace := needs(t, "strace")
	if os.Getuid() != 0 {
		t.Skip("it is root who runs it as another")
	}
	allowed := map[string]bool{}
	for _, filter := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.+)$`).FindAllStringSubmatch(read(t, "systemd/agentidp.service"), -1) {
		for set := range strings.FieldsSeq(filter[2]) {
			for _, call := range systemCalls(t, set) {
				allowed[call] = filter[1] == ""
			}
		}
	}
	if len(allowed) < 200 || allowed["reboot"] || !allowed["read"] {
		t.Fatalf("the unit's filters were misread: %d calls", len(allowed))
	}
	for _, call := range called(t, strace) {
		if !allowed[call] {
			t.Errorf("the program calls %s, which the unit does not allow", call)
		}
	}
}

// systemCalls returns what is in one of systemd's sets.
func systemCalls(t *testing.T, set string) (calls []string) {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		return []string{set}
	}
	for line := range strings.Lines(run(t, exec.Command("systemd-analyze", "syscall-filter", "--no-pager", set))) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == set || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "@"):
			calls = append(calls, systemCalls(t, line)...)
		default:
			calls = append(calls, line)
		}
	}
	return calls
}

// called returns the system calls that the program makes.
func called(t *testing.T, strace string) (calls []string) {
	t.Helper()
	dir := folder(t)
	agentidp, data, trace := built(t, dir), filepath.Join(dir, "data"), filepath.Join(dir, "trace")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{data, dir} { // the trace is its user's, too
		if err := os.Chown(path, user, user); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	traced := func(args ...string) *exec.Cmd {
		cmd := exec.Command(strace, append([]string{"-f", "-qq", "--output-append-mode", "-o", trace, "--signal=none", agentidp}, args...)...)
		cmd.Env = []string{"AGENTIDP_DATA_DIR=" + data, "AGENTIDP_LISTEN=" + address, "AGENTIDP_METRICS_LISTEN=off"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Setpgid: true}
		return cmd
	}
	server := start(t, traced("serve"))
	server.answers(t, "http://"+address+"/readyz")
	run(t, traced("health", "--ready"))
	run(t, traced("backup", filepath.Join(data, "backup.db")))
	if _, err := traced("admin", "token").Output(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(-server.Process.Pid, syscall.SIGTERM); err != nil { // strace and the server
		t.Fatal(err)
	}
	_ = server.Wait() // strace ends as the server does
	for _, call := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(`).FindAllStringSubmatch(read(t, trace), -1) {
		calls = append(calls, call[1])
	}
	slices.Sort(calls)
	if calls = slices.Compact(calls); !slices.Contains(calls, "fsync") || !slices.Contains(calls, "accept4") {
		t.Fatalf("the trace was misread: %v", calls)
	}
	return calls
}

// systemd makes the user that the unit names.
func TestTheUnitsUser(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-sysusers")
	file, err := filepath.Abs("systemd/agentidp.sysusers.conf")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`(?m)^User=(\w+)$`).FindStringSubmatch(read(t, "systemd/agentidp.service"))[1]
	if out := run(t, exec.Command("systemd-sysusers", "--dry-run", "--root", folder(t), file)); !strings.Contains(out, "user '"+name+"'") {
		t.Errorf("systemd-sysusers makes no user %s: %s", name, out)
	}
}
