package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
)

// The ids of the repository that is taken over, as the tokens say.
const takenID, takenOwnerID = "74", "65"

// drill is an installation in which a repository is taken over: acme/deploy, which
// was called acme/was before.
type drill struct {
	*installation
	admin   *client.Client
	agent   string
	began   time.Time
	session string   // output of the block that ran last
	folder  string   // where the blocks are run
	loot    []string // access tokens of the agent
	boot    string   // a bootstrap token
	spared  string   // another repository's access token
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	address := "http://" + front.Listener.Addr().String()
	d := &drill{installation: newInstallation(t, "AGENTIDP_PUBLIC_URL="+address), began: time.Now().UTC(), folder: t.TempDir()}
	d.url = address
	target, _ := url.Parse("http://server")
	front.Config.Handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: d.http.Transport}
	front.Start()
	t.Cleanup(front.Close)
	d.start()
	d.admin = d.client(d.program("admin", "token"))
	a, err := d.admin.RegisterAgent(t.Context(), agentidp.AgentSpec{Name: "deployer@ci.acme.example", Capabilities: []string{"agents:read"}})
	if err != nil {
		t.Fatal(err)
	}
	d.agent = a.AgentID
	// The attack: a token by a policy that is deleted afterwards; by one of the former
	// name, then and now; by one of today's; and a bootstrap token, with an agent that
	// is registered by it.
	deleted := d.policy("acme/deploy", "dev", d.agent)
	d.loot = append(d.loot, d.steal("acme/deploy", "dev", d.agent))
	if err := d.admin.DeleteTrustPolicy(t.Context(), deleted, client.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	d.policy("acme/was", "main", d.agent)
	d.policy("acme/deploy", "release", d.agent)
	d.policy("acme/deploy", "main", "")
	d.loot = append(d.loot, d.steal("acme/was", "main", d.agent), d.steal("acme/deploy", "main", d.agent), d.steal("acme/deploy", "release", d.agent))
	d.boot = d.steal("acme/deploy", "main", "")
	if _, err := d.client(d.boot).RegisterAgent(t.Context(), agentidp.AgentSpec{Name: "mole@ci.acme.example"}); err != nil {
		t.Fatal(err)
	}
	d.policy("acme/other", "main", d.agent)
	d.spared = d.steal("acme/other", "main", d.agent)
	return d
}

func (d *drill) policy(repository, branch, agent string) string {
	d.t.Helper()
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: repository, Branch: branch, AgentID: agent}
	if agent != "" {
		spec.Audiences = []string{d.url + "/api/v1"}
	}
	p, err := d.admin.CreateTrustPolicy(d.t.Context(), spec)
	if err != nil {
		d.t.Fatal(err)
	}
	return p.ID
}

// exchange presents a run of a repository.
func (d *drill) exchange(repository, branch, agent string) (*client.ExchangeResponse, error) {
	run := emulator.Run{Repository: repository, Ref: "refs/heads/" + branch}
	if repository != "acme/other" {
		run.Claims = map[string]any{"repository_id": takenID, "repository_owner_id": takenOwnerID}
	}
	token, err := d.ci.Mint(emulator.Options{Audience: d.url, Run: &run})
	if err != nil {
		return nil, err
	}
	return d.admin.Exchange(d.t.Context(), client.ExchangeRequest{Token: token, AgentID: agent})
}

func (d *drill) steal(repository, branch, agent string) string {
	d.t.Helper()
	resp, err := d.exchange(repository, branch, agent)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.AccessToken
}

// opens reports whether an access token of the agent opens the management API.
func (d *drill) opens(token string) bool {
	d.t.Helper()
	_, err := d.client(token).ListAgents(d.t.Context(), agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
	if code, _ := refusal(err); err != nil && code != agentidp.CodeInvalidToken {
		d.t.Fatal(err)
	}
	return err == nil
}

// says asserts that the block that ran last printed something like pattern n times.
func (d *drill) says(n int, pattern string) {
	d.t.Helper()
	if found := len(regexp.MustCompile("(?m)"+pattern).FindAllString(d.session, -1)); found != n {
		d.t.Errorf("%q is printed %d times, want %d:\n%s", pattern, found, n, d.session)
	}
}

func jtiOf(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ JTI string }
	if err := json.Unmarshal(parsed.Payload, &claims); err != nil || claims.JTI == "" {
		t.Fatalf("no jti: %v", err)
	}
	return claims.JTI
}

// shellBlocks returns what a document shows for pasting into a shell.
func shellBlocks(t *testing.T, file string) []string {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllSubmatch(doc, -1) {
		blocks = append(blocks, string(m[1]))
	}
	return blocks
}

// filled puts values in the place of what the document leaves to its reader, in lines
// that begin with export NAME=<.
func filled(block string, values map[string]string) string {
	for name, value := range values {
		block = regexp.MustCompile(`(?m)^(export `+name+`=)<[^>]*>`).ReplaceAllString(block, "${1}"+value)
	}
	return block
}

// shell starts one session of sh that ends at the first failure, as sh -eu does, and
// returns what runs a block in it and gives back what that printed.
func (d *drill) shell() func(block string) string {
	d.t.Helper()
	cmd := exec.Command("sh", "-eu")
	cmd.Dir, cmd.Env = d.folder, d.env
	var problems bytes.Buffer
	cmd.Stderr = &problems
	in, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			d.t.Errorf("sh: %v\n%s", err, problems.String())
		}
	})
	lines, n := bufio.NewScanner(out), 0
	return func(block string) string {
		// From a file, so that no command reads the rest of the session as its input.
		n++
		file := fmt.Sprintf("block%d", n)
		if err := os.WriteFile(filepath.Join(d.folder, file), []byte(block), 0o600); err != nil {
			d.t.Fatal(err)
		}
		fmt.Fprintf(in, ". ./%s </dev/null; echo done\n", file)
		var printed strings.Builder
		for lines.Scan() {
			if lines.Text() == "done" {
				return printed.String()
			}
			fmt.Fprintln(&printed, lines.Text())
		}
		d.t.Errorf("the shell ended in block %d", n)
		return printed.String()
	}
}
