package app

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// obtains asks the token endpoint for something, with the client's authentication.
func (c *askingClient) obtains(method string, form url.Values) *answer {
	c.t.Helper()
	headers := append([]string{"Content-Type", formType}, c.proves(method, form)...)
	a := c.do("POST", tokenPath, "", form.Encode(), headers...)
	if a.Status != 200 {
		c.isOAuth(a)
	}
	if strings.Contains(string(a.Raw), c.secret) {
		c.t.Errorf("by %s: the answer repeats the secret", method)
	}
	return a
}

// itself is the form of client_credentials.
func itself(more ...string) url.Values {
	form := url.Values{"grant_type": {agentidp.GrantClientCredentials}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}

// S-023, S-025, S-026: by each method a client gets a token for itself, and nothing to
// refresh it with.
func TestAClientGetsATokenForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	c := w.agentThat(w.admin(), "worker", "deploy:staging", "logs:read")
	for _, method := range clientMethods {
		a := w.want(c.obtains(method, itself("scope", "logs:read")), 200)
		said := jwtClaims(t, a.str("access_token"))
		if said["sub"] != c.id || said["client_id"] != c.id || said["aud"] != w.url || said["scope"] != "logs:read" || said["workload"] != nil {
			t.Errorf("by %s the token says %v", method, said)
		}
		if a.str("token_type") != "Bearer" || a.Body["expires_in"] != 900.0 || a.str("agent_id") != c.id || a.Body["refresh_token"] != nil ||
			a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
			t.Errorf("by %s: %v %s", method, a.Header, neutral(a))
		}
		if d := w.decision(a.str("decision_id")); d.GrantType != agentidp.GrantClientCredentials || d.AgentID != c.id || d.CredentialID == "" || d.Outcome != agentidp.OutcomeAllowed {
			t.Errorf("by %s the decision is %+v", method, d)
		}
	}
}

// S-062: whose a token is, its sub alone says, whatever names were chosen: agents have ids
// that the server made, and what is no agent has a prefix that no id has.
func TestSubjectsAreOfOneSort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	policy := w.policy(admin, nil).str("id")
	c := w.agentThat(admin, "admin")
	w.policy(admin, map[string]any{"agentId": c.id})
	subjects := map[string]bool{}
	for _, r := range []struct{ name, token, prefix, rest string }{
		{"an administrator", admin, "admin:", ""},
		{"a bootstrap run", w.granted(exchangeBody(w.subject(nil), "")).str("access_token"), "policy:", policy},
		{"an agent's run", w.granted(exchangeBody(w.subject(nil), c.id)).str("access_token"), "", c.id},
	} {
		said := jwtClaims(t, r.token)
		sub, _ := said["sub"].(string)
		id, ok := strings.CutPrefix(sub, r.prefix)
		if !ok || !agentidp.IsID(id) || (r.rest != "" && id != r.rest) || said["client_id"] != sub || subjects[sub] {
			t.Errorf("%s: sub %q, client_id %v", r.name, sub, said["client_id"])
		}
		subjects[sub] = true
	}
	if own := w.want(c.obtains("client_secret_basic", itself()), 200).str("access_token"); jwtClaims(t, own)["sub"] != c.id {
		t.Error("an agent by its own credential is another than by a run")
	}
	for _, name := range []string{"admin:" + agentidp.NewID(w.clock.Now()), "policy:" + policy} { // what a name can say
		w.want(w.do("POST", agentsPath, admin, map[string]any{"name": name}), 400, agentidp.CodeInvalidRequest)
	}
	w.want(w.do("POST", agentsPath, admin, map[string]any{"name": "x@ci.acme.example", "agentId": c.id}), 400, agentidp.CodeInvalidRequest)
}

