package app

import (
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

const introspectionPath = "/oauth2/introspect"

// introspect asks about a token. bearer may be empty.
func (w *world) introspect(bearer, token string) *answer {
	w.t.Helper()
	return w.do("POST", introspectionPath, bearer, url.Values{"token": {token}}.Encode(), "Content-Type", formType)
}

// active asserts that a token is said to be good, as itself.
func (w *world) active(name string, a *answer, token string) {
	w.t.Helper()
	w.want(a, 200)
	claims := jwtClaims(w.t, token)
	claims["active"], claims["token_type"] = true, "Bearer"
	if !reflect.DeepEqual(claims, a.Body) {
		w.t.Errorf("%s: %s, want %v", name, a.Raw, claims)
	}
	w.asIntrospection(a)
}

// inactive asserts the one answer about what is not good, or not for the caller to know.
func (w *world) inactive(name string, a *answer) {
	w.t.Helper()
	if w.want(a, 200); string(a.Raw) != `{"active":false}`+"\n" {
		w.t.Errorf("%s: %s", name, a.Raw)
	}
	w.asIntrospection(a)
}

func (w *world) asIntrospection(a *answer) {
	w.t.Helper()
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("ETag") != "" {
		w.t.Errorf("A-209 %v", a.Header)
	}
}

// whatever ends a token, at whichever node, it is inactive at every node
// once that call has returned.
func TestA237ATokenThatHasEndedIsInactiveEverywhere(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w, last := nodes[0], nodes[len(nodes)-1]
		admin := w.admin()
		agent := w.register(admin, agentName, "deploy:staging")
		w.policy(admin, map[string]any{"agentId": agent, "branch": "main", "audiences": []string{"https://deploy.example"}})
		ofAgent := func() string { return w.granted(exchangeBody(w.subject(nil), agent)).str("access_token") }
		boot := func(name string) (policy, token string) {
			policy = w.policy(admin, map[string]any{"repository": name}).str("id")
			return policy, w.bootstrap(claims{"repository": name, "repository_id": strconv.Itoa(9000 + len(name))})
		}
		change := func(method, path string, body any, headers ...string) func(string) {
			return func(string) {
				if a := w.do(method, path, admin, body, headers...); a.Status > 299 {
					t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Raw)
				}
			}
		}
		deleted, ofDeleted := boot("acme/deleted")
		disabled, ofDisabled := boot("acme/disabled")
		suspended, revoked := ofAgent(), ofAgent()
		for _, r := range []struct {
			name, token string
			end         func(token string)
		}{
			{"revoked by its holder", w.admin(), func(token string) { w.ended(w.revoke("", token)) }},
			{"revoked by its id", revoked, func(token string) { w.ended(w.revoke(admin, w.jti(token))) }},
			{"its policy is deleted", ofDeleted, change("DELETE", policiesPath+"/"+deleted, nil)},
			{"its policy is disabled", ofDisabled, change("PUT", policiesPath+"/"+disabled,
				map[string]any{"provider": "github", "repository": "acme/disabled", "mode": "disabled"}, "If-Match", `"1"`)},
			{"A-153 its agent is suspended", suspended, change("POST", agentsPath+"/"+agent+"/suspend", nil)},
		} {
			t.Run(r.name, func(t *testing.T) {
				for _, node := range nodes {
					node := node.in(t)
					node.active(r.name+", before", node.introspect("", r.token), r.token)
				}
				r.end(r.token)
				for _, node := range []*world{last.in(t), w.in(t)} {
					node.inactive(r.name, node.introspect("", r.token))
					node.inactive(r.name+", to an administrator", node.introspect(admin, r.token))
					// It is no credential either, whatever it asks about.
					for _, about := range []string{r.token, admin} {
						node.wantOAuth(node.introspect(r.token, about), 401, "invalid_token", agentidp.CodeInvalidToken)
					}
				}
			})
		}
		change("POST", agentsPath+"/"+agent+"/reactivate", nil)("")
		last.active("its agent is active again", last.introspect("", suspended), suspended)
		change("DELETE", agentsPath+"/"+agent, nil)("")
		last.inactive("its agent is decommissioned", last.introspect("", suspended))
		w.clock.advance(2 * time.Hour)
		w.inactive("expired", w.introspect("", admin))
	})
}

