package app

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
)

// postForm sends a form to the token endpoint.
func (w *world) postForm(form string, headers ...string) *answer {
	w.t.Helper()
	return w.do("POST", tokenPath, "", form, append([]string{"Content-Type", formType}, headers...)...)
}

// with returns a good form of the door with parameters changed: an empty value takes one
// away, and what is appended comes behind the rest as it is.
func (d *door) with(token, agent string, changes url.Values, appended string) string {
	form, _ := url.ParseQuery(d.form(exchangeBody(token, agent)))
	for name, values := range changes {
		form[name] = values
	}
	return form.Encode() + appended
}

const (
	tokenType     = "urn:ietf:params:oauth:token-type:"
	badRequest    = agentidp.CodeInvalidRequest
	badTarget     = agentidp.CodeInvalidTarget
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// TestFormsOfATokenRequest (S-022, S-033, S-043, S-051, S-053, S-054, S-058): what is wrong with a request
// itself, whatever the subject token is worth. None of it uses the token up.
func TestFormsOfATokenRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	other := w.register(w.admin(), "other@ci.acme.example")
	token := w.subject(nil)
	for _, r := range []struct {
		name     string
		door     *door // nil: both
		changes  url.Values
		appended string
		error    string
		says     string
	}{
		{"no grant_type", nil, url.Values{"grant_type": nil}, "", badRequest, "grant_type"},
		{"an empty grant_type", nil, url.Values{"grant_type": {""}}, "", badRequest, "grant_type"},
		{"a grant_type of another case", nil, url.Values{"grant_type": {"Client_Credentials"}}, "", "unsupported_grant_type", "metadata"},
		{"S-065 the password grant", nil, url.Values{"grant_type": {"password"}}, "&username=a&password=b", "unsupported_grant_type", "metadata"},
		{"the grant of a code", nil, url.Values{"grant_type": {"authorization_code"}}, "&code=x", "unsupported_grant_type", "metadata"},
		{"a refresh token", nil, url.Values{"grant_type": {"refresh_token"}}, "&refresh_token=x", "unsupported_grant_type", "metadata"},
		{"SAML", nil, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:saml2-bearer"}}, "", "unsupported_grant_type", "metadata"},

		{"A-195 the subject token twice", stsDoor, nil, "&subject_token=" + token, badRequest, "the parameter subject_token more than once"},
		{"A-195 the assertion twice", bearerDoor, nil, "&assertion=" + token, badRequest, "the parameter assertion more than once"},
		{"A-195 the agent twice", nil, nil, "&agent_id=" + agent + "&agent_id=" + agent, badRequest, "the parameter agent_id more than once"},
		{"A-195 grant_type twice", nil, nil, "&grant_type=x", badRequest, "the parameter grant_type more than once"},
		{"A-195 scope twice, once empty", nil, url.Values{"scope": {"", "deploy:staging"}}, "", badRequest, "the parameter scope more than once"},
		{"A-195 an unknown parameter twice", nil, nil, "&x=1&x=1", badRequest, "the parameter x more than once"},
		{"A-195 one of an unprintable name twice", nil, nil, "&%1b%5B2J=1&%1b%5B2J=1", badRequest, "has a parameter more than once"},
		{"A-195 one of a long name twice", nil, nil, strings.Repeat("&"+strings.Repeat("x", 41)+"=1", 2), badRequest, "has a parameter more than once"},
		{"a semicolon", nil, nil, ";x=1", badRequest, "form"},
		{"a broken escape", nil, nil, "&x=%zz", badRequest, "form"},
		{"bytes that are no text in the agent", nil, url.Values{"agent_id": {"\xff"}, "client_id": nil}, "", badRequest, "agent_id"},
		{"NUL in the scope", nil, url.Values{"scope": {"deploy:staging\x00"}}, "", badRequest, "scope"},
		{"NUL in an audience", nil, url.Values{"audience": {"https://a.example/\x00"}}, "", badRequest, "audience"},

		{"no subject token", stsDoor, url.Values{"subject_token": nil}, "", badRequest, "subject_token"},
		{"an empty subject token", stsDoor, url.Values{"subject_token": {""}}, "", badRequest, "subject_token"},
		{"the subject token under the native name", stsDoor, url.Values{"subject_token": nil}, "&token=" + token, badRequest, "subject_token"},
		{"no assertion", bearerDoor, url.Values{"assertion": nil}, "", badRequest, "assertion"},
		{"no type", stsDoor, url.Values{"subject_token_type": nil}, "", badRequest, "subject_token_type"},
		{"A-165 an access token, it says", stsDoor, url.Values{"subject_token_type": {tokenType + "access_token"}}, "", badRequest, ""},
		{"A-165 saml2", stsDoor, url.Values{"subject_token_type": {tokenType + "saml2"}}, "", badRequest, "subject_token_type"},
		{"A-165 a refresh token", stsDoor, url.Values{"subject_token_type": {tokenType + "refresh_token"}}, "", badRequest, "subject_token_type"},
		{"A-165 an unknown type", stsDoor, url.Values{"subject_token_type": {"urn:x"}}, "", badRequest, "subject_token_type"},
		{"A-165 the type's name alone", stsDoor, url.Values{"subject_token_type": {"jwt"}}, "", badRequest, "subject_token_type"},
		{"A-166 a refresh token wanted", stsDoor, url.Values{"requested_token_type": {tokenType + "refresh_token"}}, "", badRequest, "requested_token_type"},
		{"A-166 an ID token wanted", stsDoor, url.Values{"requested_token_type": {tokenType + "id_token"}}, "", badRequest, "requested_token_type"},
		{"A-164 an actor without type", stsDoor, nil, "&actor_token=" + token, badRequest, "actor_token"},
		{"A-164 an actor's type alone", stsDoor, nil, "&actor_token_type=" + tokenType + "jwt", badRequest, "actor_token"},
		{"A-164 an actor for a run", stsDoor, nil, "&actor_token=" + token + "&actor_token_type=" + tokenType + "jwt", badRequest, "actor_token"},
		{"the agent and another client", nil, url.Values{"agent_id": {agent}, "client_id": {other}}, "", badRequest, "agent_id"},
		{"an agent that is too long", nil, url.Values{"agent_id": {strings.Repeat("a", 65)}, "client_id": nil}, "", badRequest, "agent_id"},
		{"two resources", nil, url.Values{"resource": {"https://a.example", "https://b.example"}}, "", badTarget, "one audience"},
		{"two audiences", nil, url.Values{"audience": {"https://a.example", "https://b.example"}}, "", badTarget, "one audience"},
		{"a resource and another audience", nil, url.Values{"resource": {"https://a.example"}, "audience": {"https://b.example"}}, "", badTarget, "one audience"},
		{"a resource that is no URI", nil, url.Values{"resource": {"a.example"}}, "", badTarget, "resource must be"},
		{"an audience with a fragment", nil, url.Values{"audience": {"https://a.example#x"}}, "", badTarget, "audience must be"},
	} {
		doors := oauthDoors
		if r.door != nil {
			doors = []*door{r.door}
		}
		for _, d := range doors {
			t.Run(r.name+", by "+d.String(), func(t *testing.T) {
				w := w.in(t)
				a := w.postForm(d.with(token, agent, r.changes, r.appended))
				w.isOAuth(a)
				if a.Status != 400 || a.str("error") != r.error || !strings.Contains(a.str("error_description"), r.says) || a.str("decision_id") != "" {
					t.Errorf("%d, want the error %s about %q: %s", a.Status, r.error, r.says, a.Raw)
				}
				if strings.Contains(string(a.Raw), token) {
					t.Error("the answer repeats the token")
				}
			})
		}
	}
	w.granted(exchangeBody(token, agent)) // none of that used it up
}

// S-022, S-058, A-197: what is let through.
func TestFormsThatSayMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "audiences": []string{"https://a.example/mcp", "https://b.example"}})
	for _, r := range []struct {
		name, appended, audience string
	}{
		{"parameters without values", "&scope=&audience=&resource=&requested_token_type=&actor_token=&actor_token_type=&client_secret=&client_assertion=&client_assertion_type=", ""},
		{"A-197 unknown parameters", "&isAdmin=true&tenant=x&scope[]=admin&aud=https://b.example", ""},
		{"one resource twice", "&resource=https://b.example&resource=https://b.example", "https://b.example"},
		{"one resource, and nothing", "&resource=&resource=https://b.example", "https://b.example"},
		{"a resource that is the audience too", "&resource=https://b.example&audience=https://b.example", "https://b.example"},
		{"agent and client the same", "&agent_id=" + agent + "&client_id=" + agent, ""},
	} {
		for _, d := range oauthDoors {
			form := d.form(map[string]any{"token": w.subject(nil)})
			if !strings.Contains(r.appended, "agent_id") {
				form += "&agent_id=" + agent
			}
			a := w.want(w.postForm(form+r.appended), 200)
			if r.audience == "" {
				r.audience = "https://a.example/mcp"
			}
			if got := jwtClaims(t, a.str("access_token")); got["aud"] != r.audience || got["scope"] != "deploy:staging" || got["sub"] != agent {
				t.Errorf("%s, by %s: %v", r.name, d, got)
			}
		}
	}
}

