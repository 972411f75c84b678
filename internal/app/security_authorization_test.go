package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestRepositoryNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	w.policy(admin, map[string]any{"repository": "tasks/Kiosk", "agentId": agent})
	deny := func(name, repository string) trial {
		return trial{name: name, agent: agent, claims: stranger(repository), code: agentidp.CodeTrustPolicyViolation}
	}
	same := claims{"repository": "TASKS/kiosk"}
	w.try([]trial{
		deny("A-104 a longer name", "tasks/kiosk-x"),
		deny("A-104 a longer owner", "xtasks/kiosk"),
		deny("A-104 a shorter name", "tasks/kios"),
		deny("A-104 .git behind the name", "tasks/kiosk.git"),
		deny("A-104 two slashes", "tasks//kiosk"),
		deny("A-104 a trailing slash", "tasks/kiosk/"),
		deny("A-104 a leading space", " tasks/kiosk"),
		deny("A-104 the name alone", "kiosk"),
		deny("A-105 a Cyrillic letter", "tаsks/kiosk"),
		deny("A-105 KELVIN SIGN", "tasks/\u212aiosk"),
		deny("A-105 LATIN SMALL LETTER LONG S", "ta\u017fks/kiosk"),
		deny("A-105 a zero-width space", "tasks/\u200bkiosk"),
		deny("A-137 a pattern in the token", "tasks/*"),
		deny("A-137 an expression in the token", "tasks/kiosk|.*"),
		{name: "A-134 a trusted workflow called from another repository", agent: agent, code: agentidp.CodeTrustPolicyViolation, claims: claims{
			"repository": "mallory/kiosk", "repository_id": "9001", "repository_owner_id": "9002",
			"job_workflow_ref": "tasks/kiosk/.github/workflows/ci.yml@refs/heads/main", "workflow_ref": "tasks/kiosk/.github/workflows/ci.yml@refs/heads/main"}},
		{name: "A-103 another case of the same name", agent: agent, claims: same},
	})
}

func TestTheSubjectIsNeverRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	for name, sub := range map[string]any{
		"A-107 the immutable form":             "repo:acme@1/deploy@2:ref:refs/heads/main",
		"A-107 the classic form":               "repo:acme/deploy:ref:refs/heads/main",
		"A-108 the owner alone":                "repository_owner:acme",
		"A-108 a workflow":                     "job_workflow_ref:acme/deploy/.github/workflows/ci.yml@refs/heads/main",
		"A-108 an id":                          "repository_id:2",
		"A-108 that of another repository":     "repo:mallory/deploy:ref:refs/heads/main",
		"A-108 no subject":                     emulator.Absent,
		"A-108 a subject that is not a string": 7,
	} {
		w.try([]trial{
			{name: name, agent: agent, claims: claims{"sub": sub}},
			{name: name + ", from another branch", agent: agent, claims: claims{"sub": sub, "ref": "refs/heads/dev"}, code: agentidp.CodeBranchNotPermitted},
		})
	}
}

