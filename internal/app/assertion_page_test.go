package app

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// The program in docs/oauth.md makes a key that can be registered, and then assertions
// that authenticate the client, each once.
func TestTheAssertionsOfTheOAuthPage(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	page, err := os.ReadFile("../../docs/oauth.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```js\n(.*?)```").FindSubmatch(page)
	if program == nil {
		t.Fatal("there is no program")
	}
	w := newWorld(t)
	admin, dir := w.admin(), t.TempDir()
	agent := w.register(admin, agentName, "deploy:staging")
	run := func() string {
		cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(string(program[1]))
		cmd.Env = append(os.Environ(), "AGENTIDP_SERVER="+w.url, "CLIENT_ID="+agent)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	first := run()
	jwks, err := os.ReadFile(filepath.Join(dir, "jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.do("POST", agentsPath+"/"+agent+"/credentials", admin, `{"type": "public_key", "jwks": `+string(jwks)+`}`), 201)
	for _, assertion := range []string{first, run()} {
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}.Encode()
		w.want(w.postForm(form), 200)
		if again := w.postForm(form); again.Status != 401 {
			t.Errorf("a second time: %d", again.Status)
		}
	}
}
