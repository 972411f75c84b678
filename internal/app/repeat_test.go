package app

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

// repeated is an exchange that was answered, and is sent again.
type repeated struct {
	*world
	admin, agent string
	policy       *answer
	key          *dpoptest.Key
	proof        string // the first
	body         map[string]any
	first        *answer
}

// send sends the exchange with a proof; none: "".
func (r *repeated) send(node *world, proof string) *answer {
	r.t.Helper()
	var headers []string
	if proof != "" {
		headers = []string{"DPoP", proof}
	}
	return node.in(r.t).do(http.MethodPost, exchangePath, "", r.body, headers...)
}

const replay, policyPath = agentidp.CodeInvalidToken, policiesPath + "/"

// put replaces the policy, which lists both audiences unless that is changed.
func (r *repeated) put(fields map[string]any) {
	r.t.Helper()
	all := map[string]any{"agentId": r.agent, "branch": "main", "audiences": []string{"https://a.example", "https://b.example"}}
	for name, value := range fields {
		all[name] = value
	}
	r.replace(r.admin, r.policy, all)
}

// What a client may change, and what may change around it, between an exchange and its
// repetition. The code is that of the refusal; none: it is answered with the first token.
var repetitions = []struct {
	name   string
	code   string
	change func(r *repeated) (proof string) // "-": a fresh one by the same key
}{
	{"nothing", "", func(*repeated) string { return "-" }},
	{"nothing, 60 seconds later", "", func(r *repeated) string { r.clock.advance(60 * time.Second); return "-" }},
	{"the default audience by its name", "", func(r *repeated) string { r.body["audience"] = "https://a.example"; return "-" }},
	{"the policy is saved as it was", "", func(r *repeated) string { r.put(nil); return "-" }},
	{"nothing, 61 seconds later", replay, func(r *repeated) string { r.clock.advance(61 * time.Second); return "-" }},
	{"the proof is the same", agentidp.CodeInvalidDPoPProof, func(r *repeated) string { return r.proof }},
	{"another key", replay, func(r *repeated) string { return r.world.proof(nil, dpoptest.NewKey()) }},
	{"no key", replay, func(*repeated) string { return "" }},
	{"another agentId", replay, func(r *repeated) string {
		other := r.register(r.admin, "other."+r.agent[24:]+"@ci.acme.example", "deploy:staging", "deploy:production")
		r.world.policy(r.admin, map[string]any{"agentId": other, "branch": "main", "audiences": []string{"https://a.example"}})
		r.body["agentId"] = other
		return "-"
	}},
	{"no agentId", replay, func(r *repeated) string { delete(r.body, "agentId"); return "-" }},
	{"another token with the same jti", replay, func(r *repeated) string {
		token, _ := r.body["token"].(string)
		r.body["token"] = r.mint(claims{"jti": r.jti(token), "run_id": "2"})
		return "-"
	}},
	{"less scope", replay, func(r *repeated) string { r.body["scope"] = "deploy:staging"; return "-" }},
	{"another audience", replay, func(r *repeated) string { r.body["audience"] = "https://b.example"; return "-" }},
	{"the token was revoked", replay, func(r *repeated) string { r.ended(r.revoke("", r.first.str("access_token"))); return "-" }},
	{"the agent's tokens were revoked", replay, func(r *repeated) string {
		r.want(r.do("POST", "/api/v1/tokens/revoke", r.admin, map[string]any{"agentId": r.agent}), 200)
		return "-"
	}},
	{"the policy is narrowed to one scope", replay, func(r *repeated) string { r.put(map[string]any{"scopes": []string{"deploy:staging"}}); return "-" }},
	{"the policy is narrowed to a shorter life", replay, func(r *repeated) string { r.put(map[string]any{"tokenTtlSeconds": 60}); return "-" }},
	{"the policy has another default audience", replay, func(r *repeated) string {
		r.put(map[string]any{"audiences": []string{"https://b.example"}})
		return "-"
	}},
	{"another policy grants the same", replay, func(r *repeated) string {
		r.want(r.do("DELETE", policyPath+r.policy.str("id"), r.admin, nil), 204)
		r.world.policy(r.admin, map[string]any{"agentId": r.agent, "branch": "main", "audiences": []string{"https://a.example", "https://b.example"}})
		return "-"
	}},
	{"the policy is gone", agentidp.CodeTrustPolicyViolation, func(r *repeated) string {
		r.want(r.do("DELETE", policyPath+r.policy.str("id"), r.admin, nil), 204)
		return "-"
	}},
	{"the policy is narrowed to another branch", agentidp.CodeBranchNotPermitted, func(r *repeated) string { r.put(map[string]any{"branch": "release"}); return "-" }},
	{"the agent is suspended", agentidp.CodeAgentNotActive, func(r *repeated) string {
		r.want(r.do("POST", agentsPath+"/"+r.agent+"/suspend", r.admin, nil), 200)
		return "-"
	}},
}

