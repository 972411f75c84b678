package verifytokens_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	pageResource = "https://mcp.example.com"
	listens      = "app.listen(3000, '127.0.0.1')" // what the page's server ends with
	whoami       = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`
	listensHere  = "app.listen(0, '127.0.0.1', function () { console.log(`http://127.0.0.1:${this.address().port}`) })"
)

// front is an address for a server that is not started yet, as the name is that a proxy
// has.
type front struct {
	*httptest.Server
	behind atomic.Pointer[httputil.ReverseProxy]
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.behind.Load().ServeHTTP(w, r) }))
	t.Cleanup(f.Close)
	return f
}

// startMCP starts the page's MCP server behind f, for tokens of one organization.
func startMCP(t *testing.T, f *front, issuer string) {
	t.Helper()
	server := code(t, "js", "new McpServer", pageIssuer, issuer, pageResource, f.URL, "'mcp.example.com'", "'127.0.0.1'", listens, listensHere)
	address, err := url.Parse(start(t, folder(t, map[string]string{"server.mjs": server}), node(t), "server.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	f.behind.Store(httputil.NewSingleHostReverseProxy(address))
}

// A client that has no token, or a wrong one, is told by 401 where to get one; who has a
// good token is answered.
func TestTheMCPServerOfThePage(t *testing.T) {
	f := newFront(t)
	s := newServer(t, 0)
	o, other := s.newTenant("acme", f.URL+"/mcp", audience), s.newTenant("umbrella", f.URL+"/mcp")
	startMCP(t, f, o.org.Issuer)
	good := o.exchange("deploy:staging", f.URL+"/mcp")
	forger := newForger(o, good)
	for _, p := range []presented{
		{"a good token", "Bearer " + good, http.StatusOK, ""},
		{"no token", "", http.StatusUnauthorized, "invalid_token"},
		{"a token for another service", "Bearer " + o.exchange("deploy:staging", audience), http.StatusUnauthorized, "invalid_token"},
		{"a token of another organization", "Bearer " + other.exchange("deploy:staging", f.URL+"/mcp"), http.StatusUnauthorized, "invalid_token"},
		{"the job's ID token", "Bearer " + o.idToken(f.URL+"/mcp"), http.StatusUnauthorized, "invalid_token"},
		{"alg none", "Bearer " + unsigned(good), http.StatusUnauthorized, "invalid_token"},
		{"typ JWT", "Bearer " + forger.sign("JWT", nil), http.StatusUnauthorized, "invalid_token"},
		{"another issuer, signed with the right key", "Bearer " + forger.sign("at+jwt", map[string]any{"iss": other.org.Issuer}), http.StatusUnauthorized, "invalid_token"},
		{"no end", "Bearer " + forger.sign("at+jwt", map[string]any{"exp": nil}), http.StatusUnauthorized, "invalid_token"},
		{"bound to a key, without a proof", "Bearer " + forger.sign("at+jwt", map[string]any{"cnf": map[string]any{"jkt": "x"}}), http.StatusUnauthorized, "invalid_token"},
		{"another scope", "Bearer " + o.exchange("deploy:staging-eu", f.URL+"/mcp"), http.StatusForbidden, "insufficient_scope"},
	} {
		status, challenge, body := send(t, http.MethodPost, f.URL+"/mcp", p.authorization, whoami)
		if status != p.status {
			t.Errorf("%s is answered %d %s, want %d", p.what, status, body, p.status)
		}
		if status == http.StatusOK {
			if want := o.agent + " from " + repository; !strings.Contains(body, want) {
				t.Errorf("%s: the tool says %s, want %q", p.what, body, want)
			}
			continue
		}
		for _, part := range []string{
			`Bearer error="` + p.challenge + `"`, `scope="deploy:staging"`,
			`resource_metadata="` + f.URL + `/.well-known/oauth-protected-resource/mcp"`,
		} {
			if !strings.Contains(challenge, part) {
				t.Errorf("%s is answered with %q, want %s in it", p.what, challenge, part)
			}
		}
	}
	_, _, body := get(t, f.URL+"/.well-known/oauth-protected-resource/mcp", "")
	var told map[string]any
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatalf("the metadata is %q: %v", body, err)
	}
	want := map[string]any{"resource": f.URL + "/mcp", "authorization_servers": []any{o.org.Issuer}, "scopes_supported": []any{"deploy:staging"}}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("the metadata is %v, want %v", told, want)
	}
}

// A job that has no secret calls the page's server, by the ID token of its run. As an
// agent that it may not be, it is refused by the issuer and told why.
func TestTheClientInCIOfThePage(t *testing.T) {
	f := newFront(t)
	s := newServer(t, 0)
	o := s.newTenant("acme", audience)
	startMCP(t, f, o.org.Issuer)
	o.administer(code(t, "sh", "policy create", pageResource, f.URL, "org/your-repo", repository), "AGENT_ID="+o.agent)
	job := folder(t, map[string]string{"job.mjs": code(t, "js", "class Job", pageIssuer, o.org.Issuer, pageResource, f.URL)})
	environment := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + s.ci.RequestURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + s.ci.RequestToken()}

	out, err := run(t, job, append(environment, "AGENT_ID="+o.agent), node(t), "job.mjs")
	if want := o.agent + " from " + repository + "\n"; err != nil || out != want {
		t.Errorf("the job ends with %v and says %q, want %q", err, out, want)
	}
	const stranger = "5f0c7a52-0000-4000-8000-000000000000"
	if out, err := run(t, job, append(environment, "AGENT_ID="+stranger), node(t), "job.mjs"); err == nil || !strings.Contains(out, "no trust policy lets it") {
		t.Errorf("as an agent that no policy names, it ends with %v and says %s", err, out)
	}
}