func TestRepositoryIdentity(t *testing.T) {
	t.Parallel()
	const changed = agentidp.CodeRepositoryIdentityChanged
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent})
	bound := w.register(admin, "bound@ci.acme.example")
	w.policy(admin, map[string]any{"repository": "acme/bound", "agentId": bound, "repositoryId": "74", "repositoryOwnerId": "65"})
	ids := func(repository, id, owner any) claims {
		return claims{"repository": repository, "repository_id": id, "repository_owner_id": owner}
	}
	w.try([]trial{
		{"the first accepted exchange pins", agent, ids("acme/deploy", "2", "1"), "", ""},
		{"the same identity again", agent, ids("acme/deploy", "2", "1"), "", ""},
		{"A-110 the name with another repository id", agent, ids("acme/deploy", "3", "1"), changed, ""},
		{"A-111 the name with another owner id", agent, ids("acme/deploy", "2", "9"), changed, ""},
		{"A-110 A-111 the name with both ids new", agent, ids("acme/deploy", "3", "9"), changed, ""},
		{"A-112 renamed", agent, ids("acme/shipping", "2", "1"), "", ""},
		{"A-112 renamed, and the old name is another's now", agent, ids("acme/deploy", "4", "1"), changed, ""},
		{"A-113 transferred under the same name", agent, ids("acme/deploy", "2", "5"), changed, ""},
		{"A-113 transferred to another owner", agent, ids("bravo/deploy", "2", "5"), changed, ""},
		{"A-114 without a repository id", agent, ids("acme/deploy", emulator.Absent, "1"), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-114 without an owner id", agent, ids("acme/deploy", "2", emulator.Absent), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-114 with empty ids", agent, ids("acme/deploy", "", ""), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"A-114 with numeric ids", agent, ids("acme/deploy", 2, 1), agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"ids with a leading zero are other ids", agent, ids("acme/deploy", "02", "1"), changed, ""},
		{"a condition on ids, and others came", bound, ids("acme/bound", "75", "65"), changed, ""},
		{"a condition on ids, and another owner's came", bound, ids("acme/bound", "74", "66"), changed, ""},
		{"a condition on ids, and they came", bound, ids("acme/bound", "74", "65"), "", ""},
	})
	events, err := w.app.db.Events(t.Context(), w.org().ID, &agentidp.EventFilter{}, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[agentidp.EventType]int{}
	for _, e := range events {
		seen[e.Type]++
	}
	if seen[agentidp.EventRepositoryIdentityChanged] != 9 || seen[agentidp.EventRepositoryPinned] != 2 || seen[agentidp.EventRepositoryRenamed] != 1 {
		t.Errorf("the audit log holds %v", seen)
	}
}

