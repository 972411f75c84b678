package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// An old token from a public log is authentic for ever, and its refusals are
// recorded. Beyond the limit they cost a counter and nothing else; grants, and the
// refusals of others, go on.
func TestRefusalsOfOneRepositoryAreRecordedAtABoundedRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RefusalsPerMinute = 5 })
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	expired := w.mint(claims{"repository": "mallory/evil"})
	w.clock.advance(time.Hour)

	for range 5 {
		w.want(w.exchange(map[string]any{"token": expired}), http.StatusUnauthorized, agentidp.CodeInvalidToken, agentidp.ReasonTokenExpired)
	}
	before := w.events()
	a := w.want(w.exchange(map[string]any{"token": expired}), http.StatusTooManyRequests, agentidp.CodeRateLimited)
	if a.Header.Get("Retry-After") == "" || a.str("decision_id") != "" {
		t.Errorf("Retry-After %q, decision_id %q", a.Header.Get("Retry-After"), a.str("decision_id"))
	}
	if after := w.events(); after != before {
		t.Errorf("%d events were written beyond the limit", after-before)
	}
	if n := w.refusals()[agentidp.RefusalCount{Reason: agentidp.CodeRateLimited, Provider: "github"}]; n != 1 {
		t.Errorf("counted %d", n)
	}
	w.want(w.exchange(map[string]any{"token": w.mint(claims{"repository": "honest/other"})}), http.StatusForbidden, agentidp.CodeTrustPolicyViolation)
	w.want(w.exchange(map[string]any{"token": w.mint(), "agentId": agent}), http.StatusOK)

	w.clock.advance(time.Minute)
	w.want(w.exchange(map[string]any{"token": expired}), http.StatusUnauthorized, agentidp.CodeInvalidToken, agentidp.ReasonTokenExpired)
}

// refusals are those of the organization that left no record, by what they are.
func (w *world) refusals() map[agentidp.RefusalCount]int64 {
	w.t.Helper()
	all := map[agentidp.RefusalCount]int64{}
	for _, c := range w.app.exchange.Refusals().Of(w.org().ID).Counts {
		all[agentidp.RefusalCount{Reason: c.Reason, Provider: c.Provider}] = c.Count
	}
	return all
}

// events counts the default organization's audit events.
func (w *world) events() int {
	w.t.Helper()
	events, err := w.app.db.Events(w.t.Context(), w.org().ID, &agentidp.EventFilter{}, "", 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(events)
}

// Somebody swaps two variables, and a token stands where an id belongs.
func TestATokenInAPathDoesNotReachTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.admin()
	credentials := agentsPath + "/" + w.register(token, agentName) + "/credentials"
	secret := w.want(w.do(http.MethodPost, credentials, token, map[string]any{"type": "secret"}), 201).str("clientSecret")
	for _, path := range []string{credentials + "/" + secret, "/api/v1/agents/" + token, "/o/" + token + "/healthz", "/" + token, "/" + strings.Repeat("x", 4000)} {
		if a := w.do(http.MethodGet, path, "", nil); a.Status == http.StatusOK {
			t.Errorf("there is something at %.40s", path)
		}
	}
	if log := w.logs.String(); strings.Contains(log, token[:40]) || strings.Contains(log, secret[:40]) || strings.Contains(log, strings.Repeat("x", 300)) {
		t.Error("the log holds it") // the harness looks for whole tokens when the server ends
	}
}

func TestHealthAndKeysAreServedWithoutStorage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(w.do(http.MethodGet, "/.well-known/jwks.json", "", nil), http.StatusOK)
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	for _, path := range []string{"/healthz", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/api/v1/openapi.json"} {
		if a := w.do(http.MethodGet, path, "", nil); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.Status, a.Raw)
		}
	}
	w.want(w.do(http.MethodGet, "/readyz", "", nil), http.StatusServiceUnavailable, agentidp.CodeTemporarilyUnavailable)
	w.want(w.exchange(map[string]any{"token": w.mint()}), http.StatusServiceUnavailable, agentidp.CodeTemporarilyUnavailable)
}

// S-085, S-089: an agent's tokens are limited, whichever of its repositories asks, once
// it is decided that it may have one.
func TestTokensOfAnAgentAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AgentTokensPerMinute = 2 })
	w.clock.freeze()
	admin := w.admin()
	busy, other := w.register(admin, agentName, "deploy:staging"), w.register(admin, "other@ci.acme.example", "deploy:staging")
	for _, agent := range []string{busy, other} {
		for _, name := range []string{"acme/first", "acme/second"} {
			w.policy(admin, map[string]any{"agentId": agent, "repository": name, "branch": "main"})
		}
	}
	asks := func(agent, name, ref string) (string, *answer) {
		subject := w.mint(claims{"repository": name, "repository_id": map[string]string{"acme/first": "1", "acme/second": "2"}[name], "ref": ref})
		return subject, w.exchange(exchangeBody(subject, agent))
	}
	for range 3 { // what is refused is no token
		_, a := asks(busy, "acme/first", "refs/heads/dev")
		w.want(a, http.StatusForbidden, agentidp.CodeBranchNotPermitted)
	}
	for _, name := range []string{"acme/first", "acme/second"} {
		_, a := asks(busy, name, "refs/heads/main")
		w.want(a, http.StatusOK)
	}
	subject, a := asks(busy, "acme/first", "refs/heads/main")
	w.want(a, http.StatusTooManyRequests, agentidp.CodeRateLimited)
	if a.Header.Get("Retry-After") != "30" || a.Header.Get("RateLimit-Policy") != `"tokens-of-agent";q=2;w=60` || a.str("decision_id") != "" {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	_, a = asks(other, "acme/first", "refs/heads/main")
	w.want(a, http.StatusOK)
	w.clock.advance(30 * time.Second)
	w.want(w.exchange(exchangeBody(subject, busy)), http.StatusOK) // it was not used up
}
