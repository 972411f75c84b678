package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// nearest spells the nearest miss: the policy, what failed, and the repairs.
func nearest(o policy.Outcome) string {
	m := o.Nearest
	if m == nil {
		return "nothing"
	}
	said := m.PolicyID
	if said == "" {
		said = "none"
	}
	said += " [" + strings.Join(m.Failed, " ") + "]"
	for i := range m.Repairs {
		said += "; " + spellRepair(&m.Repairs[i])
	}
	return said
}

func spellRepair(r *agentidp.Repair) string {
	words := string(r.Action)
	if r.Copy {
		words = "in a copy " + words
	}
	if r.Field != "" {
		words += " " + r.Field
	}
	if r.Value != nil {
		words += " " + string(r.Value)
	}
	return words
}

func TestTheNearestMiss(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		policies []*agentidp.TrustPolicy
		run      *policy.Input
		want     string
		hint     string // is part of what is said
	}{
		// Lists take one value more.
		{"an event that is not listed is added", one(onEvents("push")), run(event("schedule")),
			`p1 [event]; add events "schedule"`, "Runs that the event schedule starts get in too, with refs/heads/main."},
		{"an outsider's event is said to be one, and takes a reason", one(), run(event("pull_request_target")),
			`p1 [event]; add events "pull_request_target"; set acceptRisk`, "Outsiders can cause the event pull_request_target: It runs with the rights of the target branch for anyone's pull request. The change lets them in, with refs/heads/main"},
		{"beside a further condition it takes none", one(hosted), run(event("pull_request_target")),
			`p1 [event]; add events "pull_request_target"`, "Outsiders can cause"},
		{"on any branch that is said too", one(branch("")), run(event("pull_request_target")),
			`p1 [event]; add events "pull_request_target"; set acceptRisk`, "with any branch outside a merge queue"},
		{"an event of which nothing is known is said to be one", one(), run(event("new_thing")),
			`p1 [event]; add events "new_thing"`, "Nothing is known here about the event new_thing"},
		{"what is no event can be in no list", one(), run(event("Push!")), `p1 [event]`, "No policy can say what this run has: events["},
		{"no event at all is never let in", one(), run(event("")), `p1 [event]`, "does not say which event"},
		{"a scope that the agent has is added", one(withScopes("deploy:staging")), run(asking("deploy:production")),
			`p1 [scope]; add scopes "deploy:production"`, "may then ask for deploy:production too"},
		{"a scope that the agent lacks is not to be asked for", one(), run(asking("x:y", "deploy:staging")), `p1 [scope]; request scope`, "lacks a capability that the run asks for (x:y)"},
		{"a scope of the management API is named", one(withScopes("deploy:staging")), run(capabilities("agents:read"), asking("agents:read")),
			`p1 [scope]; add scopes "agents:read"`, "admin alone may give it"},
		{"an audience is added behind the default one", one(withAudiences("https://a.example")), run(audience("https://b.example")),
			`p1 [audience]; add audiences "https://b.example"`, "tokens for https://b.example"},
		{"the default audience stays the default", one(), run(audience("https://b.example")),
			`p1 [audience]; set audiences ["https://idp.example.com","https://b.example"]`, "tokens for https://b.example"},
		{"the management API is named", one(), run(audience("https://idp.example.com/api/v1")),
			`p1 [audience]; set audiences ["https://idp.example.com","https://idp.example.com/api/v1"]`, "the management API of this AgentIdP"},
		{"a value of a claim is added", one(hosted), run(saying("runner_environment", "self-hosted")),
			`p1 [claims]; add claims.runner_environment "self-hosted"`, "Runs whose runner_environment is self-hosted get in too."},

		// What has one value gets another in a copy.
		{"another branch is for a copy", one(), run(onBranch("dev")), `p1 [ref]; in a copy set branch "dev"`, "whoever may push there"},
		{"a branch that differs in case is said to", one(), run(onBranch("Main")), `p1 [ref]; in a copy set branch "Main"`, "Only upper and lower case differ from the branch main"},
		{"A-116: a tag called like the branch is said to be", one(), run(onTag("main")),
			`p1 [ref_type ref]; in a copy set tag "main"; in a copy unset branch`, "The tag is called like the branch of the policy"},
		{"a copy registers agents of its own", one(bootstrap), run(noAgent, onBranch("dev")), `p1 [ref]; in a copy set branch "dev"`, "The copy may register as many agents again"},
		{"a tag beside any branch", one(branch("")), run(onTag("v1")), `p1 [ref_type ref]; in a copy set tag "v1"`, "whoever may push it"},
		{"a branch beside tags", one(tag("v*")), run(), `p1 [ref_type ref]; in a copy set branch "main"; in a copy unset tag`, "whoever may push there"},
		{"a pull request is never let in", one(), run(ref("refs/pull/7/merge", "branch"), event("pull_request")), `p1 [event ref]`, "which no policy lets in"},
		{"nor is a merge queue", one(), run(onBranch("gh-readonly-queue/main/1")), `p1 [ref]`, "merge queue"},
		{"nor a ref that is of no type", one(), run(ref("refs/heads/main", "")), `p1 [ref_type]`, "neither a branch nor a tag"},
		{"a branch called like a whole ref can be in no policy", one(), run(onBranch("refs/heads/main")), `p1 [ref]`, "No policy can say what this run has: branch is the short name"},
		{"a star is no pattern of the caller's", one(tag("v*")), run(onTag("*")), `p1 [ref]`, "* is a pattern in a policy"},
		{"another environment", one(inEnvironment("production")), run(environment("staging")), `p1 [environment]; in a copy set environment "staging"`, "whoever its rules let through"},
		{"A-131: one that differs in case is said to", one(inEnvironment("production")), run(environment("Production")),
			`p1 [environment]; in a copy set environment "Production"`, "Only upper and lower case differ from production"},
		{"A-131: it is nearer than one that wants another event", []*agentidp.TrustPolicy{pol(onEvents("pull_request_target")), pol(id("p2"), inEnvironment("production"))}, run(environment("Production")),
			`p2 [environment]; in a copy set environment "Production"`, "better write it in the workflow as the policy does"},
		{"A-130: no environment is better mended in the job", one(inEnvironment("production")), run(), `p1 [environment]; in a copy unset environment`, "Better let it name production"},
		{"another workflow of the repository", one(inWorkflow(".github/workflows/other.yml")), run(), `p1 [workflow]; in a copy set workflow ".github/workflows/deploy.yml"`, "at whatever ref it is"},
		{"a reusable workflow elsewhere", one(inWorkflow(".github/workflows/deploy.yml")), run(jobIn("acme/shared/.github/workflows/d.yml@refs/tags/v1")),
			`p1 [workflow]; in a copy set workflow "acme/shared/.github/workflows/d.yml@refs/tags/v1"`, "that ref of that repository"},
		{"no workflow at all", one(inWorkflow(".github/workflows/deploy.yml")), run(startedFrom("")), `p1 [workflow]; in a copy unset workflow`, "every workflow"},
		{"a claim that is absent", one(hosted), run(saying("runner_environment", "")), `p1 [claims]; in a copy unset claims.runner_environment`, "The token does not have the claim runner_environment"},
		{"a claim that holds a star", one(hosted), run(saying("runner_environment", "a*")), `p1 [claims]`, "* is a pattern in a policy"},

		{"a condition is not changed: the claims that it reads are told", one(when(`claims.environment == "prod" || claims.ref.startsWith("refs/heads/release/")`)), run(),
			`p1 [condition]`, "The condition does not hold: "},
		{"one that the server takes no longer is said to be", one(when("what")), run(), `p1 [condition]`, "is none that this server takes"},
		{"before a condition any value is mended", []*agentidp.TrustPolicy{pol(when("false")), pol(id("p2"), inEnvironment("prod"), onEvents("schedule"))}, run(),
			`p2 [event environment]; in a copy set events ["push"]; in a copy unset environment`, ""},

		// Two lists, or a list and a value, would let in mixtures.
		{"two lists are for a copy that says exactly this", one(onEvents("push"), hosted), run(event("schedule"), saying("runner_environment", "self-hosted")),
			`p1 [event claims]; in a copy set events ["schedule"]; in a copy set claims.runner_environment "self-hosted"`, ""},
		{"a list and a value as well", one(onEvents("push")), run(event("schedule"), onBranch("dev")),
			`p1 [event ref]; in a copy set events ["schedule"]; in a copy set branch "dev"`, ""},
		{"a disabled policy is not revived for more than it said", one(disabled, onEvents("push")), run(event("schedule")),
			`p1 [mode event]; in a copy set mode "enforce"; in a copy set events ["schedule"]`, ""},

		// What keeps the policy itself from granting.
		{"a disabled policy is enforced", one(disabled), run(), `p1 [mode]; set mode "enforce"`, "find out first why it was disabled"},
		{"a policy in shadow mode is enforced", one(inShadow), run(), `p1 [mode]; set mode "enforce"`, "The policy is in shadow mode"},
		{"a policy that has expired lives on", one(expires(-time.Hour)), run(), `p1 [expires_at]; set expiresAt "2026-12-21T00:00:00Z"`, "expired at 2026-11-21T11:00:00Z"},
		{"A-110: another identity is repinned by who knows it", one(), run(ids("99", "98")), `p1 [pinned_repository_id pinned_repository_owner_id]; repin`, "Repin only if you know which it is"},
		{"A-114: a token without ids is never let in", one(), run(ids("", "65")), `p1 [pinned_repository_id]`, "lacks repository_id"},
		{"an id that the policy names", one(needsIDs("75", ""), unpinned), run(), `p1 [repository_id]; set repositoryId "74"`, "Write the new one down only if you know which it is"},
		{"both, where the repository was made anew", one(needsIDs("74", "")), run(ids("99", "65")), `p1 [pinned_repository_id repository_id]; repin; set repositoryId "99"`, ""},
		{"A-153: a suspended agent is reactivated", one(), run(status(agentidp.AgentSuspended)), `p1 [agent_status]; reactivate`, "why it was suspended"},
		{"a decommissioned one never is", one(), run(status(agentidp.AgentDecommissioned)), `p1 [agent_status]`, "which is for good"},
		{"an agent that is gone", one(), run(agentUnknown), `p1 [agent_status]`, "There is no agent"},
		{"bootstrap asks for no scope", one(bootstrap), run(noAgent, asking("x:y")), `p1 [scope]; request scope`, "ask for no scope"},
		{"nor for an audience", one(bootstrap), run(noAgent, audience("https://a.example")), `p1 [audience]; request audience`, "ask for no audience"},

		// Which policy is the nearest.
		{"the smallest change counts, not who got furthest",
			[]*agentidp.TrustPolicy{pol(onEvents("push")), pol(id("p2"), branch("dev"), inEnvironment("x"), inWorkflow(".github/workflows/x.yml"))}, run(event("schedule")),
			`p1 [event]; add events "schedule"`, ""},
		{"what lets in least counts: a copy for the branch, before outsiders",
			[]*agentidp.TrustPolicy{pol(), pol(id("p2"), onEvents("pull_request_target", "push"), func(p *agentidp.TrustPolicy) { p.AcceptRisk = "x" })}, run(event("pull_request_target"), onBranch("dev")),
			`p2 [ref]; in a copy set branch "dev"`, ""},
		{"of equal ones the lowest id", []*agentidp.TrustPolicy{pol(id("b")), pol(id("a"), branch("prod"))}, run(onBranch("dev")), `a [ref]; in a copy set branch "dev"`, ""},
		{"one that can be mended, before one that cannot", []*agentidp.TrustPolicy{pol(hosted), pol(id("p2"), branch("dev"))}, run(saying("runner_environment", "a*")), `p2 [ref]; in a copy set branch "main"`, ""},

		// None is for the caller.
		{"no policy at all", nil, run(),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65"}`, "anybody's can ask"},
		{"A-149: one for another agent", one(forAgent(agentY)), run(environment("prod"), onTag("v1"), asking("deploy:staging")),
			`none []; create {"provider":"github","repository":"acme/deploy","tag":"v1","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65","environment":"prod","scopes":["deploy:staging"]}`,
			"Check the id: policies of this repository are for one other agent (" + agentY + "). No policy is for this repository and"},
		{"those of one agent are one, and many are not all named", several(manyAgents(7)...), run(),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65"}`,
			"Check the id: policies of this repository are for 7 other agents (01900000-0000-7000-8000-0000000000a0, 01900000-0000-7000-8000-0000000000a1, 01900000-0000-7000-8000-0000000000a2, 01900000-0000-7000-8000-0000000000a3, 01900000-0000-7000-8000-0000000000a4 and 2 more). No policy"},
		{"one that registers agents may have been meant", one(bootstrap), run(),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65"}`,
			"A policy lets this repository register agents: perhaps the request was to name no agentId."},
		{"A-148: none for bootstrap", one(), run(noAgent),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","repositoryId":"74","repositoryOwnerId":"65"}`, "Check whether the request lacks an agentId: policies of this repository are for one agent (" + agentX + "). No policy is for"},
		{"a workload is named by what identifies it", one(workload("deploy")), run(asWorkload("build")),
			`none []; create {"provider":"cluster","agentId":"` + agentX + `","claims":{"sub":"build"}}`, "anybody's can ask"},
		{"an outsider's event is said there too", nil, run(event("pull_request_target")),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65","events":["pull_request_target"]}; set acceptRisk`,
			"outsiders, who can cause the event pull_request_target"},
		{"an audience of its own", nil, run(audience("https://a.example")),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65","audiences":["https://idp.example.com","https://a.example"]}`, ""},
		{"a bootstrap that asks for too much", nil, run(noAgent, asking("x:y")),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","repositoryId":"74","repositoryOwnerId":"65"}; request scope`, "ask for no scope"},
		{"a pull request of nobody", nil, run(ref("refs/pull/7/merge", "branch")), `none []`, "which no policy lets in"},
		{"A-149: what is no agent's id is to be corrected", nil, run(agentNamed("x y")), `none []; request agentId`, `The agentId of the request, "x y", is none:`},
		{"A-149: and those that are told", []*agentidp.TrustPolicy{pol(forAgent(agentY)), pol(id("p2"), otherTenant)}, run(agentNamed("deployer")), `none []; request agentId`,
			"Correct it in the workflow. Check the id: policies of this repository are for one other agent (" + agentY + ")."},
		{"A-110: a name that is pinned to another", one(forAgent(agentY)), run(ids("99", "98")), `none []`, "is pinned to another repository or owner (74, 65)"},
		{"A-113: a repository that was transferred and renamed needs a policy of its name", one(of("acme/old")), run(repository("evil/deploy"), ids("74", "66")),
			`none []; create {"provider":"github","repository":"evil/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"66"}`, "anybody's can ask"},
		{"a policy of another tenant is nobody's", one(otherTenant, onEvents("schedule")), run(),
			`none []; create {"provider":"github","repository":"acme/deploy","branch":"main","agentId":"` + agentX + `","repositoryId":"74","repositoryOwnerId":"65"}`, "No policy is for this repository"},
		{"a grant misses nothing", one(), run(), "nothing", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := policy.Match(compiled(test.policies...), test.run)
			if got := nearest(out); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			if out.Nearest != nil && !strings.Contains(out.Nearest.Hint, test.hint) {
				t.Errorf("the hint does not say %q:\n%s", test.hint, out.Nearest.Hint)
			}
		})
	}
}

// manyAgents are two policies for each of as many agents, the last agent first.
func manyAgents(n int) []*agentidp.TrustPolicy {
	var policies []*agentidp.TrustPolicy
	for i := range 2 * n {
		policies = append(policies, pol(id(fmt.Sprint("q", i)), forAgent(fmt.Sprintf("01900000-0000-7000-8000-0000000000a%d", n-1-i/2))))
	}
	return policies
}

// What is stored of a refusal does not grow with what the caller sends, or with the number
// of policies.
func TestTheNearestMissIsBounded(t *testing.T) {
	t.Parallel()
	in := run(onBranch(strings.Repeat("é", 120)), event("schedule"), asking("deploy:production"), environment(strings.Repeat("<", 200)))
	guarded := pol(onEvents("push"), withScopes("deploy:staging"), inEnvironment("production"))
	for i := range 16 {
		name := "repo_property_" + strings.Repeat("x", 200) + string(rune('a'+i))
		needs(name, "y")(guarded)
		saying(name, strings.Repeat("<", 255))(in)
	}
	policies := []*agentidp.TrustPolicy{guarded}
	for i := range 1000 {
		policies = append(policies, with(guarded, id(fmt.Sprintf("q%04d", i)), inWorkflow(".github/workflows/other.yml")))
	}
	m := policy.Match(compiled(policies...), in).Nearest
	text, err := json.Marshal(m)
	if err != nil || m.PolicyID != "p1" || len(m.Repairs) != 20 || len(text) > 40<<10 {
		t.Errorf("%v: %d bytes with %d repairs of %s", err, len(text), len(m.Repairs), m.PolicyID)
	}
}

// Whatever is refused is granted after the repairs, if there are any, and not after fewer of
// them: they are applied here as an administrator would, to what the policy is in JSON.
func TestARepairedPolicyGrants(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		if len(policies) > 0 && rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
			policies[0] = with(policies[0], when(rapid.SampledFrom([]string{"true", "false", `claims.sub == "build"`}).Draw(t, "expression")))
		}
		out := policy.Match(compiled(policies...), in)
		if out.Granted {
			if out.Nearest != nil {
				t.Fatalf("a grant with a nearest miss: %+v", out.Nearest)
			}
			return
		}
		m := out.Nearest
		if m == nil || m.Hint == "" || m.Failed == nil || m.Repairs == nil || len(m.Hint) > 2100 {
			t.Fatalf("a refusal without a whole nearest miss: %+v", m)
		}
		if len(m.Repairs) == 0 {
			seen["none"]++
			return
		}
		after, asking, bad := repaired(t, policies, in, m)
		if len(bad) > 0 {
			t.Fatalf("after %s it cannot be saved: %+v", nearest(out), bad)
		}
		if got := policy.Match(compiled(after...), asking); !got.Granted {
			t.Fatalf("after %s it is %s; checks:\n%s", nearest(out), code(got), spell(got.Checks))
		}
		for i := range m.Repairs { // none is too many, but that in the place of a tag comes one branch and not any
			if r := &m.Repairs[i]; r.Action == agentidp.RepairCreate || r.Field == "acceptRisk" || r.Action == agentidp.RepairSet && (r.Field == "branch" || r.Field == "tag") {
				continue
			}
			fewer := *m
			fewer.Repairs = slices.Delete(slices.Clone(m.Repairs), i, i+1)
			after, asking, bad := repaired(t, policies, in, &fewer)
			if len(bad) == 0 && policy.Match(compiled(after...), asking).Granted {
				t.Fatalf("of %s, the part %d is not needed", nearest(out), i)
			}
			seen["fewer"]++
		}
		for i := range m.Repairs {
			r := &m.Repairs[i]
			seen[string(r.Action)]++
			if strings.Contains(string(r.Value), "pull_request_target") && !strings.Contains(m.Hint, "an cause the event pull_request_target") {
				t.Fatalf("outsiders are let in, and the hint says nothing of it: %s", m.Hint)
			}
			if r.Copy {
				seen["copy"]++
			}
		}
	})
	for _, action := range []string{"none", "copy", "create", "add", "set", "unset", "repin", "reactivate", "request", "fewer"} {
		if seen[action] == 0 {
			t.Errorf("no draw is repaired by %s: the generator is too narrow", action)
		}
	}
}

