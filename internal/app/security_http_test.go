package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

const exchangePath = "/api/v1/oidc/token"

func TestA193TokensInTheQueryAreNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	for _, param := range []string{"token", "access_token", "scope", "x"} {
		token := w.subject(nil)
		a := w.want(w.do("POST", exchangePath+"?"+param+"="+token, "", nil, "Content-Type", "application/json"), 400, agentidp.CodeInvalidRequest)
		w.isProblem(a)
		if strings.Contains(string(a.Raw), token) {
			t.Errorf("A-193 the answer repeats the token: %s", a.Raw)
		}
		a = w.want(w.do("POST", exchangePath+"?"+param+"="+token, "", exchangeBody(token, agent)), 400, agentidp.CodeInvalidRequest)
		w.names(a, "query")
	}
	a := w.want(w.do("GET", exchangePath+"?token="+w.subject(nil), "", nil), 405, agentidp.CodeMethodNotAllowed)
	if got := a.Header.Get("Allow"); got != "POST" {
		t.Errorf("Allow is %q", got)
	}
	w.want(w.do("GET", agentsPath+"?access_token="+admin, "", nil), 401, agentidp.CodeAuthenticationRequired)
	w.names(w.want(w.do("GET", agentsPath+"?access_token="+admin, admin, nil), 400, agentidp.CodeInvalidRequest), "access_token")
	// The harness asserts at the end that the log holds no token.
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	for _, media := range []string{
		"", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/json; charset=latin1",
		"application/json; version=1", "application/jsonp", "application/problem+json", "application/*", "*/*", "application/json, text/plain", "json", ";",
	} {
		t.Run("A-194 "+media, func(t *testing.T) {
			w := w.in(t)
			body := fmt.Sprintf(`{"token":%q,"agentId":%q}`, w.subject(nil), agent)
			a := w.want(w.do("POST", exchangePath, "", body, "Content-Type", media), 415, agentidp.CodeUnsupportedMediaType)
			w.isProblem(a)
			a = w.want(w.do("POST", agentsPath, admin, `{"name":"x@ci.acme.example"}`, "Content-Type", media), 415, agentidp.CodeUnsupportedMediaType)
			w.isProblem(a)
		})
	}
	for _, media := range []string{"application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8", `application/json; charset="utf-8"`} {
		w.want(w.do("POST", exchangePath, "", exchangeBody(w.subject(nil), agent), "Content-Type", media), 200)
	}
	for _, encoding := range []string{"gzip", "deflate", "identity", "br"} {
		t.Run("A-200 "+encoding, func(t *testing.T) {
			w := w.in(t)
			w.isProblem(w.want(w.do("POST", exchangePath, "", "\x1f\x8b", "Content-Encoding", encoding), 415, agentidp.CodeUnsupportedMediaType))
			w.isProblem(w.want(w.do("POST", policiesPath, admin, "\x1f\x8b", "Content-Encoding", encoding), 415, agentidp.CodeUnsupportedMediaType))
		})
	}
}

func TestBodiesThatAreNotTheDocumentedObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	token := w.subject(nil)
	quoted := fmt.Sprintf("%q", token)
	for _, r := range []struct{ name, body, field string }{
		{"A-195 a member twice", `{"token":` + quoted + `,"token":` + quoted + `}`, "body"},
		{"A-195 a member twice, once with an escape", `{"token":` + quoted + `,"\u0074oken":"x"}`, "body"},
		{"A-197 isAdmin", `{"token":` + quoted + `,"isAdmin":true}`, "isAdmin"},
		{"A-197 tenant", `{"token":` + quoted + `,"tenant":"x"}`, "tenant"},
		{"A-197 scope[]", `{"token":` + quoted + `,"scope[]":"x"}`, "scope[]"},
		{"A-197 the OAuth name of agentId", `{"token":` + quoted + `,"agent_id":"` + agent + `"}`, "agent_id"},
		{"A-197 another case", `{"Token":` + quoted + `}`, "Token"},
		{"A-197 an unknown member of null", `{"token":` + quoted + `,"dryRun":null}`, "dryRun"},
		{"A-198 a token in an array", `{"token":[` + quoted + `]}`, "token"},
		{"A-198 a token that is an object", `{"token":{}}`, "token"},
		{"A-198 a token that is a number", `{"token":1}`, "token"},
		{"A-198 a token that is null", `{"token":null}`, "token"},
		{"A-198 an empty token", `{"token":""}`, "token"},
		{"A-198 no token", `{}`, "token"},
		{"A-198 an agentId that is a number", `{"token":` + quoted + `,"agentId":7}`, "agentId"},
		{"A-198 scopes in a list", `{"token":` + quoted + `,"scope":["a:b"]}`, "scope"},
		{"A-198 two audiences in a list", `{"token":` + quoted + `,"audience":["urn:a","urn:b"]}`, "audience"},
		{"A-198 an array", `[]`, "body"},
		{"A-198 a string", quoted, "body"},
		{"A-198 null", `null`, "body"},
		{"A-198 nothing", ``, "body"},
		{"A-198 a form", `token=` + token, "body"},
		{"A-198 thirty thousand deep", strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000), "body"},
		{"A-198 deep within a member", `{"token":` + strings.Repeat(`[`, 30_000) + strings.Repeat(`]`, 30_000) + `}`, "body"},
		{"a byte order mark", "\ufeff" + `{"token":` + quoted + `}`, "body"},
		{"two objects", `{"token":` + quoted + `}{}`, "body"},
		{"a comment", `{"token":` + quoted + `/**/}`, "body"},
		{"bytes that are not UTF-8", `{"token":` + quoted + `,"scope":"` + "\xff" + `"}`, "body"},
		{"a NUL", `{"token":` + quoted + `,"scope":"a\u0000"}`, "body"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := w.in(t)
			a := w.want(w.do("POST", exchangePath, "", r.body), 400, agentidp.CodeInvalidRequest)
			w.isProblem(a)
			w.names(a, r.field)
			if bytes.Contains(a.Raw, []byte(token)) || a.str("decision_id") != "" {
				t.Errorf("%s", a.Raw)
			}
		})
	}
	a := w.want(w.do("POST", exchangePath, "", `{"token":7,"agentId":"","scope":[],"audience":{},"x":1}`), 400, agentidp.CodeInvalidRequest)
	w.names(a, "token", "agentId", "scope", "audience", "x")
	w.granted(exchangeBody(token, agent)) // none of that used the token up
	for _, r := range []struct{ name, body, field string }{
		{"A-195 a member twice", `{"name":"x@ci.acme.example","name":"y@ci.acme.example"}`, "body"},
		{"A-195 a member twice, deep", `{"name":"x@ci.acme.example","labels":{"a":"1","a":"2"}}`, "body"},
		{"A-197 an unknown member", `{"name":"x@ci.acme.example","isAdmin":true}`, "isAdmin"},
		{"A-198 a wrong type", `{"name":["x@ci.acme.example"]}`, "name"},
		{"A-198 an array", `[]`, "body"},
		{"A-198 nothing", ``, "body"},
		{"A-198 no JSON", `{"name":`, "body"},
	} {
		t.Run("an agent: "+r.name, func(t *testing.T) {
			w := w.in(t)
			a := w.want(w.do("POST", agentsPath, admin, r.body), 400, agentidp.CodeInvalidRequest)
			w.isProblem(a)
			w.names(a, r.field)
		})
	}
}

func TestA206PathsHaveOneSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	for _, path := range []string{
		"/api/v1//agents", "//api/v1/agents", "/api/v1/agents/", "/api/v1/./agents", "/api/v1/x/../agents", "/api/v1/%61gents", "/api/v1%2fagents", "/api/v1/agents;x=1",
		"/API/v1/agents", "/api/v1/Agents", "/api/v1/agents/" + agent + "/", "/api/v1/agents/" + agent + "/..", "/api/v1/agents/%2e%2e", "/api/v1/agents/%2e%2e/oidc/trust-policies",
		"/api/v1/agents%00", "/api/v1/agents\\", "/api/v1/agents/" + strings.ToUpper(agent), "/", "/api", "/api/v1", "/.well-known/jwks.json/", "/.well-known/%6awks.json", "/favicon.ico",
	} {
		for _, token := range []string{admin, ""} { // no path is anything but nothing, for whoever asks
			if token == "" && strings.HasSuffix(path, strings.ToUpper(agent)) {
				continue // a path that there is, with an id that there is not
			}
			line := w.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nConnection: close\r\n\r\n")
			if line != "HTTP/1.1 404 Not Found" {
				t.Errorf("A-206 %s (token: %v): %s", path, token != "", line)
			}
		}
	}
	for _, path := range []string{"//api/v1/oidc/token", "//oauth2/token", "/oauth2//token", "/oauth2/token/", "/oauth2/./token", "/oauth2/%74oken", "/oauth2/token;x", "/OAuth2/token", "/oauth2/token%00"} {
		if got := w.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); got != "HTTP/1.1 404 Not Found" {
			t.Errorf("A-206 %s: %s", path, got)
		}
	}
}

