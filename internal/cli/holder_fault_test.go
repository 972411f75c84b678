//go:build failpoints

package cli

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// holder is an agent with all that it gets tokens by, at several servers of one
// installation, and the administrator who ends it.
type holder struct {
	t          *testing.T
	nodes      []*installation
	slug       string // of its organization; empty: the default one
	admin      string // the administrator's token
	agent      string
	repository string
	policy     string
	credential string
	secret     string
	held       string // an access token that it has
}

// newHolder makes one, in an organization of its own if that has a slug.
func newHolder(t *testing.T, nodes []*installation, name, slug string) *holder {
	t.Helper()
	h := &holder{t: t, nodes: nodes, slug: slug, repository: "acme/" + name}
	words := []string{"admin", "token"}
	if slug != "" {
		nodes[0].program("org", "create", slug)
		words = append(words, "--org", slug)
	}
	h.admin = nodes[0].program(words...)
	a, err := h.at(0).RegisterAgent(t.Context(), agentidp.AgentSpec{Name: name + "@ci.acme.example", Capabilities: []string{"agents:read"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.at(0).CreateCredential(t.Context(), a.AgentID, agentidp.CredentialSpec{Type: agentidp.CredentialSecret})
	if err != nil {
		t.Fatal(err)
	}
	h.agent, h.credential, h.secret = a.AgentID, c.CredentialID, c.ClientSecret
	p, err := h.at(0).CreateTrustPolicy(t.Context(), h.terms())
	if err != nil {
		t.Fatal(err)
	}
	token, code := h.exchange(0)
	if code != "" {
		t.Fatalf("%s: the first exchange: %s", name, code)
	}
	h.policy, h.held = p.ID, token
	return h
}

// terms are those of the policy by which the agent gets its tokens.

func (h *holder) terms() agentidp.TrustPolicySpec {
	return agentidp.TrustPolicySpec{Provider: "github", Repository: h.repository, Branch: "main", AgentID: h.agent, Audiences: []string{h.issuer() + "/api/v1"}}
}

// issuer is the URL of the organization.
func (h *holder) issuer() string {
	if h.slug == "" {
		return h.nodes[0].url
	}
	return h.nodes[0].url + "/o/" + h.slug
}

// at returns the administrator's client of a server, which sends nothing twice.
func (h *holder) at(node int) *client.Client { return h.as(node, h.admin) }

func (h *holder) as(node int, token string) *client.Client {
	return &client.Client{BaseURL: h.issuer(), Token: token, HTTP: h.nodes[node].http, MaxRetries: -1}
}

// subject returns a new token of the CI.
func (h *holder) subject() string {
	token, err := h.nodes[0].ci.Mint(emulator.Options{Audience: h.issuer(), Run: &emulator.Run{Repository: h.repository, Ref: "refs/heads/main"},
		Claims: map[string]any{"exp": time.Now().Add(50 * time.Minute).Unix()}})
	if err != nil {
		panic(err) // the test's own fault
	}
	return token
}

// noAnswer stands for the code of a refusal where none came.
const noAnswer = "no answer"

// codeOf is that of a refusal; empty: it was none.
func codeOf(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return noAnswer
	}
	return ""
}

// exchange presents a new token of the CI to a server.
func (h *holder) exchange(node int) (token, code string) {
	resp, err := h.as(node, "").Exchange(h.t.Context(), client.ExchangeRequest{Token: h.subject(), AgentID: h.agent})
	if err != nil {
		return "", codeOf(err)
	}
	return resp.AccessToken, ""
}

// authenticate asks a server for a token with the agent's secret.
func (h *holder) authenticate(node int) (token, code string) {
	resp, err := h.nodes[node].http.PostForm(h.issuer()+"/oauth2/token",
		url.Values{"grant_type": {agentidp.GrantClientCredentials}, "client_id": {h.agent}, "client_secret": {h.secret}})
	if err != nil {
		return "", noAnswer
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Code  string `json:"code"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", noAnswer
	}
	return answer.Token, answer.Code
}

// database opens the PostgreSQL of the installation, for what no server tells.
func (h *holder) database() *sql.DB {
	h.t.Helper()
	db, err := sql.Open("pgx", h.nodes[0].postgres()+unprepared)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { db.Close() })
	return db
}

// granted counts the agent's grants that were decided after an instant.
func (h *holder) granted(db *sql.DB, after time.Time) (n int) {
	h.t.Helper()
	err := db.QueryRowContext(context.WithoutCancel(h.t.Context()),
		"SELECT count(*) FROM decisions WHERE agent_id = $1 AND outcome = 'allowed' AND at > $2", h.agent, after.UnixMicro()).Scan(&n)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}
