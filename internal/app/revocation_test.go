package app

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	revocationPath = "/oauth2/revoke"
	revokeAllPath  = "/api/v1/tokens/revoke"
	formType       = "application/x-www-form-urlencoded"
)

// revoke sends a token to the revocation endpoint. bearer may be empty.
func (w *world) revoke(bearer, token string) *answer {
	w.t.Helper()
	return w.do("POST", revocationPath, bearer, url.Values{"token": {token}}.Encode(), "Content-Type", formType)
}

// ended asserts the one answer to every revocation that is not refused.
func (w *world) ended(a *answer) {
	w.t.Helper()
	if w.want(a, 200); len(a.Raw) != 0 || a.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%v %q", a.Header, a.Raw)
	}
}

var oauthText = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`)

// wantOAuth asserts an error in the form of RFC 6749 §5.2.
func (w *world) wantOAuth(a *answer, status int, oauthError, code string) {
	w.t.Helper()
	w.want(a, status, code)
	if a.str("error") != oauthError || !oauthText.MatchString(a.str("error_description")) || a.str("request_id") == "" ||
		a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("want the error %s: %v %s", oauthError, a.Header, a.Raw)
	}
	if challenge := a.Header.Get("WWW-Authenticate"); (challenge != "") != (status == 401 || status == 403) {
		w.t.Errorf("%d with WWW-Authenticate %q", status, challenge)
	}
}

// jti returns the id of an access token.
func (w *world) jti(token string) string {
	w.t.Helper()
	id, _ := jwtClaims(w.t, token)["jti"].(string)
	return id
}

// revoked reports whether a token's record says so.
func (w *world) revoked(token string) bool {
	w.t.Helper()
	rec, err := w.app.db.Token(w.t.Context(), w.org().ID, w.jti(token))
	if err != nil {
		w.t.Fatal(err)
	}
	return !rec.RevokedAt.IsZero()
}

// whatever the kind of token and its audience, it ends for every node before
// the answer leaves, and ends alone.
func TestATokenRevokesItself(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName, "agents:read")
		w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.app.URL() + "/api/v1", "https://deploy.example"}})
		w.policy(admin, map[string]any{"branch": "main"})
		elsewhere := exchangeBody(w.subject(nil), agent)
		elsewhere["audience"] = "https://deploy.example"
		for name, token := range map[string]string{
			"an administrator's": w.admin(), "an agent's": w.granted(exchangeBody(w.subject(nil), agent)).str("access_token"),
			"a bootstrap": w.bootstrap(nil), "an agent's, for another service": w.granted(elsewhere).str("access_token"),
		} {
			w.ended(w.revoke("", token))
			if !w.revoked(token) {
				t.Errorf("%s token is not revoked", name)
			}
			for _, node := range nodes {
				node.want(node.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken)
			}
			w.ended(w.revoke("", token))
			w.ended(w.revoke(token, token)) // nor is its Authorization of use to anybody
		}
		for _, node := range nodes {
			node.want(node.do("GET", agentsPath, admin, nil), 200)
		}
		w.ended(w.revoke(admin, admin)) // one credential, given twice
		w.want(w.do("GET", agentsPath, admin, nil), 401, agentidp.CodeInvalidToken)
	})
}

// RFC 7009 §2.2: there is nothing to end, and nothing is told.
func TestWhatIsNoTokenIsRevokedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, victim := w.admin(), w.admin()
	other := w.tenant("bravo")
	parts := strings.Split(victim, ".")
	for name, token := range map[string]string{
		"words": "changeme", "a CI token": w.subject(nil), "another's signature": parts[0] + "." + parts[1] + "." + strings.Split(admin, ".")[2],
		"no signature": parts[0] + "." + parts[1] + ".", "a token with a line break": victim + "\n", "a token of another organization": other.admin(),
		"bytes": "\x00\xff", "a large one": strings.Repeat("a", 60_000), "an unknown id": agentidp.NewID(time.Now()),
	} {
		for _, bearer := range []string{"", admin} {
			a := w.revoke(bearer, token)
			if w.ended(a); w.t.Failed() {
				t.Fatalf("%s: %d", name, a.Status)
			}
		}
	}
	w.ended(w.revoke("", w.jti(victim))) // an id is no proof
	for _, hint := range []string{"access_token", "refresh_token", "saml2", "\x00", ""} {
		form := url.Values{"token": {"changeme"}, "token_type_hint": {hint}, "client_id": {"x"}, "unknown": {"y"}}
		w.ended(w.do("POST", revocationPath, "", form.Encode(), "Content-Type", formType+";charset=UTF-8"))
	}
	if w.revoked(victim) {
		t.Error("a token was revoked that nobody presented")
	}
	w.ended(w.do("POST", revocationPath, "", url.Values{"token_type_hint": {"refresh_token"}, "token": {victim}}.Encode(), "Content-Type", formType))
	if !w.revoked(victim) {
		t.Error("a wrong hint saved the token")
	}
	w.clock.advance(2 * time.Hour)
	w.ended(w.revoke("", admin)) // expired
}

// whoever authenticates is held to what that credential may do, and is
// told when it may not.
func TestA236WhoseTokensOneMayRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, nil)
	agent := w.register(admin, agentName, "agents:read", "tokens:revoke")
	w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	other := w.tenant("bravo")
	gone := w.admin()
	w.ended(w.revoke("", gone))
	for _, r := range []struct {
		name, bearer string
		status       int
		code         string
	}{
		{"A-145 a bootstrap token", w.bootstrap(nil), 403, agentidp.CodeInsufficientScope},
		{"an administrator without the scope", w.admin("tokens:read", "agents:write", "policies:write"), 403, agentidp.CodeInsufficientScope},
		{"another organization's administrator", other.admin(), 401, agentidp.CodeInvalidToken},
		{"a revoked token", gone, 401, agentidp.CodeInvalidToken},
		{"a CI token", w.subject(nil), 401, agentidp.CodeInvalidToken},
		{"an administrator with the scope", w.admin("tokens:revoke"), 200, ""},
		{"an agent with the scope", w.granted(exchangeBody(w.subject(nil), agent)).str("access_token"), 200, ""},
		{"admin", admin, 200, ""},
	} {
		for _, form := range []string{"token", "id"} {
			t.Run(r.name+", by the "+form, func(t *testing.T) {
				w := w.in(t)
				victim := w.admin("agents:read")
				given := map[string]string{"token": victim, "id": w.jti(victim)}[form]
				a := w.revoke(r.bearer, given)
				if r.status == 200 {
					w.ended(a)
				} else {
					w.wantOAuth(a, r.status, r.code, r.code) // our code is OAuth's
					if strings.Contains(string(a.Raw), given) {
						t.Errorf("the answer repeats it: %s", a.Raw)
					}
				}
				if w.revoked(victim) != (r.status == 200) {
					t.Errorf("revoked is %v", w.revoked(victim))
				}
			})
		}
	}
	// Nobody learns which ids there are.
	lesser := w.admin("tokens:read")
	known, unknown := w.revoke(lesser, w.jti(w.admin())), w.revoke(lesser, agentidp.NewID(time.Now()))
	if known.Status != 403 || known.str("error_description") != unknown.str("error_description") || unknown.Status != 403 {
		t.Errorf("a known id: %s, an unknown one: %s", known.Raw, unknown.Raw)
	}
}

// at the endpoints that read forms.
func TestFormsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.admin()
	good := "token=" + token
	for _, r := range []struct {
		name, query, body string
		headers           []string
		status            int
		code              string
	}{
		{"nothing", "", "", nil, 400, agentidp.CodeInvalidRequest},
		{"no token", "", "token_type_hint=access_token", nil, 400, agentidp.CodeInvalidRequest},
		{"an empty token", "", "token=", nil, 400, agentidp.CodeInvalidRequest},
		{"the token twice", "", good + "&" + good, nil, 400, agentidp.CodeInvalidRequest},
		{"a hint twice", "", good + "&token_type_hint=a&token_type_hint=b", nil, 400, agentidp.CodeInvalidRequest},
		{"an unknown parameter twice", "", good + "&x=1&x=1", nil, 400, agentidp.CodeInvalidRequest},
		{"a semicolon", "", good + ";x=1", nil, 400, agentidp.CodeInvalidRequest},
		{"a broken escape", "", good + "&x=%zz", nil, 400, agentidp.CodeInvalidRequest},
		{"the token in the query", "?" + good, "", nil, 400, agentidp.CodeInvalidRequest},
		{"the token in query and body", "?" + good, good, nil, 400, agentidp.CodeInvalidRequest},
		{"JSON", "", `{"token":"` + token + `"}`, []string{"Content-Type", "application/json"}, 415, agentidp.CodeUnsupportedMediaType},
		{"text", "", good, []string{"Content-Type", "text/plain"}, 415, agentidp.CodeUnsupportedMediaType},
		{"no type", "", good, []string{"Content-Type", ""}, 415, agentidp.CodeUnsupportedMediaType},
		{"another charset", "", good, []string{"Content-Type", formType + "; charset=utf-16"}, 415, agentidp.CodeUnsupportedMediaType},
		{"another parameter of the type", "", good, []string{"Content-Type", formType + "; boundary=x"}, 415, agentidp.CodeUnsupportedMediaType},
		{"compressed", "", good, []string{"Content-Type", formType, "Content-Encoding", "gzip"}, 415, agentidp.CodeUnsupportedMediaType},
		{"too large", "", good + "&x=" + strings.Repeat("a", 64<<10), nil, 413, agentidp.CodePayloadTooLarge},
		{"ten megabytes", "", "token=" + strings.Repeat("a", 10<<20), nil, 413, agentidp.CodePayloadTooLarge},
		{"another scheme of authentication", "", good, []string{"Content-Type", formType, "Authorization", "Digest eDp5"}, 401, agentidp.CodeInvalidToken},
		{"a client that there is not", "", good, []string{"Content-Type", formType, "Authorization", "Basic eDp5"}, 401, agentidp.CodeInvalidClient},
	} {
		headers := r.headers
		if headers == nil {
			headers = []string{"Content-Type", formType}
		}
		oauthError := agentidp.CodeInvalidRequest
		if r.status == 401 {
			oauthError = r.code
		}
		for _, path := range []string{revocationPath, introspectionPath} {
			a := w.do("POST", path+r.query, "", r.body, headers...)
			if w.wantOAuth(a, r.status, oauthError, r.code); strings.Contains(string(a.Raw), token) {
				t.Errorf("%s, %s: the answer repeats the token: %s", path, r.name, a.Raw)
			}
		}
		if w.revoked(token) {
			t.Fatalf("%s: the token was revoked", r.name)
		}
	}
}

// of another organization there is nothing to revoke, by whatever name.
func TestRevocationStaysInItsOrganization(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	victim := a.admin()
	agent := a.agentWithPolicy(victim)
	held := a.granted(exchangeBody(a.subject(nil), agent)).str("access_token")
	admin := b.admin()
	for _, given := range []string{victim, held, a.jti(victim), a.jti(held)} {
		b.ended(b.revoke(admin, given))
		b.ended(b.revoke("", given))
	}
	for _, chosen := range []map[string]any{{"agentId": agent}, {"policyId": jwtClaims(t, held)["sub"]}, {"repositoryId": "74"}} {
		if n := b.want(b.do("POST", revokeAllPath, admin, chosen), 200).Body["revoked"]; n != 0.0 {
			t.Errorf("%v: %v", chosen, n)
		}
	}
	b.want(b.do("POST", revokeAllPath, admin, map[string]any{"issuedBefore": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}), 200)
	if a.revoked(victim) || a.revoked(held) {
		t.Error("A-152 a token of another organization was revoked")
	}
	b.want(b.do("GET", agentsPath, admin, nil), 401, agentidp.CodeInvalidToken) // its own are all gone
}

// a policy is deleted with its tokens while clients exchange. Whatever
// they were granted, before or during the deletion, is worth nothing once it has
// returned, at any node.
func TestNoTokenOfARevokedPolicyIsGood(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName, "agents:read")
		policy := w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.app.URL() + "/api/v1"}}).str("id")
		var mu sync.Mutex
		var granted []string
		r := &exchangeRace{world: w, nodes: nodes, agent: agent, code: agentidp.CodeTrustPolicyViolation, warm: make(chan struct{}),
			keep: func(token string) {
				mu.Lock()
				defer mu.Unlock()
				granted = append(granted, token)
			}}
		r.run(func() { w.want(w.do("DELETE", policiesPath+"/"+policy+"?revokeIssued=true", admin, nil), 204) })
		if len(granted) < raceGrants {
			t.Fatalf("only %d tokens", len(granted))
		}
		for i, token := range granted {
			node := nodes[i%len(nodes)]
			node.want(node.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken)
		}
		events, err := w.app.db.Events(t.Context(), w.org().ID, &agentidp.EventFilter{}, "", 100_000)
		if err != nil {
			t.Fatal(err)
		}
		told := ""
		for _, e := range events {
			if e.Type == agentidp.EventTokensRevoked && e.PolicyID == policy {
				told += e.Data["revoked"]
			}
		}
		if told != fmt.Sprint(len(granted)) {
			t.Errorf("the event says %q, and %d were granted", told, len(granted))
		}
	})
}

// a revocation is a mark on the token's record, made once, however often and
// by how many it is asked for.
func TestA238OneTokenRevokedManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		token, admin := w.admin(), w.admin()
		counts := atOnce(t, 40, func(i int) (*answer, error) {
			node := nodes[i%len(nodes)]
			if i%2 == 0 {
				return node.send("POST", revokeAllPath, admin, map[string]any{"issuedBefore": "2000-01-01T00:00:00Z"})
			}
			return node.send("POST", revocationPath, "", "token="+token, "Content-Type", formType)
		})
		if counts["200 "] != 40 {
			t.Errorf("%v", counts)
		}
		events, err := w.app.db.Events(t.Context(), w.org().ID, &agentidp.EventFilter{}, "", 1000)
		n := 0
		for _, e := range events {
			if e.Type == agentidp.EventTokenRevoked || e.Type == agentidp.EventTokensRevoked {
				n++
			}
		}
		if err != nil || n != 1 {
			t.Errorf("%d events, %v", n, err)
		}
	})
}
