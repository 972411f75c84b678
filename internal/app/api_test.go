package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// TestBadPolicies: one member that is wrong makes the whole policy bad input, and
// the answer names it.
func TestBadPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	base := map[string]any{"provider": "github", "repository": "acme/deploy", "branch": "main", "agentId": agent}
	type row struct {
		name, field string
		value       any
	}
	rows := []row{
		{"A-118 a whole ref", "branch", "refs/heads/main"},
		{"A-118 a tag's ref", "branch", "refs/tags/v1"},
		{"A-119 a branch pattern", "branch", "release/*"},
		{"A-119 a branch with a trailing no-break space", "branch", "main\u00a0"},
		{"A-119 a branch with a space", "branch", "ma in"},
		{"A-119 two dots", "branch", "a..b"},
		{"A-129 a condition on actor", "actor", "octocat"},
		{"A-129 a condition on workflow", "workflow", "CI"},
		{"A-129 a condition on head_ref", "head_ref", "main"},
		{"A-129 the actor among the claims", "claims.actor", map[string]any{"actor": "octocat"}},
		{"A-129 the workflow's name among the claims", "claims.workflow", map[string]any{"workflow": "CI"}},
		{"A-129 the head of a pull request among the claims", "claims.head_ref", map[string]any{"head_ref": []string{"main"}}},
		{"A-129 its base among the claims", "claims.base_ref", map[string]any{"base_ref": "main"}},
		{"the subject among the claims", "claims.sub", map[string]any{"sub": "repo:acme/deploy:ref:refs/heads/main"}},
		{"A-136 a pattern of claims that crosses slashes", "claims.runner_environment", map[string]any{"runner_environment": "**"}},
		{"A-136 one among the values of a claim", "claims.runner_environment[1]", map[string]any{"runner_environment": []string{"a", "git**"}}},
		{"A-136 a pattern of environments", "environment", "prod*"},
		{"A-136 a pattern of workflows", "workflow", ".github/workflows/*.yml"},
		{"A-132 a reusable workflow at no ref", "workflow", "acme/flows/.github/workflows/d.yml"},
		{"A-132 a reusable workflow at a short ref", "workflow", "acme/flows/.github/workflows/d.yml@main"},
		{"A-132 a workflow with a second @", "workflow", "acme/flows/.github/workflows/d.yml@x.yml@refs/heads/main"},
		{"A-172 no claims", "claims", map[string]any{}},
		{"A-172 a claim without values", "claims.a", map[string]any{"a": []string{}}},
		{"A-172 a claim with an empty value", "claims.a", map[string]any{"a": ""}},
		{"A-172 a claim of null", "claims.a", map[string]any{"a": nil}},
		{"a claim that is a number", "claims.a", map[string]any{"a": 1}},
		{"claims that are a list", "claims", []string{"a"}},
		{"A-135 all repositories of an owner", "repository", "acme/*"},
		{"A-135 an owner alone", "repository", "acme"},
		{"A-172 an empty branch", "branch", ""},
		{"A-172 an empty repository", "repository", ""},
		{"A-172 a repository of null", "repository", nil},
		{"A-172 an empty provider", "provider", ""},
		{"A-172 an empty agentId", "agentId", ""},
		{"A-172 an empty list of scopes", "scopes", []string{}},
		{"A-172 an empty list of audiences", "audiences", []string{}},
		{"A-172 an empty scope", "scopes[0]", []string{""}},
		{"A-230 a life of nothing", "tokenTtlSeconds", 0},
		{"A-230 a negative life", "tokenTtlSeconds", -1},
		{"A-230 a life of 1e12 s", "tokenTtlSeconds", 1_000_000_000_000},
		{"A-230 a life of 1e30 s", "tokenTtlSeconds", json.RawMessage("1e30")},
		{"A-230 a life of half a second more", "tokenTtlSeconds", 60.5},
		{"A-230 a life of 59 s", "tokenTtlSeconds", 59},
		{"A-230 a life of 3601 s", "tokenTtlSeconds", 3601},
		{"a life that is a string", "tokenTtlSeconds", "900"},
		{"an expiry that has passed", "expiresAt", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
		{"an expiry that is no time", "expiresAt", "tomorrow"},
		{"an agentId in upper case", "agentId", strings.ToUpper(agent)},
		{"a provider that is not registered", "provider", "gitlab"},
		{"a repository's address", "repository", "https://github.com/acme/deploy"},
		{"an id with a leading zero", "repositoryId", "074"},
		{"an id that is a number", "repositoryOwnerId", 74},
		{"an event pattern", "events[0]", []string{"*"}},
		{"an event twice", "events[1]", []string{"push", "push"}},
		{"a scope that is none", "scopes[0]", []string{"deploy"}},
		{"a scope pattern", "scopes[0]", []string{"deploy:*"}},
		{"an audience that is no URI", "audiences[0]", []string{"deploy.example"}},
		{"an audience with a fragment", "audiences[0]", []string{"https://a.example#b"}},
		{"a limit of a policy with an agent", "maxAgents", 5},
		{"a name pattern of a policy with an agent", "agentNamePattern", "*"},
		{"a tag beside a branch", "tag", "v*"},
		{"a mode that is none", "mode", "sometimes"},
		{"a description with a line break", "description", "a\nb"},
		{"a wrong type", "events", "push"},
		{"a mode of another case", "mode", "Disabled"},
	}
	for _, repository := range []string{"*", "*/*", "acme*/deploy", "acme/re*", "acme/depl?y", "acme/.*", "acme/deploy|.*", "^acme/deploy$", "acme/[d]eploy", "acme/deploy/x", "/deploy", "acme/", "acme//deploy", " acme/deploy", "acme/deploy.git", "аcme/deploy", "acme/\u212aiosk", "acme/deploy\u0000"} {
		rows = append(rows, row{fmt.Sprintf("A-104 A-105 A-136 the repository %q", repository), "repository", repository})
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := w.in(t)
			body := map[string]any{}
			for name, value := range base {
				body[name] = value
			}
			member := r.field
			if end := strings.IndexAny(member, "[."); end >= 0 {
				member = member[:end]
			}
			body[member] = r.value
			a := w.want(w.do("POST", policiesPath, admin, body), 400, agentidp.CodeInvalidRequest)
			w.isProblem(a)
			if strings.Contains(r.name, "\\x00") { // no strict JSON at all
				w.names(a, "body")
				return
			}
			w.names(a, r.field)
			if n := len(a.Body["details"].([]any)); n != 1 {
				t.Errorf("%d bad fields, want one: %s", n, a.Raw)
			}
		})
	}
	for _, n := range []any{0, -1, 1_000_001} {
		w.names(w.want(w.do("POST", policiesPath, admin, map[string]any{"provider": "github", "repository": repository, "maxAgents": n}), 400, agentidp.CodeInvalidRequest), "maxAgents")
	}
	// All at once, whether the schema finds it or the registry.
	all := map[string]any{"provider": "gitlab", "repository": "acme/*", "branch": "refs/heads/x", "agentId": agent, "unknown": 1, "repositoryId": 74,
		"scopes": []string{"deploy"}, "audiences": []string{"a"}, "tokenTtlSeconds": 5, "mode": "x", "maxAgents": 3, "events": []string{"push", "*"}}
	a := w.want(w.do("POST", policiesPath, admin, all), 400, agentidp.CodeInvalidRequest)
	w.names(a, "branch", "unknown", "provider", "repository", "repositoryId", "scopes[0]", "audiences[0]", "tokenTtlSeconds", "mode", "maxAgents", "events[1]")
	if n := len(a.Body["details"].([]any)); n != 11 {
		t.Errorf("%d bad fields, want 11: %s", n, a.Raw)
	}
	if items := w.do("GET", policiesPath, admin, nil).Body["items"].([]any); len(items) != 0 {
		t.Errorf("%d policies were saved", len(items))
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	for path, allow := range map[string]string{
		exchangePath: "POST", policiesPath: "GET, HEAD, POST", policiesPath + "/x": "DELETE, GET, HEAD, PUT",
		agentsPath: "GET, HEAD, POST", agentsPath + "/x": "DELETE, GET, HEAD, PATCH", agentsPath + "/x/suspend": "POST", agentsPath + "/x/reactivate": "POST",
		revokeAllPath: "POST", revocationPath: "POST", explainPath: "POST",
		decisionsPath: "GET, HEAD", decisionsPath + "/x": "GET, HEAD", eventsPath: "GET, HEAD",
		"/.well-known/jwks.json": "GET, HEAD", "/.well-known/openid-configuration": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD",
		"/api/v1/openapi.json": "GET, HEAD", "/api/v1/openapi.yaml": "GET, HEAD", "/api/v1/docs": "GET, HEAD", "/api/v1/trust-policies.schema.json": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			a := w.do(method, path, admin, nil)
			if method == "HEAD" { // an answer without a body
				if a.Status != 405 || len(a.Raw) != 0 {
					t.Errorf("HEAD %s: %d %s", path, a.Status, a.Raw)
				}
				continue
			}
			w.isRefusal(path, w.want(a, 405, agentidp.CodeMethodNotAllowed))
			if got := a.Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allow)
			}
		}
	}
	// nor is there anything of the inside.
	for _, path := range []string{"/", "/api/v1", "/api/v1/nothing", "/api/v1/agents/x/nothing", "/api/v2/agents", "/metrics", "/debug/pprof/", "/console/", "/api/v1/oidc/nothing", "/oauth2/", "/oauth2/authorize"} {
		for _, method := range []string{"GET", "POST"} {
			w.isRefusal(path, w.want(w.do(method, path, admin, nil), 404, agentidp.CodeNotFound))
		}
	}
}