// no page may frame an answer.
func TestA208A222HeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	ok := w.granted(exchangeBody(w.subject(nil), agent))
	if ok.Header.Get("Pragma") != "no-cache" || ok.Header.Get("ETag") != "" {
		t.Errorf("A-208 Pragma %q, ETag %q", ok.Header.Get("Pragma"), ok.Header.Get("ETag"))
	}
	for name, a := range map[string]*answer{
		"a token":               ok,
		"a refusal":             w.exchange(exchangeBody("x", agent)),
		"a token by OAuth":      w.enter(stsDoor, exchangeBody(w.subject(nil), agent)),
		"a refusal by OAuth":    w.enter(bearerDoor, exchangeBody("x", agent)),
		"a list":                w.do("GET", agentsPath, admin, nil),
		"no token":              w.do("GET", agentsPath, "", nil),
		"an unknown path":       w.do("GET", "/x", "", nil),
		"an unknown tenant":     w.do("GET", "/o/x/api/v1/agents", "", nil),
		"a wrong method":        w.do("PUT", agentsPath, admin, nil),
		"a body too large":      w.do("POST", agentsPath, admin, strings.Repeat(" ", 70_000)),
		"a wrong media type":    w.do("POST", agentsPath, admin, "x", "Content-Type", "text/plain"),
		"health":                w.do("GET", "/healthz", "", nil),
		"readiness":             w.do("GET", "/readyz", "", nil),
		"a wrong precondition":  w.do("DELETE", agentsPath+"/"+agent, admin, nil, "If-Match", `"99"`),
		"a public document":     w.do("GET", "/.well-known/jwks.json", "", nil),
		"an answer of no bytes": w.do("GET", "/.well-known/jwks.json", "", nil, "If-None-Match", "*"),
	} {
		want := map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Cache-Control": "no-store", "Access-Control-Allow-Origin": "", "Strict-Transport-Security": "", "Server": "", "Set-Cookie": "",
		}
		if strings.HasPrefix(name, "a public") || strings.HasPrefix(name, "an answer") {
			want["Cache-Control"], want["Access-Control-Allow-Origin"] = "public, max-age=300", "*"
		}
		for header, value := range want {
			if got := a.Header.Get(header); got != value {
				t.Errorf("A-208 %s: %s is %q, want %q", name, header, got, value)
			}
		}
		if !agentidp.IsID(a.Header.Get("X-Request-Id")) {
			t.Errorf("%s: X-Request-Id is %q", name, a.Header.Get("X-Request-Id"))
		}
		if id := a.str("request_id"); id != "" && id != a.Header.Get("X-Request-Id") {
			t.Errorf("%s: request_id %q, X-Request-Id %q", name, id, a.Header.Get("X-Request-Id"))
		}
	}
}

// what a page of another origin sends is refused before it is looked at, and no
// answer but a public document lets it read anything.
func TestA207PagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	for _, origin := range []string{"https://evil.example", "null", w.url + ".evil.example", w.url} {
		status, code := 405, agentidp.CodeMethodNotAllowed
		if origin != w.url {
			status, code = 403, agentidp.CodeCrossSiteRequest
		}
		for _, path := range []string{exchangePath, tokenPath, agentsPath, policiesPath} {
			a := w.want(w.do("OPTIONS", path, "", nil, "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"), status, code)
			b := w.do("POST", path, admin, "{}", "Origin", origin)
			if b.Status < 400 || (b.str("code") == agentidp.CodeCrossSiteRequest) != (origin != w.url) {
				t.Errorf("A-207 %s for origin %s: %d %s", path, origin, b.Status, b.Raw)
			}
			for _, h := range []http.Header{a.Header, b.Header} {
				for name := range h {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("A-207 %s for origin %s: %s", path, origin, name)
					}
				}
			}
		}
		if a := w.do("GET", "/.well-known/openid-configuration", "", nil, "Origin", origin); a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("A-207 discovery for origin %s: %v", origin, a.Header)
		}
	}
}