// S-025, S-028, S-029, S-058: what a client is refused, and with which error.
func TestWhatAClientIsRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	c, other := w.agentThat(admin, "worker", "deploy:staging"), w.agentThat(admin, "other")
	forged := *c
	forged.secret, forged.signer = c.secret[:len(c.secret)-1], other.signer
	for _, r := range []struct {
		name        string
		client      *askingClient
		method      string
		form        url.Values
		status      int
		error, code string
	}{
		{"nothing proven", c, "", itself(), 401, "invalid_client", "invalid_client"},
		{"its id alone", c, "", itself("client_id", c.id), 401, "invalid_client", "invalid_client"},
		{"half a secret", &forged, "client_secret_basic", itself(), 401, "invalid_client", "invalid_client"},
		{"half a secret in the body", &forged, "client_secret_post", itself(), 401, "invalid_client", "invalid_client"},
		{"an assertion by another's key", &forged, "private_key_jwt", itself(), 401, "invalid_client", "invalid_client"},
		{"more scope", c, "client_secret_basic", itself("scope", "deploy:production"), 400, "invalid_scope", "invalid_scope"},
		{"a management scope", c, "client_secret_basic", itself("scope", "agents:write"), 400, "invalid_scope", "invalid_scope"},
		{"another audience", c, "client_secret_basic", itself("audience", "https://other.example"), 400, "invalid_target", "invalid_target"},
		{"the management API", c, "client_secret_basic", itself("resource", w.url+"/api/v1"), 400, "invalid_target", "invalid_target"},
		{"two audiences", c, "client_secret_basic", itself("resource", w.url, "resource", "https://other.example"), 400, "invalid_target", "invalid_target"},
		{"S-024 two methods", c, "client_secret_basic", itself("client_secret", c.secret), 400, "invalid_request", "invalid_request"},
		{"an assertion, and another's id", c, "private_key_jwt", itself("client_id", other.id), 401, "invalid_client", "invalid_client"},
	} {
		a := w.want(r.client.obtains(r.method, r.form), r.status, r.code)
		if a.str("error") != r.error || (a.str("decision_id") != "") != (r.status == 400 && r.error != "invalid_request" && r.name != "two audiences") {
			t.Errorf("%s: %s", r.name, a.Raw)
		}
		for _, parameter := range []string{"audience", "resource"} { // by the name that was sent
			if r.error == "invalid_target" && r.name != "two audiences" && strings.HasPrefix(a.str("error_description"), parameter+" ") != r.form.Has(parameter) {
				t.Errorf("%s: %s", r.name, a.Raw)
			}
		}
		if challenge := a.Header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Basic ") != (r.status == 401) {
			t.Errorf("%s: challenge %q", r.name, challenge)
		}
	}
	w.want(w.do("POST", agentsPath+"/"+c.id+"/suspend", admin, nil), 200)
	for _, method := range clientMethods {
		if a := w.want(c.obtains(method, itself()), 400, agentidp.CodeAgentNotActive); a.str("error") != "unauthorized_client" || a.str("decision_id") == "" {
			t.Errorf("A-153 by %s: %s", method, a.Raw)
		}
	}
}

// S-057, A-167: who authenticates on an exchange asks for itself, in its own organization.
func TestAClientThatAuthenticatesOnAnExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	c, other := w.agentThat(admin, "worker", "deploy:staging"), w.agentThat(admin, "other")
	for _, id := range []string{c.id, other.id} {
		w.policy(admin, map[string]any{"branch": "main", "agentId": id})
	}
	w.policy(admin, map[string]any{"branch": "main"})
	tenant := w.tenant("tenant")
	foreign := tenant.agentThat(tenant.admin(), "worker", "deploy:staging")
	here := *foreign // its own credentials, at our door
	here.world = w
	stranger := *c // ours, where the token is not trusted
	stranger.world = tenant
	for _, d := range oauthDoors {
		form := func(token, agent string) url.Values {
			form, _ := url.ParseQuery(d.form(map[string]any{"token": token}))
			if agent != "" {
				form.Set("agent_id", agent)
			}
			return form
		}
		for _, method := range clientMethods {
			t.Run("A-167 "+d.String()+", by "+method, func(t *testing.T) {
				w, token := w.in(t), w.subject(nil)
				w.want(here.obtains(method, form(token, "")), 401, agentidp.CodeInvalidClient)
				w.want(stranger.obtains(method, form(token, "")), 401, agentidp.CodeInvalidClient)
				w.want(foreign.obtains(method, form(token, "")), 400, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch)
				w.want(c.obtains(method, form(token, other.id)), 400, agentidp.CodeInvalidRequest)
				// None of that used it up; and with the client's id it is no bootstrap request.
				if a := w.want(c.obtains(method, form(token, "")), 200); a.str("agent_id") != c.id || jwtClaims(t, a.str("access_token"))["workload"] == nil {
					t.Errorf("%s", neutral(a))
				}
				w.want(c.obtains(method, form(w.subject(nil), c.id)), 200)
			})
		}
	}
}