// isRefusal holds an answer to the form that errors have at a path.
func (w *world) isRefusal(path string, a *answer) {
	w.t.Helper()
	if strings.HasPrefix(path, "/oauth2/") {
		w.isOAuth(a)
		return
	}
	w.isProblem(a)
}

func TestPublicDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, media := range map[string]string{
		"/.well-known/jwks.json":                  "application/jwk-set+json",
		"/.well-known/openid-configuration":       "application/json",
		"/.well-known/oauth-authorization-server": "application/json",
	} {
		a := w.want(w.do("GET", path, "", nil), 200)
		etag := a.Header.Get("ETag")
		if a.Header.Get("Content-Type") != media || len(etag) < 10 || a.Header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %v", path, a.Header)
		}
		for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
			b := w.do("GET", path, "", nil, "If-None-Match", match)
			if b.Status != 304 || len(b.Raw) != 0 || b.Header.Get("ETag") != etag || b.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s with If-None-Match %s: %d %v", path, match, b.Status, b.Header)
			}
		}
		if b := w.do("GET", path, "", nil, "If-None-Match", `"x"`); b.Status != 200 || !bytes.Equal(a.Raw, b.Raw) {
			t.Errorf("%s with another tag: %d", path, b.Status)
		}
		head := w.do("HEAD", path, "", nil)
		if head.Status != 200 || len(head.Raw) != 0 || head.Header.Get("ETag") != etag || head.Header.Get("Content-Length") != fmt.Sprint(len(a.Raw)) {
			t.Errorf("HEAD %s: %d %v", path, head.Status, head.Header)
		}
		w.do("GET", path, "not a token", nil) // a credential that nobody asked for is not looked at
	}
	t.Run("A-231 the members of our keys", func(t *testing.T) {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(w.do("GET", "/.well-known/jwks.json", "", nil).Raw, &set); err != nil {
			t.Fatal(err)
		}
		for _, key := range set.Keys {
			for member := range key {
				if !slices.Contains([]string{"kty", "use", "alg", "kid", "crv", "x", "y"}, member) {
					t.Errorf("the key set shows %s", member)
				}
			}
		}
		if len(set.Keys) == 0 {
			t.Error("the key set is empty")
		}
	})
	d := w.do("GET", "/.well-known/openid-configuration", "", nil)
	for member, want := range map[string]any{
		"issuer": w.url, "jwks_uri": w.url + "/.well-known/jwks.json", "agentidp_exchange_endpoint": w.url + exchangePath, "id_token_signing_alg_values_supported": []any{"ES256"},
	} {
		if got := fmt.Sprint(d.Body[member]); got != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", member, got, want)
		}
	}
	for member, value := range d.Body { // what is advertised is there
		if address, ok := value.(string); ok && member != "issuer" {
			if a := w.do("GET", strings.TrimPrefix(address, w.url), "", nil); a.Status == 404 {
				t.Errorf("%s says %s, and there is nothing", member, address)
			}
		}
	}
}

func TestTheServedDocumentsAreTheCommittedOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var served, committed map[string]any
	a := w.want(w.do("GET", "/api/v1/openapi.json", "", nil), 200)
	file, err := os.ReadFile("../../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(a.Raw, &served); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &committed); err != nil {
		t.Fatal(err)
	}
	for _, doc := range []map[string]any{served, committed} {
		info, _ := doc["info"].(map[string]any)
		delete(info, "version")
	}
	if !bytes.Equal(mustJSON(t, served), mustJSON(t, committed)) {
		t.Error("the served document is not api/openapi.json; run: make openapi")
	}
	if w.want(w.do("GET", "/api/v1/openapi.yaml", "", nil), 200).Header.Get("Content-Type") != "application/yaml" {
		t.Error("the YAML form has another media type")
	}
	schema, err := os.ReadFile("../../docs/trust-policies.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	a = w.want(w.do("GET", "/api/v1/trust-policies.schema.json", "", nil), 200)
	if a.Header.Get("Content-Type") != "application/schema+json" || !bytes.Equal(a.Raw, schema) {
		t.Errorf("the served schema of files of policies (%s) is not docs/trust-policies.schema.json; run: make openapi", a.Header.Get("Content-Type"))
	}
	// What the document says of paths and methods is what the server has.
	paths, _ := served["paths"].(map[string]any)
	for path, item := range paths {
		for method := range item.(map[string]any) {
			x := w.do(strings.ToUpper(method), strings.NewReplacer("{id}", "x", "{agentId}", "x").Replace(path), "", nil)
			if x.Status == http.StatusNotFound || x.Status == http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, x.Status)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := w.want(w.do("GET", path, "", nil), 200); a.str("status") != "ok" {
			t.Errorf("%s: %s", path, a.Raw)
		}
	}
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", "/healthz", "", nil), 200)
	for _, path := range []string{"/readyz", agentsPath} {
		a := w.want(w.do("GET", path, admin, nil), 503, agentidp.CodeTemporarilyUnavailable)
		w.isProblem(a)
		if strings.Contains(string(a.Raw), "sql") {
			t.Errorf("%s tells of its inside: %s", path, a.Raw)
		}
	}
}
