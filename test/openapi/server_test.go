package openapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// server is the real program, with a local issuer of CI tokens.
type server struct {
	program, folder, url, issuer string
	admin, auditor               string
	idTokenURL, idTokenBearer    string

	secrets   []string                  // what no failure may print
	ids       map[string][]string       // what was created, by collection
	revisions map[string]int64          // of what was created
	bodies    map[string]map[string]any // what it was created with
	owners    map[string]string         // agents, by their credentials
	ended     map[string]bool           // agents that were decommissioned
	names     int                       // of agents, providers and issuers, so far
	t         testing.TB
	log       *os.File
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, folder: t.TempDir(), ids: map[string][]string{}, revisions: map[string]int64{}, bodies: map[string]map[string]any{}, owners: map[string]string{}, ended: map[string]bool{}}
	var err error
	if s.log, err = os.Create(filepath.Join(s.folder, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.showLog)
	s.program = filepath.Join(s.folder, "agentidp")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", s.program, "./cmd/agentidp").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	s.url, s.issuer = "http://"+freeAddress(t), "http://"+freeAddress(t)
	said := s.start("emulate", "github", "--listen", strings.TrimPrefix(s.issuer, "http://"), "--repository", "acme/deploy")
	exported := regexp.MustCompile(`export (ACTIONS_ID_TOKEN_REQUEST_\w+)='([^']+)'`)
	for s.idTokenURL == "" || s.idTokenBearer == "" {
		if !said.Scan() {
			t.Fatal("the emulator did not say how to get tokens")
		}
		if m := exported.FindStringSubmatch(said.Text()); m != nil && strings.HasSuffix(m[1], "URL") {
			s.idTokenURL = m[2]
		} else if m != nil {
			s.idTokenBearer = m[2]
		}
	}
	s.start("serve", "--dev", "--listen", strings.TrimPrefix(s.url, "http://"), "--public-url", s.url, "--github-issuer", s.issuer, "--refusals-per-minute", "100000", "--metrics-listen", "off")
	s.ready()
	s.authenticate()
	return s
}

func (s *server) authenticate() {
	s.t.Helper()
	s.admin = s.run("admin", "token")
	s.auditor = s.run("admin", "token", "--scope", "audit:read")
	s.secrets = append(s.secrets, s.admin, s.auditor)
}

func (s *server) forget(id string) {
	for collection, ids := range s.ids {
		s.ids[collection] = slices.DeleteFunc(ids, func(known string) bool { return known == id })
	}
}

// showLog prints the end of what the programs said, if the test has failed.
func (s *server) showLog() {
	if !s.t.Failed() {
		return
	}
	if log, err := os.ReadFile(s.log.Name()); err == nil {
		s.t.Logf("the end of the log:\n%s", log[max(0, len(log)-4096):])
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *server) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Dir = s.folder
	cmd.Env = append(os.Environ(), "AGENTIDP_DATA_DIR="+filepath.Join(s.folder, "data"))
	cmd.Stderr = s.log
	return cmd
}

// start runs a command until the test ends, and returns what it prints.
func (s *server) start(args ...string) *bufio.Scanner {
	s.t.Helper()
	cmd := s.command(s.t.Context(), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Wait() }) // it ends by the signal, or is killed
	return bufio.NewScanner(out)
}

