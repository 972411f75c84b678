package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

const (
	policiesPath  = "/api/v1/oidc/trust-policies"
	providersPath = "/api/v1/oidc/providers"
	agentsPath    = "/api/v1/agents"
	decisionsPath = "/api/v1/oidc/decisions"
	eventsPath    = "/api/v1/audit/events"
)

// bootstrap returns a bootstrap token of the usual run, changed by claims. A
// policy must permit it.
func (w *world) bootstrap(c claims) string {
	w.t.Helper()
	return w.granted(exchangeBody(w.subject(c), "")).str("access_token")
}

func TestModesAreStrictlySeparate(t *testing.T) {
	t.Parallel()
	const violation = agentidp.CodeTrustPolicyViolation
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	unnamed := w.register(admin, "unnamed@ci.acme.example")
	w.policy(admin, map[string]any{"repository": "acme/boot"})
	w.policy(admin, map[string]any{"repository": "acme/agent", "agentId": agent})
	w.tryEverywhere([]trial{
		{"A-147 an agent, by a bootstrap policy", agent, claims{"repository": "acme/boot"}, violation, ""},
		{"A-147 an agent that no policy names, by a bootstrap policy", unnamed, claims{"repository": "acme/boot"}, violation, ""},
		{"A-148 bootstrap, by an agent's policy", "", claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 an agent that does not exist", agentidp.NewID(time.Now()), claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 another agent than the policy's", unnamed, claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 upper case", strings.ToUpper(agent), claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 braces", "{" + agent + "}", claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 a URN", "urn:uuid:" + agent, claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 without hyphens", strings.ReplaceAll(agent, "-", ""), claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 a leading space", " " + agent, claims{"repository": "acme/agent"}, violation, ""},
		{"A-149 no UUID at all", "'; DROP TABLE agents;--", claims{"repository": "acme/agent"}, violation, ""},
	})
	body := exchangeBody(w.subject(claims{"repository": "acme/boot"}), "")
	body["agentId"] = ""
	w.names(w.refused(body, http.StatusBadRequest, agentidp.CodeInvalidRequest), "agentId")
	body["agentId"] = nil // null is absence
	w.granted(body)
}

func TestScopesAndAudiences(t *testing.T) {
	t.Parallel()
	const badScope, badTarget = agentidp.CodeInvalidScope, agentidp.CodeInvalidTarget
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "ship:staging", "ship:production", "logs:read")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "scopes": []string{"ship:staging", "ship:canary"}, "audiences": []string{"https://a.example", "urn:b"}})
	w.policy(admin, map[string]any{"maxAgents": 1})
	for _, r := range []struct {
		name, agent, scope, audience, code string
		wantScope, wantAudience            string
	}{
		{"A-080 neither: the bound and the first", agent, "", "", "", "ship:staging", "https://a.example"},
		{"a scope within the bound", agent, "ship:staging", "", "", "ship:staging", "https://a.example"},
		{"the second audience", agent, "", "urn:b", "", "ship:staging", "urn:b"},
		{"A-150 a capability that the policy leaves out", agent, "ship:production", "", badScope, "", ""},
		{"A-150 a scope that the agent lacks", agent, "ship:canary", "", badScope, "", ""},
		{"A-150 one right, one wrong", agent, "ship:staging logs:read", "", badScope, "", ""},
		{"A-150 a management scope", agent, "agents:write", "", badScope, "", ""},
		{"A-150 admin", agent, "admin", "", badScope, "", ""},
		{"A-150 twice the same", agent, "ship:staging ship:staging", "", badScope, "", ""},
		{"A-150 two spaces", agent, "ship:staging  logs:read", "", badScope, "", ""},
		{"A-150 a trailing space", agent, "ship:staging ", "", badScope, "", ""},
		{"A-150 a newline", agent, "ship:staging\nadmin", "", badScope, "", ""},
		{"A-150 a quotation mark", agent, `ship:"`, "", badScope, "", ""},
		{"A-150 beyond ASCII", agent, "ship:stagiñg", "", badScope, "", ""},
		{"A-150 four kilobytes", agent, strings.Repeat("a:b ", 1024) + "a:c", "", badScope, "", ""},
		{"another case of the scope", agent, "Ship:staging", "", badScope, "", ""},
		{"an audience that the policy does not list", agent, "", "https://c.example", badTarget, "", ""},
		{"a listed audience with a slash", agent, "", "https://a.example/", badTarget, "", ""},
		{"the issuer, which the policy does not list", agent, "", w.url, badTarget, "", ""},
		{"the management API", agent, "", w.url + "/api/v1", badTarget, "", ""},
		{"an audience that is no URI", agent, "", "a.example", badTarget, "", ""},
		{"an audience with a fragment", agent, "", "https://a.example#x", badTarget, "", ""},
		{"two audiences", agent, "", "https://a.example urn:b", badTarget, "", ""},
		{"bootstrap", "", "", "", "", "agents:write", w.url + "/api/v1"},
		{"bootstrap, asked for as it is", "", "agents:write", w.url + "/api/v1", "", "agents:write", w.url + "/api/v1"},
		{"A-150 bootstrap with more", "", "agents:write policies:write", "", badScope, "", ""},
		{"A-150 bootstrap with a capability", "", "ship:staging", "", badScope, "", ""},
		{"bootstrap for a service", "", "", "https://a.example", badTarget, "", ""},
		{"bootstrap for the issuer", "", "", w.url, badTarget, "", ""},
	} {
		for _, d := range allDoors {
			t.Run(r.name+", by "+d.String(), func(t *testing.T) {
				w := w.in(t).through(d)
				body := exchangeBody(w.subject(nil), r.agent)
				if r.scope != "" {
					body["scope"] = r.scope
				}
				if r.audience != "" {
					body["audience"] = r.audience
				}
				a := w.outcome(body, r.code, "")
				if r.code != "" {
					return
				}
				if got := jwtClaims(t, a.str("access_token")); got["scope"] != r.wantScope || got["aud"] != r.wantAudience || a.str("scope") != r.wantScope {
					t.Errorf("scope %q (in the answer %q), aud %q; want %q for %q", got["scope"], a.str("scope"), got["aud"], r.wantScope, r.wantAudience)
				}
			})
		}
	}
	body := exchangeBody(w.subject(nil), agent)
	body["scope"] = ""
	w.names(w.refused(body, http.StatusBadRequest, agentidp.CodeInvalidRequest), "scope")
}

