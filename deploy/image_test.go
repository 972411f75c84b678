package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// What the Dockerfile has, each for a reason, and what it must not have.
func TestTheDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	for _, rule := range []struct {
		what    string
		pattern string
		has     bool
	}{
		{"the last stage is empty", `(?m)^FROM scratch$`, true},
		{"it runs as a user by number, so that Kubernetes can see that it is not root", `(?m)^USER 65532:65532$`, true},
		{"its data belong to that user", `(?m)^COPY --from=build --chown=65532:65532 /out/data /var/lib/agentidp$`, true},
		{"its health is asked without a shell", `(?m)^HEALTHCHECK .* CMD \["/agentidp", "health"\]$`, true},
		{"it is not restarted for its database", `HEALTHCHECK .*--ready`, false},
		{"signals reach the program itself: no shell is in between", `(?m)^ENTRYPOINT \["/agentidp"\]$`, true},
		{"it knows certificate authorities", `(?m)^COPY --from=build /etc/ssl/certs/ca-certificates\.crt `, true},
		{"nothing is fetched by ADD", `(?m)^ADD `, false},
		{"no image is whatever is latest", `:latest|(?m)^FROM [^:$]*$(?:\n|.)*^FROM [^:$]* AS`, false},
		{"no secret is baked in", `(?i)(KEY|TOKEN|PASSWORD|SECRET)=`, false},
		{"it is built with the Go of go.mod", `(?m)^ARG BUILDER=docker\.io/library/golang:` + regexp.QuoteMeta(goVersion(t)) + `-`, true},
	} {
		if got := regexp.MustCompile(rule.pattern).MatchString(text); got != rule.has {
			t.Errorf("%s: %s: found %v, want %v", rule.what, rule.pattern, got, rule.has)
		}
	}
	if last := text[strings.LastIndex(text, "\nFROM "):]; strings.Contains(last, "\nRUN ") {
		t.Error("the last stage has nothing that could run anything")
	}
}

// goVersion is the release of Go, without its patches: the image has the latest.
func goVersion(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
}

// The program needs nothing of a machine but its kernel: in a root that holds it and an
// empty folder, as a user of no name, it serves, is looked after and is backed up.
func TestTheProgramAloneInAnEmptyRoot(t *testing.T) {
	t.Parallel()
	root := folder(t)
	data := filepath.Join(root, "var/lib/agentidp")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(data, user, user); err != nil {
			t.Fatal(err)
		}
	}
	built(t, root)
	servesIn(t, root)
}

// servesIn runs the program in a root as the image does.
func servesIn(t *testing.T, root string) {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/agentidp", args...)
		cmd.Dir = "/var/lib/agentidp"
		cmd.Env = []string{"AGENTIDP_DATA_DIR=/var/lib/agentidp", "AGENTIDP_LISTEN=0.0.0.0:" + port, "AGENTIDP_PUBLIC_URL=https://idp.example.com", "AGENTIDP_METRICS_LISTEN=off"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if os.Getuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
			return cmd
		}
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}}
		return cmd
	}
	if out, err := inside("version").CombinedOutput(); err != nil {
		if os.Getuid() != 0 && os.Getenv("AGENTIDP_REQUIRE_DEPLOY") != "1" {
			t.Skipf("neither root nor namespaces of users: %v", err)
		}
		t.Fatalf("%v %s", err, out)
	}
	server := start(t, inside("serve"))
	server.answers(t, "http://"+address+"/readyz")
	if out := run(t, inside("health", "--ready")); out != "" {
		t.Errorf("health: %s", out)
	}
	if token, err := inside("admin", "token").Output(); err != nil || !strings.HasPrefix(string(token), "eyJ") {
		t.Errorf("admin token: %v", err)
	}
	if out := run(t, inside("backup", "/var/lib/agentidp/backup.db")); !strings.Contains(out, "checked") {
		t.Errorf("backup: %s", out)
	}
	if code := server.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, server.said())
	}
	if err := inside("health").Run(); err == nil {
		t.Error("health: a server that is gone is well")
	}
}
