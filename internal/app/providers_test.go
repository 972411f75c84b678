package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// enterprise starts another CI issuer, at the path that GitHub Enterprise Server has,
// and returns the same world with its tokens for subject tokens.
func (w *world) enterprise() *world {
	w.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	other := *w
	other.issuer = "http://" + server.Listener.Addr().String() + "/_services/token"
	var err error
	other.ci, err = emulator.New(emulator.Config{Issuer: other.issuer, Key: issuerKey(), Run: emulator.Run{Repository: repository}, Clock: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	server.Config.Handler = other.ci.Handler()
	server.Start()
	w.t.Cleanup(server.Close)
	return &other
}

// provider registers the world's issuer as "ghes".
func (w *world) provider(admin string, fields map[string]any) *answer {
	w.t.Helper()
	return w.want(w.do("POST", providersPath, admin, w.providerBody(fields)), 201)
}

func (w *world) providerBody(fields map[string]any) map[string]any {
	body := map[string]any{"name": "ghes", "kind": "github", "issuer": w.issuer}
	for name, value := range fields {
		body[name] = value
	}
	return body
}

// replaceProvider puts another in the place of the one that was answered.
func (w *world) replaceProvider(admin string, old *answer, fields map[string]any) *answer {
	w.t.Helper()
	return w.want(w.do("PUT", providersPath+"/ghes", admin, w.providerBody(fields), "If-Match", old.Header.Get("ETag")), 200)
}

// published returns the keys of the world's issuer.
func (w *world) published() json.RawMessage {
	w.t.Helper()
	resp, err := http.Get(w.issuer + "/.well-known/jwks")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	keys, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return keys
}

// The main job with GitHub Enterprise Server beside GitHub: each vouches for its own
// repositories, also where they have the same name and numbers.
func TestAnExchangeThroughGitHubEnterpriseServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ghes := w.enterprise()
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")

	ghes.refused(exchangeBody(ghes.subject(nil), agent), http.StatusUnauthorized, agentidp.CodeInvalidToken)
	ghes.provider(w.admin(agentidp.ScopeProvidersWrite), nil)
	ghes.outcome(exchangeBody(ghes.subject(nil), agent), agentidp.CodeTrustPolicyViolation, "")
	w.policy(admin, map[string]any{"agentId": agent, "branch": "main"}) // of provider github
	ghes.outcome(exchangeBody(ghes.subject(nil), agent), agentidp.CodeTrustPolicyViolation, "")

	policy := w.policy(admin, map[string]any{"provider": "ghes", "agentId": agent, "branch": "main"})
	token := ghes.granted(exchangeBody(ghes.subject(nil), agent)).str("access_token")
	if workload, _ := saidBy(t, token)["workload"].(map[string]any); workload["provider"] != "ghes" {
		t.Errorf("the token was given on the word of %v", workload["provider"])
	}
	w.granted(exchangeBody(w.subject(nil), agent))
	w.want(w.do("DELETE", policiesPath+"/"+policy.str("id"), admin, nil), 204)
	ghes.outcome(exchangeBody(ghes.subject(nil), agent), agentidp.CodeTrustPolicyViolation, "")
	w.granted(exchangeBody(w.subject(nil), agent))

	// A workflow of the other server bootstraps, too.
	w.policy(admin, map[string]any{"provider": "ghes"})
	registered := w.want(w.do("POST", agentsPath, ghes.bootstrap(nil), map[string]any{"name": "ghes@ci.acme.example"}), 201)
	if by, _ := registered.Body["registeredBy"].(map[string]any); by["provider"] != "ghes" || by["repository"] != repository {
		t.Errorf("registered by %v", by)
	}
}

// An issuer of which nothing is known but what it says of itself: where its keys are is
// in its discovery document, and what it says of a run is in a policy's claims.
func TestAnExchangeThroughAnIssuerThatDescribesItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t).enterprise()
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	body := map[string]any{"name": "ci", "issuer": w.issuer}
	p := w.want(w.do("POST", providersPath, w.admin(agentidp.ScopeProvidersWrite), body), 201)
	if p.str("kind") != "oidc" || p.str("jwksUri") != w.issuer+"/.well-known/jwks" {
		t.Errorf("registered as %s", p.Raw)
	}
	w.want(w.do("POST", policiesPath, admin, map[string]any{"provider": "ci", "agentId": agent, "claims": map[string]any{"sub": "service:deploy"}}), 201)
	w.granted(exchangeBody(w.subject(claims{"sub": "service:deploy"}), agent))
	w.outcome(exchangeBody(w.subject(claims{"sub": "service:other"}), agent), agentidp.CodeTrustPolicyViolation, "")
	report := w.want(w.do("POST", providersPath+"/ci/test", admin, nil), 200)
	discovery, _ := report.Body["discovery"].(map[string]any)
	if report.Body["usable"] != true || discovery["jwksUri"] != w.issuer+"/.well-known/jwks" {
		t.Errorf("the report is %s", report.Raw)
	}
}

// A replay of a subject token is told by the provider's rule.
func TestTheReplayRuleOfAProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t).enterprise()
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	p := w.provider(admin, map[string]any{"replay": "allow"})
	w.policy(admin, map[string]any{"provider": "ghes", "agentId": agent, "branch": "main"})
	body := exchangeBody(w.subject(nil), agent)
	w.granted(body)
	w.granted(body)
	w.replaceProvider(admin, p, nil)
	w.granted(body)
	w.outcome(body, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
}

// providerChange is what an administrator does to a provider whose tokens are under
// way, so that they are good no more.
type providerChange struct {
	name          string
	before, after func(w *world) map[string]any // fields of the provider
	reason        string                        // "": nothing is proven
}