// who may not have a credential of an agent, nor act for it, takes away what the
// agent may do, helps itself, and waits until it is given back. It has nothing then.
func TestNothingIsHadByTakingAwayAndWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, mallory := w.admin(), w.admin("agents:write", "agents:read")
	helper := w.register(mallory, "helper@mallory.example")
	agent := w.register(admin, agentName, "deploy:production")
	path := agentsPath + "/" + agent
	secret := map[string]any{"type": "secret"}
	set := func(by string, status int, members map[string]any) {
		w.t.Helper()
		a := w.do("PATCH", path, by, members, "Content-Type", "application/merge-patch+json")
		if a.Status != status {
			w.t.Fatalf("PATCH %v: %s", members, a.Raw)
		}
	}
	w.want(w.do("POST", path+"/credentials", mallory, secret), 403, agentidp.CodeInsufficientScope)
	before := w.want(w.do("POST", path+"/credentials", admin, secret), 201).str("credentialId")

	for name, value := range map[string]any{"audiences": []string{"https://mallory.example"}, "mayDelegateTo": []string{helper}} {
		set(mallory, 403, map[string]any{name: value, "capabilities": nil}) // in one go
	}
	set(mallory, 200, map[string]any{"capabilities": nil})
	set(mallory, 403, map[string]any{"mayDelegateTo": []string{helper}}) // in two
	held := map[string]*answer{
		"a new one":                              w.do("POST", path+"/credentials", mallory, secret),
		"one in the place of an administrator's": w.do("POST", path+"/credentials/"+before+"/rotate", mallory, nil),
	}
	set(admin, 200, map[string]any{"capabilities": []string{"deploy:production"}})

	for name, a := range held {
		w.want(a, 201)
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}, "client_id": {agent}, "client_secret": {a.str("clientSecret")}}
		if got := w.want(w.postForm(form.Encode()), 200); got.str("scope") != "" {
			t.Errorf("A-150 with %s: %q", name, got.str("scope"))
		}
		form.Set("scope", "deploy:production")
		w.want(w.postForm(form.Encode()), 400, agentidp.CodeInvalidScope)
	}
}

func TestAnAgentThatIsNotActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "agents:read")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	get := func() string { return w.granted(exchangeBody(w.subject(nil), agent)).str("access_token") }
	held := get()
	w.want(w.do("GET", agentsPath, held, nil), 200)
	for _, r := range []struct {
		name, method, path string
		active             bool
	}{
		{"A-153 suspended", "POST", "/suspend", false},
		{"reactivated", "POST", "/reactivate", true},
		{"A-153 suspended again", "POST", "/suspend", false},
		{"A-153 decommissioned", "DELETE", "", false},
	} {
		w.do(r.method, agentsPath+"/"+agent+r.path, admin, nil)
		if r.active {
			w.want(w.do("GET", agentsPath, held, nil), 200)
			held = get()
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			w := w.in(t)
			w.isProblem(w.want(w.do("GET", agentsPath, held, nil), 401, agentidp.CodeInvalidToken))
			w.inactive(r.name, w.introspect("", held))
			for _, d := range allDoors {
				w := w.through(d)
				w.refused(exchangeBody(w.subject(nil), agent), 403, agentidp.CodeAgentNotActive)
				// Only a run that a policy names may learn that.
				w.refused(exchangeBody(w.subject(stranger("mallory/deploy")), agent), 403, agentidp.CodeTrustPolicyViolation)
			}
		})
	}
}

// what the contract says of deletion. Tokens of an agent live on, unless they
// are to end too; a bootstrap token stands for its policy and ends with it.
func TestA155TokensOfADeletedPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "agents:read")
	policy := w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}}).str("id")
	boot := w.policy(admin, nil).str("id")
	held, heldBoot := w.granted(exchangeBody(w.subject(nil), agent)).str("access_token"), w.bootstrap(nil)
	for _, id := range []string{policy, boot} {
		w.want(w.do("DELETE", policiesPath+"/"+id, admin, nil), 204)
	}
	w.want(w.do("GET", agentsPath, held, nil), 200)
	w.want(w.do("POST", agentsPath, heldBoot, map[string]any{"name": "x@ci.acme.example"}), 401, agentidp.CodeInvalidToken)
	for _, id := range []string{agent, ""} {
		for _, d := range allDoors {
			w.through(d).refused(exchangeBody(w.subject(nil), id), 403, agentidp.CodeTrustPolicyViolation)
		}
	}
	again := w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}}).str("id")
	ended := w.granted(exchangeBody(w.subject(nil), agent)).str("access_token")
	w.want(w.do("DELETE", policiesPath+"/"+again+"?revokeIssued=true", admin, nil), 204)
	w.want(w.do("GET", agentsPath, ended, nil), 401, agentidp.CodeInvalidToken)
	w.want(w.do("GET", agentsPath, held, nil), 200) // another policy's
	w.want(w.do("POST", revokeAllPath, admin, map[string]any{"policyId": policy}), 200)
	w.want(w.do("GET", agentsPath, held, nil), 401, agentidp.CodeInvalidToken)
}

// the cached and the persisted keys of an issuer are used only as long as a
// provider names it.
func TestAnIssuerThatIsNoLongerConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	w.granted(exchangeBody(w.subject(nil), agent))
	token, fetches := w.subject(nil), w.fetches.Load()
	w.restart(func(c *config.Config) { c.GitHubIssuer = "https://token.actions.githubusercontent.com" })
	for _, d := range allDoors {
		w.through(d).refused(exchangeBody(token, agent), 401, agentidp.CodeInvalidToken)
	}
	if w.fetches.Load() != fetches {
		t.Error("A-157 keys of the old issuer were fetched")
	}
	w.restart(func(c *config.Config) { c.GitHubIssuer = w.issuer })
	w.granted(exchangeBody(token, agent))
}

func TestTokensInTheWrongPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "agents:read", "agents:write")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "audiences": []string{"https://a.example", w.url, w.url + "/api/v1"}})
	w.policy(admin, map[string]any{"maxAgents": 1})
	forAudience := func(audience string) string {
		body := exchangeBody(w.subject(nil), agent)
		body["audience"] = audience
		return w.granted(body).str("access_token")
	}
	for name, token := range map[string]string{
		"an agent's":              forAudience("https://a.example"),
		"an agent's, for us":      forAudience(w.url),
		"an agent's, for the API": forAudience(w.url + "/api/v1"),
		"a bootstrap":             w.bootstrap(nil),
		"an administrator's":      admin,
	} {
		for _, d := range allDoors {
			t.Run("A-158 "+name+" access token as a subject token, by "+d.String(), func(t *testing.T) {
				for _, id := range []string{agent, ""} {
					a := w.in(t).through(d).refused(exchangeBody(token, id), 401, agentidp.CodeInvalidToken)
					if a.str("decision_id") != "" || a.Body["claims"] != nil {
						t.Errorf("more is said than of garbage: %s", a.Raw)
					}
				}
			})
		}
	}
	for name, token := range map[string]string{
		"A-161 a CI's token":                 w.subject(nil),
		"A-161 a CI's token for the API":     w.subject(claims{"aud": w.url + "/api/v1"}),
		"A-162 a token for another service":  forAudience("https://a.example"),
		"A-162 a token for the issuer":       forAudience(w.url),
		"a token with one bit of it changed": flipped(admin),
		"no token at all":                    "x",
	} {
		for _, r := range [][2]string{{"GET", agentsPath}, {"POST", agentsPath}, {"GET", policiesPath}, {"DELETE", agentsPath + "/" + agent}} {
			t.Run(name+": "+r[0]+" "+r[1], func(t *testing.T) {
				w := w.in(t)
				a := w.want(w.do(r[0], r[1], token, nil), 401, agentidp.CodeInvalidToken)
				w.isProblem(a)
				if strings.Contains(string(a.Raw), token) && token != "x" {
					t.Error("the answer repeats it")
				}
			})
		}
	}
	w.want(w.do("GET", agentsPath, forAudience(w.url+"/api/v1"), nil), 200)
}

// flipped returns a token with the first character of its signature changed.
func flipped(token string) string {
	i := strings.LastIndexByte(token, '.') + 1
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

// what a stranger's repository learns is the same whatever it asks for.
func TestA213NoOracleForStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	known := w.agentWithPolicy(admin)
	loose := w.register(admin, "loose@ci.acme.example")
	suspended := w.register(admin, "suspended@ci.acme.example")
	w.policy(admin, map[string]any{"agentId": suspended})
	w.want(w.do("POST", agentsPath+"/"+suspended+"/suspend", admin, nil), 200)
	w.policy(admin, map[string]any{"repository": "acme/known"})
	tenant := w.tenant("tenant")
	foreign := tenant.register(tenant.admin(), agentName)
	tenant.policy(tenant.admin(), map[string]any{"repository": "mallory/deploy", "agentId": foreign})

	want := map[*door]string{}
	for _, r := range []struct{ name, repository, agent string }{
		{"repository unknown, agent unknown", "mallory/deploy", agentidp.NewID(time.Now())},
		{"repository unknown, an agent with a policy", "mallory/deploy", known},
		{"repository unknown, an agent without a policy", "mallory/deploy", loose},
		{"repository unknown, a suspended agent", "mallory/deploy", suspended},
		{"another tenant's agent, whose policy names the repository", "mallory/deploy", foreign},
		{"a name that is no id", "mallory/deploy", "no-such-agent"},
		{"repository known for bootstrap, agent unknown", "acme/known", agentidp.NewID(time.Now())},
		{"repository known for bootstrap, an agent with a policy elsewhere", "acme/known", known},
		{"repository known for bootstrap, a suspended agent", "acme/known", suspended},
		{"repository known for bootstrap, another tenant's agent", "acme/known", foreign},
	} {
		for _, d := range allDoors {
			a := w.through(d).refused(exchangeBody(w.subject(stranger(r.repository)), r.agent), 403, agentidp.CodeTrustPolicyViolation)
			got := strings.ReplaceAll(neutral(a), r.repository, "OWN/REPOSITORY")
			if want[d] == "" {
				want[d] = got
			}
			if got != want[d] {
				t.Errorf("A-213 %s, by %s:\n%s\nwant\n%s", r.name, d, got, want[d])
			}
		}
	}
}