// nothing that a request says of the host comes back; issuer and addresses are
// those of the configuration.
func TestSecurityA192TheHostHeaderIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant("acme")
	for path, issuer := range map[string]string{
		"/.well-known/openid-configuration": w.url, "/.well-known/oauth-authorization-server": w.url,
		"/o/acme/.well-known/openid-configuration": w.url + "/o/acme", "/.well-known/oauth-authorization-server/o/acme": w.url + "/o/acme",
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "evil.example"
		req.Header.Set("X-Forwarded-Host", "evil.example")
		req.Header.Set("X-Forwarded-Proto", "https")
		req.Header.Set("Forwarded", "host=evil.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var document struct {
			Issuer string
			Keys   string `json:"jwks_uri"`
		}
		if err == nil {
			err = json.Unmarshal(body, &document)
		}
		if err != nil || bytes.Contains(body, []byte("evil")) || document.Issuer != issuer || document.Keys != issuer+"/.well-known/jwks.json" {
			t.Errorf("%s: %s, %v", path, body, err)
		}
	}
}

func TestA218LogLinesCannotBeForged(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *config.Config) { c.LogFormat = format })
			w.sendForgedLines()
			lines := 0
			for line := range strings.Lines(w.logs.String()) {
				lines++
				var entry map[string]any
				if err := json.Unmarshal([]byte(line), &entry); format == "json" && (err != nil || entry["msg"] == "forged") {
					t.Errorf("A-218 %v: %q", err, line)
				}
				if format == "text" && (!strings.HasPrefix(line, "time=") || strings.Contains(line, ` msg=forged`)) {
					t.Errorf("A-218 not a line of ours: %q", line)
				}
				if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !strconv.IsPrint(r) }); i >= 0 {
					t.Errorf("A-218 what no terminal should get, at byte %d of %q", i, line)
				}
				if len(line) > 2000 {
					t.Errorf("A-218 a line of %d bytes: %.200q", len(line), line)
				}
			}
			if lines < 30 {
				t.Errorf("only %d lines", lines)
			}
		})
	}
}

// sendForgedLines sends what would be a line of its own, or command a terminal, if it
// were logged as it is.
func (w *world) sendForgedLines() {
	agent := w.agentWithPolicy(w.admin())
	for _, evil := range []string{"x\nmsg=forged level=ERROR", "\u009b31mred", "x\r\n{\"msg\":\"forged\"}", "\x1b[31mred", `","msg":"forged","x":"`, "\u202eforged", "\u2028forged"} {
		w.exchange(exchangeBody(w.subject(claims{"repository": "acme/" + evil}), agent))
		w.exchange(exchangeBody(w.subject(claims{"ref": "refs/heads/" + evil}), agent))
		w.exchange(exchangeBody(w.subject(nil), evil))
		w.exchange(exchangeBody(evil, agent))
		for _, d := range oauthDoors {
			w.enter(d, exchangeBody(w.subject(nil), evil))
			w.enter(d, exchangeBody(evil, agent))
		}
		w.postForm(url.Values{"grant_type": {evil}}.Encode())
		w.exchange(exchangeBody(w.subject(claims{"iss": "https://" + evil}), agent))
		w.do("GET", "/x", "", nil, "User-Agent", strings.NewReplacer("\r", "", "\n", "", "\x1b", "").Replace(evil))
		w.do("GET", "/"+url.PathEscape(evil), "", nil)
	}
	w.do(strings.Repeat("M", 4000), "/"+strings.Repeat("p", 4000), "", nil)
	w.raw("GET /%0d%0a%7b%22msg%22:%22forged%22%7d%1b[31m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

func TestA228TheSamePolicyTwentyTimesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	var wg sync.WaitGroup
	answers, errs := make([]*answer, 20), make([]error, 20)
	for i := range answers {
		wg.Go(func() {
			answers[i], errs[i] = w.send("POST", policiesPath, admin, map[string]any{"provider": "github", "repository": "Acme/deploy", "branch": "main", "description": fmt.Sprint(i)})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	statuses := map[int]int{}
	for _, a := range answers {
		if statuses[a.Status]++; a.Status != 201 {
			w.want(a, 409, agentidp.CodePolicyExists)
		}
	}
	if statuses[201] != 1 || len(w.do("GET", policiesPath, admin, nil).Body["items"].([]any)) != 1 {
		t.Errorf("A-228 %v", statuses)
	}
}