var providerChanges = []providerChange{
	{"an audience is taken away", fields("audiences", []string{"sts.acme.example"}), fields(), agentidp.ReasonAudienceMismatch},
	{"tokens may live a minute", with1Hour, fields("audiences", []string{"sts.acme.example"}, "maxTokenAgeSeconds", 60), agentidp.ReasonTokenTooOld},
	{"its algorithm is accepted no more", with1Hour, fields("audiences", []string{"sts.acme.example"}, "algorithms", []string{"ES256"}), ""},
	{"its static keys are others", func(w *world) map[string]any {
		return map[string]any{"audiences": []string{"sts.acme.example"}, "jwks": w.published()}
	}, fields("audiences", []string{"sts.acme.example"}, "jwks", mallorysKeys()), ""},
	{"its keys are elsewhere", with1Hour, func(w *world) map[string]any {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(mallorysKeys()) }))
		w.t.Cleanup(elsewhere.Close)
		return map[string]any{"audiences": []string{"sts.acme.example"}, "jwksUri": elsewhere.URL}
	}, ""},
}

func with1Hour(*world) map[string]any {
	return map[string]any{"audiences": []string{"sts.acme.example"}, "maxTokenAgeSeconds": 3600}
}

func fields(namesAndValues ...any) func(*world) map[string]any {
	return func(*world) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(namesAndValues); i += 2 {
			m[namesAndValues[i].(string)] = namesAndValues[i+1]
		}
		return m
	}
}

func mallorysKeys() json.RawMessage {
	return json.RawMessage(keySet(jwk(malloryKey().Public(), "mallory", nil)))
}

// The promise of "no window" for providers, while clients exchange all the time, and
// where nothing but the caches is warm.
func TestNoGrantBeginsAfterAProviderChanges(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0].enterprise()
		admin := w.admin()
		says := claims{"aud": "sts.acme.example"}
		for i, c := range providerChanges {
			t.Run(c.name, func(t *testing.T) {
				w := w.in(t)
				agent := w.register(admin, fmt.Sprintf("racer%d@ci.acme.example", i))
				provider := w.provider(admin, c.before(w))
				policy := w.policy(admin, map[string]any{"provider": "ghes", "agentId": agent, "branch": "main"})
				r := &exchangeRace{world: w, nodes: nodes, agent: agent, code: agentidp.CodeInvalidToken, says: says, warm: make(chan struct{})}
				r.run(func() { provider = w.replaceProvider(admin, provider, c.after(w)) })
				for range 2 { // and back again, without a race: what is remembered refuses nobody
					for _, node := range nodes {
						a := node.exchange(exchangeBody(w.subject(says), agent))
						node.want(a, http.StatusUnauthorized, agentidp.CodeInvalidToken, c.reason)
					}
					provider = w.replaceProvider(admin, provider, c.before(w))
					for _, node := range nodes {
						node.granted(exchangeBody(w.subject(says), agent))
					}
					provider = w.replaceProvider(admin, provider, c.after(w))
				}
				w.want(w.do("DELETE", policiesPath+"/"+policy.str("id"), admin, nil), 204)
				w.want(w.do("DELETE", providersPath+"/ghes", admin, nil), 204)
			})
		}
	})
}

// a provider that was deleted is unknown at every node at once, whatever they
// remember of it; and one that was created is known.
func TestA157ADeletedProviderIsUnknownAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0].enterprise()
		admin := w.admin()
		agent := w.register(admin, agentName, "deploy:staging")
		for range 2 {
			for _, node := range nodes {
				a := node.want(node.exchange(exchangeBody(w.subject(nil), agent)), http.StatusUnauthorized, agentidp.CodeInvalidToken)
				if a.str("decision_id") != "" {
					t.Errorf("a decision about a token whose issuer nobody knows: %s", a.Raw)
				}
			}
			w.provider(admin, nil)
			policy := w.policy(admin, map[string]any{"provider": "ghes", "agentId": agent, "branch": "main"})
			for _, node := range nodes {
				node.granted(exchangeBody(w.subject(nil), agent))
			}
			w.want(w.do("DELETE", policiesPath+"/"+policy.str("id"), admin, nil), 204)
			w.want(w.do("DELETE", providersPath+"/ghes", admin, nil), 204)
		}
	})
}

// However many create policies that name a provider while it is deleted, none is left
// behind without it.
func TestAPolicyAndTheDeletionOfItsProviderExcludeEachOther(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0].enterprise()
		admin := w.admin()
		for round := range 5 {
			w.provider(admin, nil)
			counts := atOnce(t, 12, func(i int) (*answer, error) {
				node := nodes[i%len(nodes)]
				if i%4 == 3 {
					return node.send("DELETE", providersPath+"/ghes", admin, nil)
				}
				return node.send("POST", policiesPath, admin, map[string]any{"provider": "ghes", "repository": fmt.Sprintf("acme/r%d-%d", round, i)})
			})
			there := w.do("GET", providersPath+"/ghes", admin, nil).Status == http.StatusOK
			if there != (counts["201 "] > 0) || there == (counts["204 "] > 0) {
				t.Fatalf("the provider is there: %v; %v", there, counts)
			}
			if there {
				for _, p := range w.want(w.do("GET", policiesPath+"?provider=ghes", admin, nil), 200).Body["items"].([]any) {
					w.want(w.do("DELETE", policiesPath+"/"+p.(map[string]any)["id"].(string), admin, nil), 204)
				}
				w.want(w.do("DELETE", providersPath+"/ghes", admin, nil), 204)
			}
		}
	})
}
