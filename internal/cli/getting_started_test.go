package cli

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestGettingStartedWithoutGitHub does what docs/getting-started.md says at its end, and
// with it its parts 3 and 5, word for word but for the addresses.
func TestGettingStartedWithoutGitHub(t *testing.T) {
	t.Parallel()
	n := newNewcomer(t, "../../docs/getting-started.md")
	n.trusts(n.block("emulate github"), n.block("AGENTIDP_DEV=true"))

	n.session = n.run(n.block("agentidp doctor"))
	n.says(1, "^ok    public URL ")
	n.says(1, "^ok    issuer github +http://"+n.issuer+": 1 key$")
	n.session = n.run(n.block("agentidp admin token"))
	n.says(1, "^repository: org/your-repo$")
	n.says(1, "^audiences:  https://deploy.example.com$")
	n.session = n.run(n.block("agentidp token exchange"))
	n.says(1, `"aud": "https://deploy.example.com"`)
	n.says(1, `"scope": "deploy:staging"`)
	n.says(1, "^life: +1[45]m") // fifteen minutes, as the document says
	n.says(1, "^signature: good, ")

	look, tail, found := strings.Cut(n.block("agentidp decision list"), "agentidp audit tail")
	if !found || strings.Contains(tail, "agentidp ") {
		t.Fatal("part 5 does not end with audit tail")
	}
	n.session = n.run(look)
	n.says(1, " allowed ")
	n.says(1, ` org/your-repo +main +[A-F] +enforce +\d+ `) // pinned
	n.session = n.run("agentidp decision list -o id --limit 1\n")
	story := strings.ReplaceAll(n.block("agentidp policy explain"), "<decision id>", strings.TrimSpace(n.session))
	n.session = n.run(story)
	n.says(1, "^Granted by policy ")
	n.says(1, `^    ok    ref +ref "refs/heads/main"$`)
	session := strings.Fields(n.run("env | grep ^AGENTIDP_\n"))
	if told := n.terminal("agentidp audit tail"+tail, " repository_pinned ", session...); !strings.Contains(told, " token_issued  github:org/your-repo ") {
		t.Errorf("audit tail has printed\n%s", told)
	}
}

// TestTheReadmeWithoutGitHub does the same with the README's words.
func TestTheReadmeWithoutGitHub(t *testing.T) {
	t.Parallel()
	n := newNewcomer(t, "../../README.md")
	emulate := n.block("emulate github")
	n.trusts(strings.Replace(emulate, "emulate github", "emulate github --listen "+n.issuer, 1), n.block("AGENTIDP_DEV=true"))

	n.session = n.run(n.block("agentidp admin token"))
	n.says(1, "^agentId: ")
	n.session = n.run(n.block("policy create --provider github --repository org/your-repo --branch main\n"))
	n.says(1, "^maxAgents: +10$")
	const exchange = `agentidp token exchange --agent-id "$AGENT_ID"`
	if !strings.Contains(n.document, "`"+exchange+"`") {
		t.Errorf("the README does not say %s", exchange)
	}
	n.session = n.run(exchange + " | agentidp token inspect; agentidp token exchange | agentidp token inspect\n")
	n.says(1, `"scope": "deploy:staging"`)
	n.says(1, `"scope": "agents:write"`)
}

// newcomer has a document, a folder and three terminals, and nothing else.
type newcomer struct {
	*drill
	document       string
	blocks         []string
	issuer, server string // addresses, in the place of those of the document
	run            func(block string) string
}

func newNewcomer(t *testing.T, file string) *newcomer {
	t.Helper()
	n := &newcomer{drill: &drill{installation: &installation{t: t}, folder: t.TempDir()}}
	var ports [2]string
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			t.Fatal(err)
		}
	}
	n.issuer, n.server = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	n.reads(file)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, prefix) && !strings.HasPrefix(variable, "ACTIONS_") {
			n.env = append(n.env, variable)
		}
	}
	n.env = append(n.env, "HOME="+n.folder, "XDG_CACHE_HOME="+n.folder) // where the issuer keeps its key
	return n
}

// reads turns to a document.
func (n *newcomer) reads(file string) {
	n.t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	n.document, n.blocks = string(doc), nil
	_, port, _ := strings.Cut(n.server, ":")
	for _, block := range shellBlocks(n.t, file) {
		n.blocks = append(n.blocks, strings.NewReplacer("127.0.0.1:8090", n.issuer, "localhost:8080", "localhost:"+port).Replace(block))
	}
}

// block returns the one block that says something.
func (n *newcomer) block(says string) string {
	n.t.Helper()
	var found []string
	for _, block := range n.blocks {
		if strings.Contains(block, says) {
			found = append(found, block)
		}
	}
	if len(found) != 1 {
		n.t.Fatalf("%d blocks say %q, want one", len(found), says)
	}
	return found[0]
}

// trusts opens the three terminals: the issuer, the server, and one that has what the
// other two say.
func (n *newcomer) trusts(emulate, serve string) {
	n.t.Helper()
	exports := n.terminal(emulate, "export ACTIONS_ID_TOKEN_REQUEST_TOKEN=")
	n.terminal(serve, "", "AGENTIDP_LISTEN="+n.server, "AGENTIDP_METRICS_LISTEN=off")
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + n.server + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > time.Minute {
			n.t.Fatal("the server is not ready")
		}
	}
	n.run = n.shell()
	for _, export := range regexp.MustCompile(`(?m)^ *export .*\n`).FindAllString(serve+exports, -1) {
		n.run(export)
	}
}

// terminal runs a block whose last command goes on until the test ends, and returns
// what it has printed when that has said what it should.
func (n *newcomer) terminal(block, until string, more ...string) string {
	n.t.Helper()
	block = regexp.MustCompile(`(?m)^(agentidp (?:emulate|serve|audit tail)\b)`).ReplaceAllString(block, "exec $1")
	cmd := exec.Command("sh", "-euc", block)
	cmd.Dir, cmd.Env = n.folder, append(append([]string{}, n.env...), more...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended, which is told now
		_ = cmd.Wait()
		if n.t.Failed() {
			n.t.Logf("%s\n%s", block, problems.String())
		}
	})
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for until != "" && !strings.Contains(printed.String(), until) {
		if !lines.Scan() {
			n.t.Fatalf("it ended before it said %q", until)
		}
		printed.WriteString(lines.Text() + "\n")
	}
	return printed.String()
}
