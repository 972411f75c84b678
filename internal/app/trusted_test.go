package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// policiesOf returns the ids of the policies of an agent, or, of none, of them all.
func (w *world) policiesOf(agentID string) []string {
	w.t.Helper()
	policies, err := w.app.db.Policies(w.t.Context(), w.org().ID, &agentidp.PolicyFilter{AgentID: agentID}, "", 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	ids := make([]string, len(policies))
	for i := range policies {
		ids[i] = policies[i].ID
	}
	return ids
}

// What register-agent and issue-token do in one run, on every node at once; what the
// bootstrap policy asks of a run, the agent's policy asks too.
func TestARegisteredAgentThatIsTrustedHasItsTokenAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(_ *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		w.policy(admin, map[string]any{
			"branch": "main", "events": []string{"push", "schedule"}, "repositoryId": "74", "repositoryOwnerId": "65", "trustRegisteredAgents": true,
		})
		ids := func(c claims) claims {
			all := claims{"repository_id": "74", "repository_owner_id": "65"}
			for name, value := range c {
				all[name] = value
			}
			return all
		}
		agent := w.want(w.do("POST", agentsPath, w.bootstrap(ids(nil)), map[string]any{"name": agentName}), 201).str("agentId")
		for _, node := range nodes {
			for _, r := range []trial{
				{"the same run", agent, ids(nil), "", ""},
				{"another event of the policy", agent, ids(claims{"event_name": "schedule"}), "", ""},
				{"another branch", agent, ids(claims{"ref": "refs/heads/dev"}), agentidp.CodeBranchNotPermitted, ""},
				{"a tag", agent, ids(claims{"ref": "refs/tags/main", "ref_type": "tag"}), agentidp.CodeBranchNotPermitted, ""},
				{"another event", agent, ids(claims{"event_name": "workflow_dispatch"}), agentidp.CodeEventNotPermitted, ""},
				{"another repository of the name", agent, ids(claims{"repository_id": "75"}), agentidp.CodeRepositoryIdentityChanged, ""},
				{"another repository", agent, stranger("acme/other"), agentidp.CodeTrustPolicyViolation, ""},
			} {
				node.outcome(exchangeBody(w.subject(r.claims), r.agent), r.code, r.reason)
			}
		}
	})
}

// a renamed repository registers under the policy of its old name, as
// the repository that it was.
func TestARenamedRepositoryRegisters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	policy := w.policy(admin, map[string]any{"branch": "main", "trustRegisteredAgents": true}).str("id")
	old := claims{"repository": repository, "repository_id": "74", "repository_owner_id": "65"}
	renamed := claims{"repository": "acme/shipping", "repository_id": "74", "repository_owner_id": "65"}
	first := w.want(w.do("POST", agentsPath, w.bootstrap(old), map[string]any{"name": "first@ci.acme.example"}), 201)
	token := w.bootstrap(renamed)
	again := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "FIRST@ci.acme.example"}), 200)
	if string(again.Raw) != string(first.Raw) || len(w.policiesOf("")) != 2 {
		t.Errorf("under its new name it got %s, and there are the policies %v", again.Raw, w.policiesOf(""))
	}
	second := w.want(w.do("POST", agentsPath, token, map[string]any{"name": "second@ci.acme.example"}), 201)
	if by := second.Body["registeredBy"].(map[string]any); by["repository"] != "acme/shipping" || by["repositoryId"] != "74" || by["policyId"] != policy {
		t.Errorf("A-112 registered by %v", by)
	}
	for _, agent := range []string{first.str("agentId"), second.str("agentId")} {
		ids := w.policiesOf(agent)
		if len(ids) != 1 {
			t.Fatalf("%d policies", len(ids))
		}
		p := w.want(w.do("GET", policiesPath+"/"+ids[0], admin, nil), 200)
		if pin, _ := p.Body["pinned"].(map[string]any); p.str("repository") != repository || pin["repositoryId"] != "74" {
			t.Errorf("A-112 its policy is %s", p.Raw)
		}
		w.granted(exchangeBody(w.subject(renamed), agent))
		w.refused(exchangeBody(w.subject(claims{"repository": repository, "repository_id": "99", "repository_owner_id": "65"}), agent), 403, agentidp.CodeRepositoryIdentityChanged)
	}
	w.refused(exchangeBody(w.subject(claims{"repository": repository, "repository_id": "99", "repository_owner_id": "65"}), ""), 403, agentidp.CodeRepositoryIdentityChanged)
}

// however many register at once, there are as many policies as agents.
func TestAgentsAndTheirPoliciesAreMadeTogether(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		policy := w.policy(w.admin(), map[string]any{"branch": "main", "maxAgents": 10, "trustRegisteredAgents": true}).str("id")
		token := w.bootstrap(nil)
		counts := atOnce(t, 60, func(i int) (*answer, error) { // 20 names, each three times
			return nodes[i%len(nodes)].send("POST", agentsPath, token, map[string]any{"name": fmt.Sprintf("a%d@ci.acme.example", i%20)})
		})
		if counts["201 "] != 10 || counts["200 "]+counts["403 "+agentidp.CodeAgentLimitReached] != 50 {
			t.Errorf("%v", counts)
		}
		agents, err := w.app.db.Agents(t.Context(), w.org().ID, &agentidp.AgentFilter{RegisteredByPolicyID: policy}, "", 100)
		if err != nil || len(agents) != 10 {
			t.Fatalf("%d agents, %v", len(agents), err)
		}
		for _, a := range agents {
			if n := len(w.policiesOf(a.AgentID)); n != 1 {
				t.Errorf("%s has %d policies", a.Name, n)
			}
			w.granted(exchangeBody(w.subject(nil), a.AgentID))
		}
		if n := len(w.policiesOf("")); n != 11 {
			t.Errorf("%d policies", n)
		}
	})
}

// Whatever fails on the way, there is not one without the other.
func TestARegistrationThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	policy := f.policy(f.admin(), map[string]any{"repository": "acme/trusted", "trustRegisteredAgents": true}).str("id")
	token := f.bootstrap(stranger("acme/trusted"))
	sql := func(statement string) {
		t.Helper()
		if _, err := f.rows.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	register := func() *answer { return f.do("POST", agentsPath, token, map[string]any{"name": "new@ci.acme.example"}) }
	before := len(f.policiesOf(""))
	for _, fail := range []string{
		"INSERT ON agents", "INSERT ON oidc_trust_policies", "INSERT ON events WHEN new.type = 'agent_registered'", "INSERT ON events WHEN new.type = 'policy_created'",
	} {
		sql("CREATE TRIGGER fail BEFORE " + fail + " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
		a := f.want(register(), 503, agentidp.CodeTemporarilyUnavailable)
		sql("DROP TRIGGER fail")
		if strings.Contains(string(a.Raw), "disk") {
			t.Errorf("the answer tells the cause: %s", a.Raw)
		}
		agents, err := f.app.db.Agents(t.Context(), f.org().ID, &agentidp.AgentFilter{RegisteredByPolicyID: policy}, "", 10)
		if n := len(f.policiesOf("")); err != nil || len(agents) != 0 || n != before {
			t.Errorf("%s: %d agents, %d policies, %v", fail, len(agents), n-before, err)
		}
	}
	agent := f.want(register(), 201).str("agentId")
	f.granted(exchangeBody(f.subject(stranger("acme/trusted")), agent))
}
