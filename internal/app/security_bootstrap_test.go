package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestABootstrapTokenOnlyRegisters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	other := w.register(admin, agentName, "deploy:staging")
	policy := w.policy(admin, nil).str("id")
	token := w.bootstrap(nil)
	own := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "own@ci.acme.example"}), 201).str("agentId")
	for _, r := range []struct {
		name, method, path string
		body               any
	}{
		{"A-141 read another agent", "GET", agentsPath + "/" + other, nil},
		{"A-141 read its own agent", "GET", agentsPath + "/" + own, nil},
		{"A-141 list agents", "GET", agentsPath, nil},
		{"A-141 change another agent", "PATCH", agentsPath + "/" + other, map[string]any{"capabilities": []string{"admin"}}},
		{"A-141 change its own agent", "PATCH", agentsPath + "/" + own, map[string]any{"capabilities": []string{"admin"}}},
		{"A-141 suspend another agent", "POST", agentsPath + "/" + other + "/suspend", nil},
		{"A-141 reactivate an agent", "POST", agentsPath + "/" + other + "/reactivate", nil},
		{"A-141 decommission another agent", "DELETE", agentsPath + "/" + other, nil},
		{"A-141 decommission its own agent", "DELETE", agentsPath + "/" + own, nil},
		{"A-141 an agent that does not exist", "GET", agentsPath + "/" + agentidp.NewID(time.Now()), nil},
		{"list policies", "GET", policiesPath, nil},
		{"read its own policy", "GET", policiesPath + "/" + policy, nil},
		{"create a policy", "POST", policiesPath, map[string]any{"provider": "github", "repository": repository, "agentId": own}},
		{"replace its own policy", "PUT", policiesPath + "/" + policy, map[string]any{"provider": "github", "repository": repository, "maxAgents": 1000}},
		{"delete its own policy", "DELETE", policiesPath + "/" + policy, nil},
		{"repin its own repository", "POST", policiesPath + "/" + policy + "/repin", nil},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := w.in(t)
			a := w.want(w.do(r.method, r.path, token, r.body), 403, agentidp.CodeInsufficientScope)
			w.isProblem(a)
			if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_scope", scope="`) {
				t.Errorf("WWW-Authenticate is %q", got)
			}
			w.discreet(map[string]any{"path": r.path}, a)
		})
	}
	a := w.want(w.do("GET", agentsPath+"/"+other, admin, nil), 200)
	if a.str("status") != "active" || a.Header.Get("ETag") != `"1"` {
		t.Errorf("the agent was changed: %s", a.Raw)
	}
}

func TestWhatABootstrapTokenMaySayOfAnAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(w.admin(), nil)
	token := w.bootstrap(nil)
	for member, value := range map[string]any{
		"capabilities": []string{"agents:write"}, "scopes": []string{"admin"}, "roles": []string{"admin"}, "owner": "me", "labels": map[string]string{"a": "b"},
		"deploymentEnv": "production", "status": "active", "agentId": agentidp.NewID(time.Now()), "organizationId": "x", "tenant": "x",
		"registeredBy": map[string]string{"subject": "admin:x"}, "policyId": "x", "isAdmin": true, "revision": 7, "Name": "x@ci.acme.example",
	} {
		for _, v := range []any{value, nil} {
			t.Run(fmt.Sprintf("A-143 %s is %v", member, v), func(t *testing.T) {
				w := w.in(t)
				a := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "mass@ci.acme.example", member: v}), 400, agentidp.CodeInvalidRequest)
				w.isProblem(a)
				w.names(a, member)
			})
		}
	}
	agents, err := w.app.db.Agents(t.Context(), w.org().ID, &agentidp.AgentFilter{}, "", 10)
	if err != nil || len(agents) != 0 {
		t.Fatalf("A-143 %d agents were registered, %v", len(agents), err)
	}
	a := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "mass@ci.acme.example", "description": "d", "agentType": "monitor", "version": "1"}), 201)
	if a.Body["capabilities"] != nil || a.str("status") != "active" {
		t.Errorf("A-143 registered as %s", a.Raw)
	}
}

func TestABootstrapTokenTakesNoName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, nil)
	w.policy(admin, map[string]any{"repository": "bravo/deploy"})
	token, strangers := w.bootstrap(nil), w.bootstrap(stranger("bravo/deploy"))
	w.register(admin, "human@acme.example", "deploy:staging")
	own := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "own@ci.acme.example"}), 201)
	gone := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "gone@ci.acme.example"}), 201).str("agentId")
	w.want(w.do("DELETE", agentsPath+"/"+gone, admin, nil), 204)

	var taken []string
	for _, r := range []struct{ name, token, agent string }{
		{"an administrator's agent", token, "human@acme.example"},
		{"in another case", token, "HUMAN@acme.Example"},
		{"another repository's agent", strangers, "own@ci.acme.example"},
		{"another repository's, in another case", strangers, "OWN@CI.acme.example"},
		{"another repository's decommissioned agent", strangers, "gone@ci.acme.example"},
	} {
		t.Run("A-144 "+r.name, func(t *testing.T) {
			w := w.in(t)
			a := w.want(w.do("POST", agentsPath, r.token, map[string]any{"name": r.agent}), 409, agentidp.CodeAgentNameTaken)
			w.isProblem(a)
			w.discreet(map[string]any{"name": r.agent}, a)
			taken = append(taken, neutral(a))
		})
	}
	for _, body := range taken {
		if body != taken[0] {
			t.Errorf("A-144 the answer tells who holds a name:\n%s\n%s", body, taken[0])
		}
	}
	for _, name := range []string{"оwn@ci.acme.example", "own@ci.acme.example ", "own@ci.acme.example\u200b", "own@ci.acme.e\u0301xample", "own\u0000@ci.acme.example"} {
		t.Run(fmt.Sprintf("A-144 the name %+q", name), func(t *testing.T) {
			w, field := w.in(t), "name"
			if strings.Contains(name, "\x00") {
				field = "body" // no strict JSON at all
			}
			w.names(w.want(w.do("POST", agentsPath, token, map[string]any{"name": name}), 400, agentidp.CodeInvalidRequest), field)
		})
	}
	again := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "OWN@ci.acme.example", "description": "other"}), 200)
	if string(again.Raw) != string(own.Raw) {
		t.Errorf("A-144 the same name again: %s, want %s", again.Raw, own.Raw)
	}
	w.want(w.do("POST", agentsPath, token, map[string]any{"name": "gone@ci.acme.example"}), 409, agentidp.CodeAgentDecommissioned)
}

// A-146 in terms of the contract: a limit on living agents of a policy.
func TestA146ALimitOnRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, map[string]any{"maxAgents": 2, "agentNamePattern": "*@ci.acme.example"})
	token := w.bootstrap(nil)
	name := func(s string) map[string]any { return map[string]any{"name": s + "@ci.acme.example"} }
	a := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "x@acme.example"}), 403, agentidp.CodeAgentNameNotPermitted)
	w.discreet(map[string]any{"name": "x@acme.example"}, a)
	one := w.want(w.do("POST", agentsPath, token, name("one")), 201).str("agentId")
	w.want(w.do("POST", agentsPath, token, name("two")), 201)
	w.discreet(name("three"), w.want(w.do("POST", agentsPath, token, name("three")), 403, agentidp.CodeAgentLimitReached))
	w.want(w.do("POST", agentsPath, token, name("one")), 200)
	w.want(w.do("POST", agentsPath+"/"+one+"/suspend", admin, nil), 200)
	w.want(w.do("POST", agentsPath, token, name("three")), 403, agentidp.CodeAgentLimitReached) // a suspended agent lives
	w.want(w.do("DELETE", agentsPath+"/"+one, admin, nil), 204)
	w.want(w.do("POST", agentsPath, token, name("three")), 201)
}

// one run registers as many as its policy says by default, and however often it
// comes back, no more.
func TestA146AThousandAgentsFromOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policy := w.policy(w.admin(), nil).str("id")
	token := w.bootstrap(nil)
	counts := map[string]int{}
	for wave := range 20 {
		for said, n := range atOnce(t, 50, func(i int) (*answer, error) {
			return w.send("POST", agentsPath, token, map[string]any{"name": fmt.Sprintf("a%d-%d@ci.acme.example", wave, i)})
		}) {
			counts[said] += n
		}
	}
	living, err := w.app.db.CountLivingAgents(t.Context(), w.org().ID, policy)
	if err != nil || living != 10 || counts["201 "] != 10 || counts["403 "+agentidp.CodeAgentLimitReached]+counts["429 "+agentidp.CodeRateLimited] != 990 {
		t.Errorf("%d living, %v; %v", living, err, counts)
	}
	again := w.bootstrap(nil) // a later job of the run
	w.want(w.do("POST", agentsPath, again, map[string]any{"name": "later@ci.acme.example"}), 403, agentidp.CodeAgentLimitReached)
}
