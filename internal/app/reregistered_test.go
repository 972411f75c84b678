package app

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sentryagent/agentidp"
)

// reregistered registers an issuer that is given its keys, under a name.
func (c *cluster) reregistered(admin, name string) {
	c.w.t.Helper()
	c.name = name
	c.w.want(c.w.do("POST", providersPath, admin, map[string]any{
		"name": name, "issuer": c.issuer, "algorithms": []string{"ES256"}, "jwks": keySetOf(c), "maxTokenAgeSeconds": 3600,
	}), http.StatusCreated)
}

func keySetOf(c *cluster) json.RawMessage {
	return json.RawMessage(keySet(jwk(c.key.Public(), "k1", nil)))
}

// removed deletes the provider and the policies that name it.
func (c *cluster) removed(admin string, policies ...*answer) {
	c.w.t.Helper()
	for _, p := range policies {
		c.w.want(c.w.do("DELETE", policiesPath+"/"+p.str("id"), admin, nil), http.StatusNoContent)
	}
	c.w.want(c.w.do("DELETE", providersPath+"/"+c.name, admin, nil), http.StatusNoContent)
}

// a provider's name can be another issuer's later. That one's workloads are not those of
// the first, whatever they are called; those of the first are, whatever it is called.
func TestAProvidersNameIsNotItsIdentity(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		one := newCluster(w, "ci")
		two := &cluster{w: w, issuer: "https://two.example", key: newECKey(t, elliptic.P256())}
		const name = "builder@ci.acme.example"
		register := func(node *world, c *cluster) *answer {
			bearer := node.granted(exchangeBody(c.token("svc", nil), "")).str("access_token")
			return node.do("POST", agentsPath, bearer, map[string]any{"name": name})
		}
		sub := map[string]any{"sub": "svc"}

		bootstrap := one.policy(sub, nil)
		first := w.want(register(w, one), http.StatusCreated)
		before := w.granted(exchangeBody(one.token("svc", nil), "")).str("access_token")
		by, _ := first.Body["registeredBy"].(map[string]any)
		if by["issuer"] != one.issuer || by["provider"] != "ci" {
			t.Errorf("registered by %v", by)
		}
		one.removed(admin, bootstrap)

		two.reregistered(admin, "ci")
		bootstrap = two.policy(sub, nil)
		for _, node := range nodes {
			node.want(register(node, two), http.StatusConflict, agentidp.CodeAgentNameTaken)
			node.want(node.do("POST", agentsPath, before, map[string]any{"name": name}), http.StatusUnauthorized, agentidp.CodeInvalidToken)
		}
		two.removed(admin, bootstrap)

		for _, called := range []string{"ci", "other"} {
			one.reregistered(admin, called)
			bootstrap = one.policy(sub, nil)
			for _, node := range nodes {
				if again := node.want(register(node, one), http.StatusOK); again.str("agentId") != first.str("agentId") {
					t.Errorf("as %s: another agent: %s", called, again.Raw)
				}
			}
			one.removed(admin, bootstrap)
		}
	})
}

// a subject token is used up for its issuer, whatever that is called when it comes again.
func TestATokenStaysUsedWhenItsIssuerIsRegisteredAnew(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(_ *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName)
		c := newCluster(w, "ci")
		used, unused := c.token("svc", nil), c.token("svc", nil)
		policy := func() *answer { return c.policy(map[string]any{"sub": "svc"}, map[string]any{"agentId": agent}) }
		p := policy()
		w.granted(exchangeBody(used, agent))
		for _, called := range []string{"ci", "other"} {
			c.removed(admin, p)
			c.reregistered(admin, called)
			p = policy()
			for _, node := range nodes {
				node.outcome(exchangeBody(used, agent), agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
				node.granted(exchangeBody(c.token("svc", nil), agent))
			}
		}
		w.granted(exchangeBody(unused, agent)) // what was never used is as good as before
	})
}