// who is told of whose tokens. What nobody may tell the caller is
// answered like what there is not.
func TestA235WhoMayIntrospectWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, nil)
	agent := w.register(admin, agentName, "agents:read")
	reader := w.register(admin, "reader@ci.acme.example", "tokens:read")
	for _, id := range []string{agent, reader} {
		w.policy(admin, map[string]any{"agentId": id, "audiences": []string{w.url + "/api/v1", "https://deploy.example"}})
	}
	held := func(id, audience string) string {
		body := exchangeBody(w.subject(nil), id)
		body["audience"] = audience
		return w.granted(body).str("access_token")
	}
	management, elsewhere := held(agent, w.url+"/api/v1"), held(agent, "https://deploy.example")
	boot, otherBoot, someAdmin := w.bootstrap(nil), w.bootstrap(nil), w.admin("agents:read")
	other := w.tenant("bravo")
	const all, refused = "all", "refused"
	for _, r := range []struct {
		name, bearer string
		of           map[string]string // by token; absent: none
	}{
		{"whoever has the token", "", map[string]string{elsewhere: all, management: all, boot: all, someAdmin: all}},
		{"an administrator with tokens:read", w.admin("tokens:read"), map[string]string{elsewhere: all, management: all, boot: all, someAdmin: all}},
		{"admin", admin, map[string]string{elsewhere: all, management: all, boot: all, someAdmin: all}},
		{"an agent with tokens:read", held(reader, w.url+"/api/v1"), map[string]string{elsewhere: all, management: all, boot: all, someAdmin: all}},
		{"an administrator without it", w.admin("tokens:revoke", "audit:read", "policies:write"), nil},
		{"an administrator, itself", someAdmin, map[string]string{someAdmin: all}},
		{"an agent, of its tokens", management, map[string]string{elsewhere: all, management: all}},
		{"an agent with a token for a service, of that token", elsewhere, map[string]string{elsewhere: all, management: refused, boot: refused, someAdmin: refused}},
		{"A-145 a bootstrap token, itself", boot, map[string]string{boot: all}},
		{"A-145 another of the same policy", otherBoot, nil},
		{"another organization's administrator", other.admin(), map[string]string{elsewhere: refused, management: refused, boot: refused, someAdmin: refused}},
		{"a CI token", w.subject(nil), map[string]string{elsewhere: refused, management: refused, boot: refused, someAdmin: refused}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := w.in(t)
			for name, token := range map[string]string{"for a service": elsewhere, "for the API": management, "a bootstrap token": boot, "an administrator's": someAdmin} {
				a := w.introspect(r.bearer, token)
				switch r.of[token] {
				case all:
					w.active(r.name+": "+name, a, token)
				case refused:
					w.wantOAuth(a, 401, "invalid_token", agentidp.CodeInvalidToken)
				default:
					w.inactive(r.name+": "+name, a)
				}
			}
		})
	}
	// Of another organization nothing is known, under whosever prefix it is asked.
	for _, token := range []string{admin, management, boot} {
		for _, bearer := range []string{"", other.admin()} {
			other.inactive("another organization's", other.introspect(bearer, token))
		}
	}
}

// what is no token of this server is inactive, whoever asks.
func TestWhatIsNoTokenIsInactive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, victim := w.admin(), w.admin()
	parts := strings.Split(victim, ".")
	for name, token := range map[string]string{
		"words": "changeme", "a CI token": w.subject(nil), "another's signature": parts[0] + "." + parts[1] + "." + strings.Split(admin, ".")[2],
		"no signature": parts[0] + "." + parts[1] + ".", "a line break": victim + "\n", "bytes": "\x00\xff", "a large one": strings.Repeat("a", 60_000),
		"the id of a token": w.jti(victim), "another server's": newWorld(t).admin(),
	} {
		for _, bearer := range []string{"", admin} {
			w.inactive(name, w.introspect(bearer, token))
		}
	}
	for _, hint := range []string{"access_token", "refresh_token", "saml2", "\x00", ""} {
		form := url.Values{"token": {victim}, "token_type_hint": {hint}, "client_id": {"x"}, "unknown": {"y"}}
		w.active("hint "+hint, w.do("POST", introspectionPath, "", form.Encode(), "Content-Type", formType+";charset=UTF-8"), victim)
	}
}

// there is nothing that a cache could keep, and nothing in an address that a log
// could.
func TestA209IntrospectionIsPostedAndNotCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		a := w.do(method, introspectionPath+"?token="+admin, admin, nil)
		if a.Status != 405 || a.Header.Get("Allow") != "POST" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("A-209 %s: %d %v", method, a.Status, a.Header)
		}
	}
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, bearer := range []string{"", admin} { // not known is neither yes nor no
		a := w.introspect(bearer, admin)
		if w.wantOAuth(a, 503, "temporarily_unavailable", agentidp.CodeTemporarilyUnavailable); a.Header.Get("Retry-After") == "" {
			t.Errorf("%v", a.Header)
		}
	}
}