// S-021, A-193, A-194, A-199, A-200: the token endpoint is posted forms, in the body.
func TestHowTheTokenEndpointIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	token := w.subject(nil)
	good := stsDoor.form(exchangeBody(token, agent))
	for _, r := range []struct {
		name, query, body string
		headers           []string
		status            int
		code              string
	}{
		{"A-193 all in the query", "?" + good, "", nil, 400, agentidp.CodeInvalidRequest},
		{"A-193 the token in the query too", "?subject_token=" + token, good, nil, 400, agentidp.CodeInvalidRequest},
		{"A-194 JSON", "", `{"grant_type":"client_credentials"}`, []string{"Content-Type", "application/json"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-194 the native body", "", `{"token":"` + token + `"}`, []string{"Content-Type", "application/json"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-194 text", "", good, []string{"Content-Type", "text/plain"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-194 multipart", "", good, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-194 no type", "", good, []string{"Content-Type", ""}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-194 another charset", "", good, []string{"Content-Type", formType + "; charset=utf-16"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-200 compressed", "", good, []string{"Content-Encoding", "gzip"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-199 one byte too much", "", good + "&x=" + strings.Repeat("x", 64<<10-len(good)-2), nil, 413, agentidp.CodePayloadTooLarge},
		{"A-199 ten megabytes", "", "x=" + strings.Repeat("x", 10<<20), nil, 413, agentidp.CodePayloadTooLarge},
		{"an empty body", "", "", nil, 400, agentidp.CodeInvalidRequest},
	} {
		headers := append([]string{"Content-Type", formType}, r.headers...)
		a := w.do("POST", tokenPath+r.query, "", r.body, headers...)
		w.wantOAuth(a, r.status, agentidp.CodeInvalidRequest, r.code)
		if strings.Contains(string(a.Raw), token) {
			t.Errorf("%s: the answer repeats the token: %s", r.name, a.Raw)
		}
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
		a := w.do(method, tokenPath+"?"+good, "", nil)
		w.wantOAuth(a, 405, agentidp.CodeInvalidRequest, agentidp.CodeMethodNotAllowed)
		if got := a.Header.Get("Allow"); got != "POST" {
			t.Errorf("%s: Allow is %q", method, got)
		}
	}
	for _, path := range []string{tokenPath + "/", "/oauth2/authorize"} { // nothing is there
		w.wantOAuth(w.do("POST", path, "", good, "Content-Type", formType), 404, agentidp.CodeInvalidRequest, agentidp.CodeNotFound)
	}
	w.want(w.postForm(good+"&x="+strings.Repeat("x", 64<<10-len(good)-3)), 200) // none of that used it up
}

// S-023, S-024, S-027, S-028, A-204: ways to say who the client is that are none, whatever it is.
func TestHowAClientDoesNotAuthenticate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	token := w.subject(nil)
	const basic, bearer = `Basic realm="token endpoint", charset="UTF-8"`, "Bearer"
	secret := "&client_secret=x"
	assertion := "&client_assertion=x&client_assertion_type=" + assertionType
	for _, r := range []struct {
		name, authorization, appended string
		error, challenge              string
	}{
		{"Basic and a secret", "Basic eDp5", secret, badRequest, ""},
		{"Basic and an assertion", "Basic eDp5", assertion, badRequest, ""},
		{"a secret and an assertion", "", secret + assertion, badRequest, ""},
		{"all three", "Basic eDp5", secret + assertion, badRequest, ""},
		{"a bearer token and a secret", "Bearer x", secret, badRequest, ""},
		{"an assertion without type", "", "&client_assertion=x", badRequest, ""},
		{"an assertion's type alone", "", "&client_assertion_type=" + assertionType, badRequest, ""},
		{"an assertion of SAML", "", "&client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "invalid_client", basic},
		{"a bearer token", "Bearer " + w.admin(), "", "invalid_client", bearer},
		{"a bearer token in another case", "bEARER x", "", "invalid_client", bearer},
		{"a DPoP token", "DPoP x", "", "invalid_client", "DPoP"},
		{"another scheme", "Digest x", "", "invalid_client", basic},
		{"an empty header", " ", "", "invalid_client", basic},
		{"Basic without anything", "Basic", "", "invalid_client", basic},
		{"Basic that is not base64", "Basic !!", "", "invalid_client", basic},
		{"Basic without a colon", "Basic eA==", "", "invalid_client", basic},
		{"Basic whose parts are no form", "Basic JXp6OnkK", "", "invalid_client", basic}, // %zz:y
		{"Basic whose id is no text", "Basic JWZmOnk=", "", "invalid_client", basic},     // %ff:y
		{"Basic of somebody else than client_id", "Basic eDp5", "&client_id=z", badRequest, ""},
	} {
		var headers []string
		if r.authorization != "" {
			headers = []string{"Authorization", r.authorization}
		}
		form := stsDoor.form(map[string]any{"token": token})
		a := w.postForm(form+r.appended, headers...)
		w.isOAuth(a)
		if a.str("error") != r.error || a.str("code") != r.error || a.Header.Get("WWW-Authenticate") != r.challenge {
			t.Errorf("%s: want %s, and the challenge %q: %d %v %s", r.name, r.error, r.challenge, a.Status, a.Header, a.Raw)
		}
	}
	line := w.raw("POST " + tokenPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nAuthorization: Basic eDp5\r\nAuthorization: Basic eDp5\r\nContent-Length: 29\r\n\r\ngrant_type=client_credentials")
	if line != "HTTP/1.1 400 Bad Request" {
		t.Errorf("two Authorization headers: %s", line)
	}
	w.granted(exchangeBody(token, agent)) // none of that used it up
}

// S-029, S-043, S-053: every code of the native endpoint, and what it is at the doors of the
// token endpoint. Beside error, their bodies say what the native one says.
func TestTheErrorsOfTheDoors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent, idle := w.register(admin, agentName, "deploy:staging"), w.register(admin, "idle@ci.acme.example")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "claims": map[string]any{"environment": "production"}})
	w.policy(admin, map[string]any{"branch": "main", "agentId": idle})
	w.want(w.do("POST", agentsPath+"/"+idle+"/suspend", admin, nil), 200)
	production := func(more claims) claims {
		more["environment"] = "production"
		return more
	}
	used := w.subject(production(claims{}))
	w.granted(exchangeBody(used, agent))
	old := w.subject(production(claims{"iat": 1, "nbf": 1, "exp": 3000}))
	ask := func(token, agent string, more ...string) map[string]any {
		body := exchangeBody(token, agent)
		for i := 0; i+1 < len(more); i += 2 {
			body[more[i]] = more[i+1]
		}
		return body
	}
	for _, r := range []struct {
		native              int
		code, reason        string
		status              int
		exchange, jwtBearer string // error
		body                map[string]any
	}{
		{400, agentidp.CodeInvalidScope, "", 400, "invalid_scope", "invalid_scope", ask(w.subject(production(claims{})), agent, "scope", "deploy:everything")},
		{400, agentidp.CodeInvalidTarget, "", 400, "invalid_target", "invalid_target", ask(w.subject(production(claims{})), agent, "audience", "https://other.example")},
		{401, agentidp.CodeInvalidToken, "", 400, "invalid_request", "invalid_grant", ask("garbage", agent)},
		{401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed, 400, "invalid_request", "invalid_grant", ask(used, agent)},
		{401, agentidp.CodeInvalidToken, agentidp.ReasonTokenExpired, 400, "invalid_request", "invalid_grant", ask(old, agent)},
		{401, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch, 400, "invalid_request", "invalid_grant", ask(w.subject(claims{"aud": "https://other.example"}), agent)},
		{401, agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid, 400, "invalid_request", "invalid_grant", ask(w.subject(claims{"repository_id": nil}), agent)},
		{403, agentidp.CodeTrustPolicyViolation, "", 400, "invalid_request", "invalid_grant", ask(w.subject(stranger("mallory/deploy")), agent)},
		{403, agentidp.CodeRepositoryIdentityChanged, "", 400, "invalid_request", "invalid_grant", ask(w.subject(claims{"repository_id": "7"}), agent)},
		{403, agentidp.CodeAgentNotActive, "", 400, "invalid_request", "invalid_grant", ask(w.subject(nil), idle)},
		{403, agentidp.CodeEventNotPermitted, "", 400, "invalid_request", "invalid_grant", ask(w.subject(claims{"event_name": "workflow_run"}), agent)},
		{403, agentidp.CodeBranchNotPermitted, "", 400, "invalid_request", "invalid_grant", ask(w.subject(claims{"ref": "refs/heads/dev"}), agent)},
		{403, agentidp.CodeConditionNotMet, "", 400, "invalid_request", "invalid_grant", ask(w.subject(nil), agent)},
		{413, agentidp.CodePayloadTooLarge, "", 413, "invalid_request", "invalid_request", ask(strings.Repeat("x", 20<<10), agent)},
	} {
		native := w.want(w.enter(nil, r.body), r.native, r.code, r.reason)
		for d, wantError := range map[*door]string{stsDoor: r.exchange, bearerDoor: r.jwtBearer} {
			a := w.want(w.enter(d, r.body), r.status, r.code, r.reason)
			if a.str("error") != wantError {
				t.Errorf("%s %s, by %s: the error is %s, want %s", r.code, r.reason, d, a.str("error"), wantError)
			}
			w.isOAuth(a)
			w.recorded(a, r.native)
			for _, member := range []string{"claims", "details"} {
				if got, want := spelledJSON(t, a.Body[member]), spelledJSON(t, native.Body[member]); got != want {
					t.Errorf("%s %s, by %s: %s is %s, and %s at the native endpoint", r.code, r.reason, d, member, got, want)
				}
			}
			if got, want := a.said(), strings.ReplaceAll(native.str("detail"), "'", `"`); got != want && r.native != 400 {
				t.Errorf("%s %s, by %s:\n%s\nat the native endpoint:\n%s", r.code, r.reason, d, got, want)
			}
		}
	}
	stranger := strings.Split(w.subject(nil), ".")
	stranger[0] = b64(`{"alg":"RS256","typ":"JWT","kid":"none"}`)
	w.outage.Store(true)
	w.clock.advance(refreshed)
	for _, d := range oauthDoors {
		a := w.want(w.enter(d, ask(strings.Join(stranger, "."), agent)), 503, agentidp.CodeIssuerUnreachable)
		if w.isOAuth(a); a.str("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %v %s", d, a.Header, a.Raw)
		}
	}
}

func spelledJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// S-085, S-089: what proves nothing at the token endpoint is counted against its
// address, and what proves something against its repository, as at the native one.
func TestLimitsAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.AddressFailuresPerMinute, c.ExchangesPerMinute, c.RefusalsPerMinute = 6, 4, 1
	})
	w.clock.freeze()
	agent := w.agentWithPolicy(w.admin())
	for i, d := range oauthDoors {
		a := w.want(w.enter(d, exchangeBody(w.mint(), agent)), 200)
		if got, want := a.Header.Get("RateLimit"), `"exchanges-of-repository";r=`+strconv.Itoa(3-i); !strings.HasPrefix(got, want) {
			t.Errorf("%s: RateLimit %q", d, got)
		}
	}
	dev := claims{"ref": "refs/heads/dev"}
	w.want(w.enter(stsDoor, exchangeBody(w.mint(dev), agent)), 400, agentidp.CodeBranchNotPermitted)
	a := w.want(w.enter(bearerDoor, exchangeBody(w.mint(dev), agent)), 429, agentidp.CodeRateLimited)
	if w.isOAuth(a); a.str("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" || !strings.HasPrefix(a.Header.Get("RateLimit"), `"refusals-of-repository"`) {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	for i := range 3 {
		w.want(w.enter(oauthDoors[i%2], exchangeBody("garbage", agent)), 400, agentidp.CodeInvalidToken)
		w.want(w.postForm("grant_type="+agentidp.GrantJWTBearer, "Authorization", "Bearer x"), 401, agentidp.CodeInvalidClient)
	}
	for _, d := range allDoors {
		a := w.want(w.enter(d, exchangeBody(w.mint(), agent)), 429, agentidp.CodeRateLimited)
		if got := a.Header.Get("RateLimit"); !strings.HasPrefix(got, `"failures-of-address";r=0`) {
			t.Errorf("%s: RateLimit %q", d, got)
		}
	}
}

// A flood at the token endpoint leaves exchanges their places and their memory, and the
// reverse.
func TestTheTokenEndpointHasPlacesOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Concurrency = 2 })
	agent := w.agentWithPolicy(w.admin())
	m := w.app.entrance
	for _, r := range []struct {
		name       string
		gate       *limit.Gate
		share      **limit.Share[netip.Addr]
		full, free []*door
	}{
		{"exchanges", m.exchanges, &m.exchangeBodies, []*door{nil}, oauthDoors},
		{"the token endpoint", m.grants, &m.grantBodies, oauthDoors, []*door{nil}},
	} {
		each := func(what string, doors []*door, status int, code ...string) {
			for _, d := range doors {
				if a := w.enter(d, exchangeBody(w.mint(), agent)); a.Status != status || len(code) > 0 && a.str("code") != code[0] {
					t.Errorf("%s of %s is taken: by %s %d %s", what, r.name, d, a.Status, a.Raw)
				}
			}
		}
		for range 2 {
			r.gate.Enter(t.Context(), false)
		}
		each("every place", r.full, 503, agentidp.CodeTemporarilyUnavailable)
		each("every place", r.free, 200)
		for range 2 {
			r.gate.Leave()
		}
		memory := *r.share
		*r.share = limit.NewShare[netip.Addr](0)
		each("all memory", r.full, 503, agentidp.CodeTemporarilyUnavailable)
		each("all memory", r.free, 200)
		*r.share = memory
		each("nothing", allDoors, 200)
	}
}