func (s *server) run(args ...string) string {
	s.t.Helper()
	out, err := s.command(s.t.Context(), args...).Output()
	if err != nil {
		s.t.Fatalf("agentidp %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func (s *server) ready() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(s.url + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.t.Fatal("the server was not ready within a minute")
}

// document is the API's document as it is served.
func (s *server) document(t *testing.T) *openapi3.T {
	t.Helper()
	resp, err := http.Get(s.url + "/api/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err == nil {
		err = doc.Validate(t.Context())
	}
	if err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	return doc
}

// subject is a CI token for this server, a fresh one each time.
func (s *server) subject() string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.idTokenURL+"&audience="+url.QueryEscape(s.url), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.idTokenBearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Value string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Value == "" {
		s.t.Fatalf("no ID token: %v", err)
	}
	s.secrets = append(s.secrets, answer.Value)
	return answer.Value
}

// plausible returns values that fields of this name take. What they name exists as
// far as something was created.
func (s *server) plausible(name string) []any {
	recent := func(collection string) (some []any) {
		all := s.ids[collection]
		for _, id := range all[max(0, len(all)-5):] {
			some = append(some, id)
		}
		return some
	}
	switch name {
	case "token":
		return []any{s.subject()}
	case "agentId":
		return recent("agents")
	case "policyId":
		return recent("oidc/trust-policies")
	case "name":
		s.names++
		return []any{fmt.Sprintf("agent-%d@ci.acme.example", s.names)}
	case "name of a provider":
		s.names++
		return []any{fmt.Sprintf("provider-%d", s.names)}
	case "issuer": // the CI's server answers there that there is none
		s.names++
		ci, err := url.Parse(s.idTokenURL)
		if err != nil {
			s.t.Fatal(err)
		}
		return []any{fmt.Sprintf("http://%s/%d", ci.Host, s.names)}
	}
	return map[string][]any{
		"provider": {"github"}, "repository": {"acme/deploy", "acme/deploy", "acme/other"}, "branch": {"main", "main", "release"},
		"tag": {"v*"}, "events": {"push", "schedule"}, "scopes": {"deploy:staging"}, "scope": {"deploy:staging"},
		"capabilities": {"deploy:staging", "deploy:production"}, "audiences": {"https://deploy.example.com"}, "audience": {"https://deploy.example.com"},
		"agentNamePattern": {"*@ci.acme.example"}, "expiresAt": {"2999-01-31T12:00:00Z"}, "issuedBefore": {"2020-01-31T12:00:00Z"},
		"since": {"2020-01-31T12:00:00Z"}, "until": {"2999-01-31T12:00:00Z"}, "limit": {1, 50, 200}, "repositoryId": {"74"}, "repositoryOwnerId": {"65"},
		"registeredByPolicyId": recent("oidc/trust-policies"), "code": {"trust_policy_violation"}, "type": {"policy_created"}, "tokenTtlSeconds": {60, 3600},
		"maxAgents": {1, 1000}, "cursor": {"x"}, "kind": {"github"}, "algorithms": {"RS256", "ES256"}, "jwksUri": {"http://127.0.0.1:1/keys"},
		"maxTokenAgeSeconds": {60, 3600, 86400}, "environment": {"production"}, "workflow": {".github/workflows/deploy.yml"},
		"condition": {`claims.repository == "acme/deploy"`}, "acceptRisk": {"It only labels."}, "mayDelegateTo": recent("agents"),
	}[name]
}

// credentials is the collection of what is below each agent.
const credentials = "agents/credentials"

// learn remembers the ids and revisions in an answer.
func (s *server) learn(r *request, status int, body []byte) {
	op := r.op
	if status == http.StatusUnauthorized && r.http.Header.Get("Authorization") == "Bearer "+s.admin { // it was among those that were revoked
		s.authenticate()
	}
	for name, id := range r.path {
		if credential := r.path["credentialId"]; credential != "" && (name == "agentId" || s.owners[credential] != r.path["agentId"]) {
			continue // the agent is there, whatever became of the credential, and so is a credential of another
		}
		if status == http.StatusNotFound || status == http.StatusNoContent && op.id != "decommissionAgent" {
			s.forget(id)
		}
	}
	if status == http.StatusNoContent && op.id == "decommissionAgent" {
		s.ended[r.path["agentId"]] = true
	}
	if status >= 300 && op.id != "exchangeToken" {
		return
	}
	var one struct {
		ID, AgentID, Name string
		Revision          int64
		DecisionID        string `json:"decision_id"`
		AccessToken       string `json:"access_token"`

		CredentialID, ClientSecret string
	}
	if json.Unmarshal(body, &one) != nil {
		return
	}
	if one.AccessToken != "" {
		s.secrets = append(s.secrets, one.AccessToken)
	}
	collection, _, _ := strings.Cut(strings.TrimPrefix(op.path, "/api/v1/"), "/{")
	id := one.ID
	switch collection {
	case "agents":
		id = one.AgentID
	case "oidc/providers":
		id = one.Name
	}
	if one.CredentialID != "" {
		collection, id = credentials, one.CredentialID
		s.owners[id] = r.path["agentId"]
		if one.ClientSecret != "" {
			s.secrets = append(s.secrets, one.ClientSecret)
		}
	}
	if one.DecisionID != "" {
		collection, id = "oidc/decisions", one.DecisionID
	}
	if id == "" {
		return
	}
	if _, known := s.revisions[id]; !known {
		s.ids[collection] = append(s.ids[collection], id)
	}
	s.revisions[id] = one.Revision
	if status == http.StatusCreated {
		var created map[string]any
		if json.Unmarshal(r.body, &created) == nil {
			s.bodies[id] = created
		}
	}
}
