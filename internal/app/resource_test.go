package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// described is where an organization's API is described, by the rule of RFC 9728 §3.1
// and not by the server's code: the well-known path before the resource's own.
func (w *world) described() string {
	w.t.Helper()
	below, ok := strings.CutPrefix(w.url+"/api/v1", w.app.URL())
	if !ok {
		w.t.Fatalf("%s is not below %s", w.url, w.app.URL())
	}
	return w.app.URL() + "/.well-known/oauth-protected-resource" + below
}

// leads returns the challenge of a 401 of the API: with the scope that is needed and
// where the API is described.
func (w *world) leads(challenge, scope string) string {
	separator := " "
	if strings.Contains(challenge, " ") {
		separator = ", "
	}
	if scope != "" {
		challenge += separator + `scope="` + scope + `"`
		separator = ", "
	}
	return challenge + separator + `resource_metadata="` + w.described() + `"`
}

// S-050: each organization's API is described where RFC 9728 §3.1 has it, and below the
// issuer; and the description leads to the authorization server, which names the API in
// turn (§4).
func TestTheAPIIsDescribedAsAProtectedResource(t *testing.T) {
	t.Parallel()
	root := newWorld(t)
	acme := root.tenant("acme")
	for _, w := range []*world{root, acme} {
		below, derived := w.url+"/.well-known/oauth-protected-resource", w.described()
		for _, at := range []string{derived, below} {
			path := strings.TrimPrefix(at, root.url)
			a := root.want(root.do("GET", path, "", nil), 200)
			want := map[string]any{
				"resource": w.url + "/api/v1", "resource_name": "AgentIdP management API", "authorization_servers": []any{w.url},
				"scopes_supported": anys(agentidp.ManagementScopes), "bearer_methods_supported": []any{"header"},
				"dpop_signing_alg_values_supported": anys(agentidp.ProofAlgorithms), "resource_documentation": w.url + "/api/v1/docs",
			}
			if fmt.Sprint(a.Body) != fmt.Sprint(want) {
				t.Errorf("%s: %s, want %v", path, a.Raw, want)
			}
			if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s: %v", path, a.Header)
			}
			if again := root.do("GET", path, "", nil, "If-None-Match", a.Header.Get("ETag")); again.Status != 304 {
				t.Errorf("%s is not known again: %d", path, again.Status)
			}
			root.want(root.do("POST", path, "", "{}"), 405, agentidp.CodeMethodNotAllowed)
		}
		server := w.want(w.do("GET", "/.well-known/oauth-authorization-server", "", nil), 200)
		if fmt.Sprint(server.Body["protected_resources"]) != fmt.Sprint([]string{w.url + "/api/v1"}) {
			t.Errorf("the authorization server of %s names %v", w.url, server.Body["protected_resources"])
		}
	}
	for _, path := range []string{
		"/api", "/api/v1/", "/api/v1/agents", "/o/acme", "/o/acme/", "/o/nobody/api/v1", "/o/default/api/v1", "/o//api/v1", "/o/ACME/api/v1", "/o/acme/api/v2",
		"/o/acme/o/acme/api/v1", "/o/%61cme/api/v1", "o/acme/api/v1", "/api/v1/o/acme",
	} {
		root.isProblem(root.want(root.do("GET", "/.well-known/oauth-protected-resource"+path, "", nil), 404, agentidp.CodeNotFound))
	}
	acme.want(acme.do("GET", "/.well-known/oauth-protected-resource/api/v1", "", nil), 404, agentidp.CodeNotFound)
	if _, _, err := root.app.CloseOrganization(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	root.want(root.do("GET", "/.well-known/oauth-protected-resource/o/acme/api/v1", "", nil), 404, agentidp.CodeNotFound)
}