func TestRefs(t *testing.T) {
	t.Parallel()
	const denied = agentidp.CodeBranchNotPermitted
	w := newWorld(t)
	admin := w.admin()
	with := func(name string, fields map[string]any) string {
		fields["agentId"] = w.register(admin, name+"@ci.acme.example")
		w.policy(admin, fields)
		return fields["agentId"].(string)
	}
	main := with("main", map[string]any{"branch": "main"})
	wide := with("wide", map[string]any{"events": []string{"push", "workflow_dispatch", "pull_request", "merge_group"}})
	tag := with("tag", map[string]any{"tag": "v*"})
	queue := with("queue", map[string]any{"branch": "gh-readonly-queue/main/pr-1", "events": []string{"merge_group"}})
	odd := with("odd", map[string]any{"branch": "release/ünïcode-🚀%2F"})
	tagged := func(name string) claims { return claims{"ref": "refs/tags/" + name, "ref_type": "tag"} }
	w.try([]trial{
		{"main", main, nil, "", ""},
		{"A-116 a tag called main", main, tagged("main"), denied, ""},
		{"A-116 a tag that says it is a branch", main, claims{"ref": "refs/tags/main"}, denied, ""},
		{"A-116 the branch, said to be a tag", main, claims{"ref_type": "tag"}, denied, ""},
		{"A-116 no type of ref", main, claims{"ref_type": emulator.Absent}, denied, ""},
		{"A-116 no ref", main, claims{"ref": emulator.Absent}, denied, ""},
		{"A-117 a branch called refs/heads/main", main, claims{"ref": "refs/heads/refs/heads/main"}, denied, ""},
		{"the short name", main, claims{"ref": "main"}, denied, ""},
		{"A-119 another case", main, claims{"ref": "refs/heads/Main"}, denied, ""},
		{"A-119 a trailing no-break space", main, claims{"ref": "refs/heads/main\u00a0"}, denied, ""},
		{"A-119 a longer name", main, claims{"ref": "refs/heads/main-2"}, denied, ""},
		{"A-119 a path below", main, claims{"ref": "refs/heads/main/x"}, denied, ""},
		{"A-119 two dots", main, claims{"ref": "refs/heads/x/../main"}, denied, ""},
		{"A-119 a star", main, claims{"ref": "refs/heads/*"}, denied, ""},
		{"A-119 brackets", main, claims{"ref": "refs/heads/[m]ain"}, denied, ""},
		{"A-119 an escape", main, claims{"ref": "refs/heads/%6dain"}, denied, ""},
		{"A-119 a thousand characters", main, claims{"ref": "refs/heads/" + strings.Repeat("x", 1000)}, denied, ""},
		{"A-119 slashes, accents, an emoji and a percent sign", odd, claims{"ref": "refs/heads/release/ünïcode-🚀%2F"}, "", ""},
		{"A-119 the same, decoded", odd, claims{"ref": "refs/heads/release/ünïcode-🚀/"}, denied, ""},
		{"A-120 a pull request, no branch in the policy", wide, claims{"ref": "refs/pull/7/merge", "event_name": "pull_request"}, denied, ""},
		{"A-120 a pull request, a branch in the policy", main, claims{"ref": "refs/pull/7/merge", "event_name": "pull_request"}, agentidp.CodeEventNotPermitted, ""},
		{"A-120 a pull request that says it is a push", main, claims{"ref": "refs/pull/7/merge"}, denied, ""},
		{"A-121 the head of a pull request", wide, claims{"ref": "refs/pull/7/head"}, denied, ""},
		{"A-121 a merge queue, no branch in the policy", wide, claims{"ref": "refs/heads/gh-readonly-queue/main/pr-1", "event_name": "merge_group"}, denied, ""},
		{"A-121 a merge queue that says it is a push", wide, claims{"ref": "refs/heads/gh-readonly-queue/main/pr-1"}, denied, ""},
		{"A-121 a merge queue, and the policy does not list the event", main, claims{"ref": "refs/heads/gh-readonly-queue/main/pr-1", "event_name": "merge_group"}, agentidp.CodeEventNotPermitted, ""},
		{"A-121 a merge queue by name", queue, claims{"ref": "refs/heads/gh-readonly-queue/main/pr-1", "event_name": "merge_group"}, "", ""},
		{"A-126 a dispatch on another branch", main, claims{"ref": "refs/heads/evil", "event_name": "workflow_dispatch"}, denied, ""},
		{"A-128 a fork's branch called main", main, claims{"ref": "refs/heads/evil", "head_ref": "main", "base_ref": "main"}, denied, ""},
		{"any branch, without a branch in the policy", wide, claims{"ref": "refs/heads/feature/x"}, "", ""},
		{"a tag, without a branch in the policy", wide, tagged("v1"), denied, ""},
		{"other refs, without a branch in the policy", wide, claims{"ref": "refs/notes/x"}, denied, ""},
		{"a tag that matches", tag, tagged("v1.2"), "", ""},
		{"a tag that matches only in part", tag, tagged("nv1"), denied, ""},
		{"a star does not cross a slash", tag, tagged("v1/x"), denied, ""},
		{"a branch called like the tag", tag, claims{"ref": "refs/heads/v1.2"}, denied, ""},
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	var trials []trial
	for name, event := range map[string]any{
		"A-122 pull_request_target":    "pull_request_target",
		"A-123 workflow_run":           "workflow_run",
		"A-123 issue_comment":          "issue_comment",
		"A-125 an event of the future": "quantum_push",
		"A-125 another case":           "Push",
		"A-125 two events":             "push workflow_dispatch",
		"A-127 no event":               emulator.Absent,
		"A-127 an empty event":         "",
	} {
		trials = append(trials, trial{name, agent, claims{"event_name": event}, agentidp.CodeEventNotPermitted, ""})
	}
	for _, event := range []string{"push", "workflow_dispatch", "schedule", "repository_dispatch", "release", "deployment"} {
		trials = append(trials, trial{event + " is permitted by default", agent, claims{"event_name": event}, "", ""})
	}
	listed := w.register(admin, "listed@ci.acme.example")
	weak := map[string]any{"provider": "github", "repository": repository, "branch": "main", "agentId": listed, "events": []string{"pull_request_target"}}
	w.want(w.do(http.MethodPost, "/api/v1/oidc/trust-policies", admin, weak), http.StatusBadRequest, agentidp.CodeInvalidRequest)
	weak["acceptRisk"] = "The workflow reads labels and nothing else."
	created := w.policy(admin, weak)
	if !strings.Contains(string(created.Raw), "outsider_event") {
		t.Errorf("no warning about the event: %s", created.Raw)
	}
	w.try(append(trials,
		trial{"A-122 pull_request_target by name", listed, claims{"event_name": "pull_request_target"}, "", ""},
		trial{"a list replaces the default", listed, claims{"event_name": "push"}, agentidp.CodeEventNotPermitted, ""},
	))
}

func TestConditionsOfTwoPoliciesNeverMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	w.policy(admin, map[string]any{"maxAgents": 3})
	twice := w.register(admin, "twice@ci.acme.example")
	w.policy(admin, map[string]any{"agentId": twice, "branch": "main", "events": []string{"schedule"}})
	w.policy(admin, map[string]any{"agentId": twice, "branch": "dev", "events": []string{"push"}})
	w.try([]trial{
		{"A-171 the agent on main", agent, nil, "", ""},
		{"A-171 bootstrap on dev", "", claims{"ref": "refs/heads/dev"}, "", ""},
		{"A-171 the agent on dev", agent, claims{"ref": "refs/heads/dev"}, agentidp.CodeBranchNotPermitted, ""},
		{"A-171 the event of one and the branch of the other", twice, nil, agentidp.CodeBranchNotPermitted, ""},
		{"A-171 the other way around", twice, claims{"ref": "refs/heads/dev", "event_name": "schedule"}, agentidp.CodeBranchNotPermitted, ""},
		{"A-171 one whole", twice, claims{"event_name": "schedule"}, "", ""},
	})
}

func TestA170TenThousandPoliciesOfOneRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	first := w.policy(admin, map[string]any{"agentId": agent, "branch": "first"}).str("id")
	n := 9_998        // with the first and the last, as many as may be
	if detectsRaces { // which is slower than the ten seconds that a request may take, on a busy machine
		n = 2_000
	}
	const each = 500
	p, err := w.app.db.Policy(t.Context(), w.org().ID, first)
	if err != nil {
		t.Fatal(err)
	}
	for start := 0; start < n; start += each {
		err := w.app.db.Write(t.Context(), func(tx *store.Tx) error {
			for i := range min(each, n-start) {
				p.ID, p.Branch = agentidp.NewID(w.clock.Now()), fmt.Sprint("branch-", start+i)
				if err := tx.CreatePolicy(t.Context(), p, p.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	last := w.policy(admin, map[string]any{"agentId": agent, "branch": "last"}).str("id")
	for _, d := range allDoors {
		w := w.through(d)
		for branch, id := range map[string]string{"first": first, "last": last} {
			a := w.granted(exchangeBody(w.subject(claims{"ref": "refs/heads/" + branch}), agent))
			if d := w.decision(a.str("decision_id")); d.PolicyID != id {
				t.Errorf("A-170 %s was granted by %s, want %s", branch, d.PolicyID, id)
			}
		}
		w.granted(exchangeBody(w.subject(claims{"ref": fmt.Sprint("refs/heads/branch-", n/2)}), agent))
		a := w.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/none"}), agent), http.StatusForbidden, agentidp.CodeBranchNotPermitted)
		if checks := len(w.decision(a.str("decision_id")).Checks); checks > 500 {
			t.Errorf("A-170 the record of one refusal has %d checks", checks)
		}
	}
}