// an access token of ours is a subject token where the request says so, and
// nothing but that.
func TestOwnTokensAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	c := w.agentThat(admin, "worker", "deploy:staging", "logs:read")
	own := w.want(c.obtains("client_secret_basic", itself()), 200).str("access_token")
	form := func(more ...string) string {
		form := url.Values{"grant_type": {agentidp.GrantTokenExchange}, "subject_token": {own}, "subject_token_type": {tokenType + "access_token"}}
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form.Encode()
	}
	a := w.want(w.postForm(form("scope", "logs:read", "requested_expires_in", "60", "client_id", c.id)), 200)
	if said := jwtClaims(t, a.str("access_token")); said["scope"] != "logs:read" || said["sub"] != c.id || a.Body["expires_in"].(float64) > 60 {
		t.Errorf("%v %s", said, neutral(a))
	}
	if d := w.decision(a.str("decision_id")); d.GrantType != agentidp.GrantTokenExchange || d.ParentTokenID != w.jti(own) {
		t.Errorf("the decision is %+v", d)
	}
	for name, more := range map[string][]string{
		"A-165 called a JWT":             {"subject_token_type", tokenType + "jwt"},
		"A-165 called an ID token":       {"subject_token_type", tokenType + "id_token"},
		"A-165 a CI's token":             {"subject_token", w.subject(nil)},
		"an administrator's":             {"subject_token", admin},
		"a secret":                       {"subject_token", c.secret},
		"A-164 an actor without type":    {"actor_token", own},
		"A-164 an actor's type alone":    {"actor_token_type", tokenType + "access_token"},
		"A-164 an actor of another type": {"actor_token", own, "actor_token_type", tokenType + "jwt"},
		"A-166 a refresh token wanted":   {"requested_token_type", tokenType + "refresh_token"},
		"for an agent":                   {"agent_id", c.id},
		"a life that is no number":       {"requested_expires_in", "1e3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			a := w.postForm(form(more...))
			if w.isOAuth(a); a.Status != 400 || a.str("error") != agentidp.CodeInvalidRequest || strings.Contains(string(a.Raw), c.secret) {
				t.Errorf("%d %s", a.Status, jwtPattern.ReplaceAll(a.Raw, []byte("(a secret)")))
			}
		})
	}
	w.want(w.postForm(form("scope", "deploy:production")), 400, agentidp.CodeInvalidScope)
	w.want(w.postForm(form("audience", "https://other.example")), 400, agentidp.CodeInvalidTarget)
}

// S-031, A-210: whoever guesses secrets is stopped before they are looked at, and the
// client itself, at another address, is not.
func TestGuessingAClientsSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxy, func(c *config.Config) { c.AddressFailuresPerMinute = 6 })
	w.clock.freeze()
	c := w.agentThat(w.admin(), "worker", "deploy:staging")
	from := func(address, secret string) *answer {
		form := itself("client_id", c.id, "client_secret", secret)
		return w.postForm(form.Encode(), forwardedFor, address)
	}
	guesses := []string{"x", c.secret[:len(c.secret)-1], c.secret + "0", strings.ToUpper(c.secret), "", "agentidp_cs_"}
	for _, guess := range guesses {
		w.want(from("198.51.100.1", guess), 401, agentidp.CodeInvalidClient)
	}
	a := w.want(from("198.51.100.1", c.secret), 429, agentidp.CodeRateLimited)
	if w.isOAuth(a); a.str("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	w.want(from("198.51.100.2", c.secret), 200)
}

// S-089: what a client is issued is counted, by agent and by client, and told.
func TestLimitsOfAClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AgentTokensPerMinute, c.ClientRequestsPerMinute = 2, 4 })
	w.clock.freeze()
	admin := w.admin()
	c, other := w.agentThat(admin, "worker"), w.agentThat(admin, "other")
	limited := func(a *answer, status int, limit string) {
		code := map[int]string{400: agentidp.CodeInvalidScope, 429: agentidp.CodeRateLimited}[status]
		if w.want(a, status, code); !strings.HasPrefix(a.Header.Get("RateLimit"), limit) {
			t.Errorf("RateLimit is %q, want %q", a.Header.Get("RateLimit"), limit)
		}
	}
	limited(c.obtains("client_secret_basic", itself()), 200, `"tokens-of-agent";r=1;`)
	limited(c.obtains("private_key_jwt", itself()), 200, `"tokens-of-agent";r=0;`)
	limited(c.obtains("client_secret_post", itself()), 429, `"tokens-of-agent";r=0;`)
	limited(c.obtains("client_secret_post", itself("scope", "x:y")), 400, "")
	limited(c.obtains("client_secret_post", itself()), 429, `"requests-of-client";r=0;`)
	limited(other.obtains("client_secret_basic", itself()), 200, `"tokens-of-agent";r=1;`)
}