// repaired are the policies and the request after the repairs.
func repaired(t *rapid.T, policies []*agentidp.TrustPolicy, in *policy.Input, m *agentidp.Miss) ([]*agentidp.TrustPolicy, *policy.Input, []agentidp.FieldError) {
	of := slices.IndexFunc(policies, func(p *agentidp.TrustPolicy) bool { return p.ID == m.PolicyID })
	p := &agentidp.TrustPolicy{ID: "new", OrganizationID: orgID, CreatedAt: now}
	if of >= 0 {
		p = with(policies[of])
	} else if first := slices.IndexFunc(byID(policies), func(p *agentidp.TrustPolicy) bool {
		return p.OrganizationID == orgID && p.Provider == in.Claims.Provider && strings.EqualFold(p.Repository, in.Claims.Repository) && p.Repository != ""
	}); first >= 0 {
		p.Pinned = byID(policies)[first].Pinned
	}
	asking, doc := *in, object(t, &p.TrustPolicySpec)
	if in.AgentID != "" && in.Agent == nil && of < 0 {
		asking.Agent = &agentidp.Agent{AgentID: in.AgentID, OrganizationID: orgID, Status: agentidp.AgentActive}
		asking.Agent.Capabilities = in.Scopes
	}
	inCopy := false
	for i := range m.Repairs {
		r := &m.Repairs[i]
		inCopy = inCopy || r.Copy
		switch r.Action {
		case agentidp.RepairRepin:
			p.Pinned = nil
		case agentidp.RepairReactivate:
			agent := *in.Agent
			agent.Status, asking.Agent = agentidp.AgentActive, &agent
		case agentidp.RepairRequest:
			if r.Field == "scope" {
				asking.Scopes = nil
			} else {
				asking.Audience = ""
			}
		default:
			apply(t, doc, r)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	p.TrustPolicySpec = agentidp.TrustPolicySpec{}
	if err := json.Unmarshal(data, &p.TrustPolicySpec); err != nil {
		t.Fatalf("%s is no policy: %v", data, err)
	}
	if bad := policy.Validate(&p.TrustPolicySpec, in.Claims.Kind, now); len(bad) > 0 {
		return nil, nil, bad
	}
	p.TrustPolicySpec = policy.Normalize(p.TrustPolicySpec, in.Claims.Kind)
	after := slices.Clone(policies)
	switch {
	case of < 0:
		after = append(after, p)
	case inCopy:
		p.ID = "copy"
		after = append(after, p)
	default:
		after[of] = p
	}
	return after, &asking, nil
}

// apply makes one change of a policy.
func apply(t *rapid.T, doc map[string]any, r *agentidp.Repair) {
	at, name := doc, r.Field
	if claim, ok := strings.CutPrefix(name, "claims."); ok {
		at, name = doc["claims"].(map[string]any), claim
	}
	var value any
	switch {
	case r.Field == "acceptRisk":
		value = "the administrator's reason"
	case r.Value != nil:
		if err := json.Unmarshal(r.Value, &value); err != nil {
			t.Fatal(err)
		}
	}
	switch r.Action {
	case agentidp.RepairCreate:
		maps.Copy(doc, value.(map[string]any))
	case agentidp.RepairSet:
		at[name] = value
	case agentidp.RepairUnset:
		if delete(at, name); len(at) == 0 {
			delete(doc, "claims")
		}
	case agentidp.RepairAdd:
		switch list := at[name].(type) {
		case []any:
			at[name] = append(list, value)
		case string: // a claim with one value
			at[name] = []any{list, value}
		}
	}
}

func object(t *rapid.T, spec *agentidp.TrustPolicySpec) map[string]any {
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	doc := map[string]any{}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func byID(policies []*agentidp.TrustPolicy) []*agentidp.TrustPolicy {
	return slices.SortedFunc(slices.Values(policies), func(a, b *agentidp.TrustPolicy) int { return strings.Compare(a.ID, b.ID) })
}
