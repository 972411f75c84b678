package cli

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// TestTheStolenSecretDrill does what docs/stolen-secret.md says, word for word, against
// a thief who has a secret and a token of its agent.
func TestTheStolenSecretDrill(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	d.env = append(d.env, "AGENTIDP_SERVER="+d.url, "AGENTIDP_TOKEN="+d.admin.Token)
	stolen, err := d.admin.CreateCredential(t.Context(), d.agent, agentidp.CredentialSpec{Type: agentidp.CredentialSecret})
	if err != nil {
		t.Fatal(err)
	}
	hex := strings.Split(stolen.ClientSecret, "_")[2] // as the document has it
	found := strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	known := map[string]string{"CREDENTIAL": found, "SINCE": d.began.Format(time.RFC3339)}
	if !d.authenticates(stolen.ClientSecret) {
		t.Fatal("the secret is not good before")
	}
	steps := []struct {
		does string // in the block
		then func()
	}{
		{"export CREDENTIAL=", func() {
			d.says(1, `"type":"credential_created"`)
			d.says(1, `"agentId":"`+d.agent+`"`)
			known["AGENT"] = d.agent
		}},
		{"agentidp credential list", func() { d.says(1, "^"+stolen.CredentialID+" +secret +live ") }},
		{"agentidp credential delete", func() {
			d.says(1, "^"+stolen.CredentialID+" has ended$")
			d.says(1, "^tokens revoked: ")
			if d.authenticates(stolen.ClientSecret) || d.opens(d.loot[0]) {
				t.Error("the secret or a token of the agent is good")
			}
		}},
		{"agentidp credential create", func() {
			secret, err := os.ReadFile(filepath.Join(d.folder, "new.secret"))
			if err != nil || !d.authenticates(strings.TrimSpace(string(secret))) {
				t.Errorf("the new secret is not good: %v", err)
			}
			d.says(0, "agentidp_cs_")
		}},
		{"export SINCE=", func() {
			events, err := os.ReadFile(filepath.Join(d.folder, "events.json"))
			if err != nil || !strings.Contains(string(events), `"type":"credential_revoked"`) {
				t.Errorf("the log does not say that the credential has ended: %v", err)
			}
			if decisions, err := os.ReadFile(filepath.Join(d.folder, "decisions.json")); err != nil || !strings.Contains(string(decisions), d.agent) {
				t.Errorf("what the agent asked for is not listed: %v", err)
			}
		}},
	}
	blocks := shellBlocks(t, "../../docs/stolen-secret.md")
	if len(blocks) != len(steps) {
		t.Fatalf("the document has %d blocks, and this test knows %d", len(blocks), len(steps))
	}
	run := d.shell()
	for k, step := range steps {
		if !strings.Contains(blocks[k], step.does) {
			t.Fatalf("block %d does not say %q:\n%s", k+1, step.does, blocks[k])
		}
		if d.session = run(filled(blocks[k], known)); !t.Failed() {
			step.then()
		}
		if t.Failed() {
			t.Fatalf("after block %d:\n%s", k+1, blocks[k])
		}
	}
}

// authenticates reports whether a secret is one of the agent's.
func (d *drill) authenticates(secret string) bool {
	d.t.Helper()
	form := url.Values{"token": {"none"}, "client_id": {d.agent}, "client_secret": {secret}}
	resp, err := d.http.PostForm(d.url+"/oauth2/introspect", form)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		d.t.Fatalf("a client is answered %d", resp.StatusCode)
	}
	return resp.StatusCode == http.StatusOK
}