// The one exception to single use: the same token, key, agentId, scope and audience, with
// a fresh proof, within 60 seconds. All checks are made again. A-240.
func TestAnExchangeIsRepeatedByItsOwnKeyAlone(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes[0].clock.freeze()
		admin := nodes[0].admin()
		nodes[0].policy(admin, map[string]any{"branch": "main"}) // for bootstrap
		for i, test := range repetitions {
			t.Run(test.name, func(t *testing.T) {
				w := nodes[0].in(t)
				r := &repeated{world: w, admin: admin, agent: w.register(admin, fmt.Sprintf("repeats%d@ci.acme.example", i), "deploy:staging", "deploy:production"), key: dpoptest.NewKey()}
				r.policy = w.policy(admin, map[string]any{"agentId": r.agent, "branch": "main", "audiences": []string{"https://a.example", "https://b.example"}})
				r.body, r.proof = exchangeBody(w.mint(), r.agent), w.proof(nil, r.key)
				r.first = w.want(r.send(w, r.proof), 200)
				proof := test.change(r)
				if proof == "-" {
					proof = w.proof(nil, r.key)
				}
				r.judge(test.code, r.send(nodes[len(nodes)-1], proof))
			})
		}
	})
}

// judge holds the answer to a repetition against what it should be, and against what is
// recorded of it.
func (r *repeated) judge(code string, a *answer) {
	r.t.Helper()
	if code == "" {
		r.want(a, 200)
		r.sameToken(a)
		return
	}
	if a.Status == 200 || a.str("code") != code || code == replay && a.str("reason") != agentidp.ReasonTokenReplayed {
		r.t.Fatalf("want %s: %d %s", code, a.Status, a.Raw)
	}
	r.isProblem(a)
	d := r.decision(a.str("decision_id"))
	if d.Outcome != agentidp.OutcomeDenied || d.Code != code || d.TokenID != "" || d.ID == r.first.str("decision_id") {
		r.t.Errorf("recorded as %+v", d)
	}
	if n := r.reissued(); n != 0 {
		r.t.Errorf("%d tokens are recorded as issued again", n)
	}
}

// sameToken asserts that an answer is the first one over again, with the life that is
// left, and an event of its own.
func (r *repeated) sameToken(a *answer) {
	r.t.Helper()
	was, is := jwtClaims(r.t, r.first.str("access_token")), jwtClaims(r.t, a.str("access_token"))
	for _, name := range []string{"jti", "iat", "exp", "sub", "aud", "scope", "agent_name"} {
		if was[name] == nil || was[name] != is[name] {
			r.t.Errorf("%s is %v, was %v", name, is[name], was[name])
		}
	}
	for _, name := range []string{"decision_id", "expires_at", "scope", "agent_id", "token_type"} {
		if was, is := r.first.str(name), a.str(name); was == "" || was != is {
			r.t.Errorf("%s is %q, was %q", name, is, was)
		}
	}
	expires, err := time.Parse(time.RFC3339, a.str("expires_at"))
	if left := expires.Sub(r.clock.Now()).Seconds(); err != nil || a.Body["expires_in"] != left {
		r.t.Errorf("expires_in is %v, and %v seconds are left (%v)", a.Body["expires_in"], left, err)
	}
	if n := r.reissued(); n != 1 {
		r.t.Errorf("%d tokens are recorded as issued again", n)
	}
	if now := r.introspect("", a.str("access_token")); now.Body["active"] != true {
		r.t.Errorf("the token is worth %s", now.Raw)
	}
}

// reissued counts the events of the agent's tokens that were given out again, all of them
// by the first decision.
func (r *repeated) reissued() int {
	r.t.Helper()
	events, err := r.app.db.Events(r.t.Context(), r.org().ID, &agentidp.EventFilter{Type: agentidp.EventTokenReissued, AgentID: r.agent}, "", 100)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range events {
		if e.DecisionID != r.first.str("decision_id") || e.TokenID != r.jti(r.first.str("access_token")) || e.RequestID == "" {
			r.t.Errorf("the event is %+v", e)
		}
	}
	return len(events)
}

// What was given out without a key is nobody's to get again.
func TestABearerTokenIsNeverIssuedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := exchangeBody(w.mint(), w.agentWithPolicy(w.admin()))
	w.want(w.exchange(body), 200)
	w.want(w.bind(nil, w.proof(nil, dpoptest.NewKey()), body), 401, replay, agentidp.ReasonTokenReplayed)
}

// Many at once with one subject token: whichever key comes first has it, all who have
// that key get one and the same token, and nobody else gets any.
func TestRepetitionsAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0].in(t)
		agent := w.agentWithPolicy(w.admin())
		keys := []*dpoptest.Key{dpoptest.NewKey(), dpoptest.NewKey()}
		body := exchangeBody(w.mint(), agent)
		const clients = 16
		answers, errs := make([]*answer, clients), make([]error, clients)
		var wg sync.WaitGroup
		for i := range clients {
			proof, node := w.proof(nil, keys[i/2%2]), nodes[i%len(nodes)]
			wg.Go(func() { answers[i], errs[i] = node.send("POST", exchangePath, "", body, "DPoP", proof) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		tokens, winners := map[string]int{}, map[int]int{}
		for i, a := range answers {
			if a.Status != http.StatusOK {
				w.want(a, 401, replay, agentidp.ReasonTokenReplayed)
				continue
			}
			tokens[w.jti(a.str("access_token"))+" "+a.str("decision_id")]++
			winners[i/2%2]++
		}
		if len(tokens) != 1 || len(winners) != 1 || winners[0]+winners[1] != clients/2 {
			t.Errorf("tokens %v, winners %v", tokens, winners)
		}
		if got := w.decisions(); got[agentidp.OutcomeAllowed] != 1 || got[agentidp.OutcomeDenied] != clients/2 {
			t.Errorf("decisions: %v", got)
		}
	})
}