func anys(values []string) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// S-050, S-076: whoever gets a 401 of the API can find out where to get a better token,
// and for which scope; the answer takes nothing from what was asked.
func TestEvery401OfTheAPILeadsToItsDescription(t *testing.T) {
	t.Parallel()
	root := newWorld(t)
	acme := root.tenant("acme")
	admin := root.admin()
	root.policy(admin, map[string]any{"maxAgents": 1})
	for _, r := range []struct {
		name      string
		world     *world
		method    string
		path      string
		bearer    string
		body      string
		challenge string
		scope     string
	}{
		{"nothing presented", root, "GET", agentsPath, "", "", `Bearer`, "agents:read"},
		{"nothing presented, HEAD", root, "HEAD", agentsPath, "", "", `Bearer`, "agents:read"},
		{"garbage", root, "GET", agentsPath, "changeme", "", `Bearer error="invalid_token"`, "agents:read"},
		{"another organization's token", acme, "GET", policiesPath, admin, "", `Bearer error="invalid_token"`, "policies:read"},
		{"to write", acme, "POST", agentsPath, "changeme", "{}", `Bearer error="invalid_token"`, "agents:write"},
		{"a subject token that proves nothing", root, "POST", exchangePath, "", `{"token":"x"}`, `Bearer error="invalid_token"`, ""},
		{"a subject token for another organization", acme, "POST", exchangePath, "", `{"token":"` + root.mint() + `"}`, `Bearer error="invalid_token"`, ""},
	} {
		req := httptest.NewRequestWithContext(t.Context(), r.method, strings.TrimPrefix(r.world.url, root.url)+r.path, strings.NewReader(r.body))
		req.Host = "evil.example"
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Prefix", "X-Original-Url"} {
			req.Header.Set(name, "evil.example")
		}
		req.Header.Set("Content-Type", "application/json")
		if r.bearer != "" {
			req.Header.Set("Authorization", "Bearer "+r.bearer)
		}
		a := httptest.NewRecorder()
		root.app.http.Handler.ServeHTTP(a, req)
		if want := []string{r.world.leads(r.challenge, r.scope), r.world.leads(dpopChallenge, r.scope)}; a.Code != 401 || !slices.Equal(a.Header().Values("WWW-Authenticate"), want) {
			t.Errorf("%s: %d %q, want %q", r.name, a.Code, a.Header().Values("WWW-Authenticate"), want)
		}
	}
	// Outside the API, and where the token is good, it would lead nowhere.
	for name, a := range map[string]*answer{
		"introspection":      root.introspect("changeme", "x"),
		"without the scope":  root.do("GET", agentsPath, root.admin("audit:read"), nil),
		"what there is not":  root.do("GET", "/api/v1/nothing", "", nil),
		"what is not theirs": root.do("GET", "/o/nobody"+agentsPath, "", nil),
	} {
		if a.Status < 400 || strings.Contains(strings.Join(a.Header.Values("WWW-Authenticate"), " "), "resource_metadata") {
			t.Errorf("%s: %d %v", name, a.Status, a.Header)
		}
	}
}

// The challenge of an operation is that of its document: a client that follows it gets
// what it needs.
func TestAClientFollowsTheChallenge(t *testing.T) {
	t.Parallel()
	w := newWorld(t).tenant("acme")
	challenge := w.do("GET", agentsPath, "", nil).Header.Get("WWW-Authenticate")
	_, address, _ := strings.Cut(challenge, `resource_metadata="`)
	address, _, _ = strings.Cut(address, `"`)
	_, scope, _ := strings.Cut(challenge, `scope="`)
	scope, _, _ = strings.Cut(scope, `"`)
	follow := func(address string) *answer {
		t.Helper()
		if !strings.HasPrefix(address, w.app.URL()+"/") {
			t.Fatalf("%q is not this server's", address)
		}
		sub := *w
		sub.url = w.app.URL()
		return w.want(sub.do(http.MethodGet, strings.TrimPrefix(address, sub.url), "", nil), 200)
	}
	api := follow(address)
	servers, _ := api.Body["authorization_servers"].([]any)
	if len(servers) != 1 || !strings.HasPrefix(w.url+agentsPath, api.str("resource")+"/") {
		t.Fatalf("%s", api.Raw)
	}
	issuer := fmt.Sprint(servers[0])
	server := follow(strings.Replace(issuer, w.app.URL(), w.app.URL()+"/.well-known/oauth-authorization-server", 1))
	if server.str("issuer") != issuer || issuer != w.url {
		t.Errorf("%s is described by %s", issuer, server.Raw)
	}
	w.want(w.do("GET", agentsPath, w.admin(scope), nil), 200)
}
