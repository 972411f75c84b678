package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// graded is a policy in the style of public workflows, and how weak it is.
type graded struct {
	name   string
	policy string // beside provider, repository and agent
	grade  string
	who    string
	weaker claims // what a weaker attacker's token says instead
	code   string // why that one is refused
}

const (
	byEvent     = agentidp.CodeEventNotPermitted
	byRef       = agentidp.CodeBranchNotPermitted
	byCondition = agentidp.CodeConditionNotMet
	byIdentity  = agentidp.CodeTrustPolicyViolation

	pinnedCommit = "1111111111111111111111111111111111111111"
)

var (
	fromFork   = claims{"event_name": "pull_request_target"}
	fromAny    = claims{"ref": "refs/heads/any", "ref_type": "branch", "workflow_ref": "acme/deploy/.github/workflows/any.yml@refs/heads/any"}
	ownJob     = claims{"job_workflow_ref": "acme/deploy/.github/workflows/any.yml@refs/heads/any"}
	bareJob    = claims{"environment": emulator.Absent}
	unguarded  = claims{"ref_protected": "false"}
	elsewhere  = claims{"repository": "mallory/deploy", "repository_id": "9001", "repository_owner_id": "9002"}
	otherFile  = claims{"job_workflow_ref": "acme/deploy/.github/workflows/any.yml@refs/heads/main", "workflow_ref": "acme/deploy/.github/workflows/any.yml@refs/heads/main"}
	sameFile   = claims{"ref": "refs/heads/any", "job_workflow_ref": "acme/deploy/.github/workflows/deploy.yml@refs/heads/any"}
	otherTag   = claims{"ref": "refs/tags/any"}
	otherClone = claims{"repository_id": "75"}
)

var gradedPolicies = []graded{
	// F: who has no right in the repository.
	{"labels by pull_request_target", `{"branch": "main", "events": ["push", "pull_request_target"], "acceptRisk": "Labels only."}`, "F",
		"anyone on GitHub, through pull_request_target from a fork", elsewhere, byIdentity},
	{"any branch, and pull_request_target", `{"events": ["pull_request_target"], "acceptRisk": "Labels only."}`, "F",
		"anyone on GitHub, through pull_request_target from a fork", elsewhere, byIdentity},
	{"a deployment after the tests", `{"branch": "main", "events": ["workflow_run"], "acceptRisk": "The tests run on main alone."}`, "F",
		"anyone on GitHub, through workflow_run after a pull request from a fork", elsewhere, byIdentity},
	{"a command in a comment", `{"branch": "main", "events": ["issue_comment"], "acceptRisk": "The job looks at who comments."}`, "F",
		"anyone on GitHub, through issue_comment", elsewhere, byIdentity},
	{"GitHub's runners keep nobody out", `{"branch": "main", "events": ["pull_request_target"], "claims": {"runner_environment": "github-hosted"}}`, "F",
		"anyone on GitHub, through pull_request_target from a fork", elsewhere, byIdentity},
	{"a private repository has fewer outsiders", `{"branch": "main", "events": ["issues"], "claims": {"repository_visibility": ["private", "internal"]}}`, "F",
		"anyone who can read acme/deploy, through issues", claims{"repository_visibility": "public"}, byCondition},

	// D: any branch or tag, or outsiders whom something holds up.
	{"pull_request_target behind an environment", `{"branch": "main", "events": ["pull_request_target"], "environment": "preview"}`, "D",
		"anyone on GitHub, through pull_request_target from a fork, as far as the rules of the environment preview let the run deploy", bareJob, byCondition},
	{"pull_request_target in one workflow", `{"branch": "main", "events": ["pull_request_target"], "workflow": ".github/workflows/label.yml"}`, "D",
		"anyone on GitHub, through pull_request_target from a fork, but only to run .github/workflows/label.yml", otherFile, byCondition},
	{"any branch", `{}`, "D", "anyone who can push any branch to acme/deploy", fromFork, byEvent},
	{"any tag", `{"tag": "*"}`, "D", "anyone who can push any tag to acme/deploy", fromFork, byEvent},
	{"one workflow's file, on any branch", `{"workflow": ".github/workflows/deploy.yml"}`, "D",
		"anyone who can push any branch to acme/deploy", fromFork, byEvent},
	{"GitHub's runners", `{"claims": {"runner_environment": "github-hosted"}}`, "D",
		"anyone who can push any branch to acme/deploy", fromFork, byEvent},
	{"environments by a pattern, which anybody can make", `{"claims": {"environment": "prod-*"}}`, "D",
		"anyone who can push any branch to acme/deploy", bareJob, byCondition},
	{"pull requests that were merged", `{"events": ["pull_request"]}`, "D",
		"anyone who can merge a pull request into any branch of acme/deploy", claims{"ref": "refs/pull/1/merge"}, byRef},

	{"any environment, by a condition, which anybody can make", `{"condition": "has(claims.environment)"}`, "D",
		"anyone who can push any branch to acme/deploy", bareJob, byCondition},
	{"no outsiders, by a condition", `{"condition": "claims.event_name != 'pull_request_target'", "events": ["push", "pull_request_target"]}`, "D",
		"anyone who can push any branch to acme/deploy", fromFork, byCondition},

	// C: a named branch, or tags of a pattern.
	{"main only", `{"branch": "main"}`, "C", "anyone who can push to the branch main of acme/deploy, or start a workflow on it", fromAny, byRef},
	{"pushes to main", `{"branch": "main", "events": ["push"]}`, "C", "anyone who can push to the branch main of acme/deploy",
		claims{"event_name": "workflow_dispatch"}, byEvent},
	{"main only, with ids", `{"branch": "main", "repositoryId": "74", "repositoryOwnerId": "65"}`, "C",
		"anyone who can push to the branch main of acme/deploy, or start a workflow on it", otherClone, agentidp.CodeRepositoryIdentityChanged},
	{"one workflow's file on main", `{"branch": "main", "workflow": ".github/workflows/deploy.yml"}`, "C",
		"anyone who can push to the branch main of acme/deploy, or start .github/workflows/deploy.yml on it", sameFile, byRef},
	{"a workflow of its own, pinned to main", `{"workflow": "acme/deploy/.github/workflows/deploy.yml@refs/heads/main"}`, "C",
		"anyone who can push to the branch main of acme/deploy, or start .github/workflows/deploy.yml on it", sameFile, byCondition},
	{"releases by tags", `{"tag": "v*"}`, "C", "anyone who can push a tag that matches v* to acme/deploy, or start a workflow on one", otherTag, byRef},
	{"a tag that moves", `{"tag": "stable", "events": ["push"]}`, "C", "anyone who can push the tag stable to acme/deploy", otherTag, byRef},
	{"releases that are published", `{"tag": "v*", "events": ["release"]}`, "C",
		"anyone who can publish a release of a tag that matches v* in acme/deploy", claims{"event_name": "push"}, byEvent},
	{"the nightly build", `{"events": ["schedule"]}`, "C", "anyone who can push to the default branch of acme/deploy",
		claims{"event_name": "push", "ref": "refs/heads/any"}, byEvent},
	{"any protected branch", `{"claims": {"ref_protected": "true"}}`, "C",
		"anyone who can push to a protected branch of acme/deploy, or start a workflow on it", unguarded, byCondition},
	{"a merge queue", `{"branch": "gh-readonly-queue/main/pr-1", "events": ["merge_group"]}`, "C",
		"anyone who can add a pull request to the merge queue of acme/deploy", fromAny, byRef},
	{"merges into main", `{"branch": "main", "events": ["pull_request"]}`, "C",
		"anyone who can merge a pull request into the branch main of acme/deploy", claims{"ref": "refs/pull/1/merge"}, byRef},

	{"release branches, by a condition", `{"condition": "claims.ref.startsWith('refs/heads/release/')"}`, "C",
		"anyone who can push to a branch such as release/x of acme/deploy, or start a workflow on it", fromAny, byCondition},
	{"two branches, by a condition", `{"condition": "claims.ref in ['refs/heads/main', 'refs/heads/next'] && claims.runner_environment == 'github-hosted'"}`, "C",
		"anyone who can push to a branch such as main of acme/deploy, or start a workflow on it", fromAny, byCondition},

	// B: one more guard.
	{"main, and protected", `{"branch": "main", "claims": {"ref_protected": "true"}}`, "B",
		"anyone whom the protection of the branch main of acme/deploy lets push to it, or who can start a workflow on it", unguarded, byCondition},
	{"an environment", `{"environment": "production"}`, "B",
		"whoever the rules of the environment production let deploy, of all who can push any branch to acme/deploy", bareJob, byCondition},
	{"an environment and main, known by name", `{"branch": "main", "environment": "production"}`, "B",
		"whoever the rules of the environment production let deploy, of all who can push to the branch main of acme/deploy, or start a workflow on it", bareJob, byCondition},
	{"an environment and ids, from any branch", `{"environment": "production", "repositoryId": "74", "repositoryOwnerId": "65"}`, "B",
		"whoever the rules of the environment production let deploy, of all who can push any branch to acme/deploy", bareJob, byCondition},
	{"a reusable workflow pinned by a tag, from any branch", `{"workflow": "acme/flows/.github/workflows/deploy.yml@refs/tags/v1"}`, "B",
		"anyone who can push any branch to acme/deploy, but only to run acme/flows/.github/workflows/deploy.yml@refs/tags/v1, as whoever can push to acme/flows writes it", ownJob, byCondition},
	{"a reusable workflow pinned by a commit, from main", `{"branch": "main", "workflow": "acme/flows/.github/workflows/deploy.yml@` + pinnedCommit + `"}`, "B",
		"anyone who can push to the branch main of acme/deploy, or start a workflow on it, but only to run acme/flows/.github/workflows/deploy.yml@" + pinnedCommit, otherFile, byCondition},
	{"releases of a reusable workflow", `{"claims": {"job_workflow_ref": "acme/flows/.github/workflows/deploy.yml@refs/tags/v*"}}`, "B",
		"anyone who can push any branch to acme/deploy, but only to run acme/flows/.github/workflows/deploy.yml@refs/tags/vx, as whoever can push to acme/flows writes it", ownJob, byCondition},
	{"one commit", `{"branch": "main", "claims": {"sha": "` + pinnedCommit + `"}}`, "B",
		"anyone who can push to the branch main of acme/deploy, or start a workflow on it, but only to run one commit", claims{"sha": "2222222222222222222222222222222222222222"}, byCondition},

	{"an environment, by a condition", `{"condition": "claims.environment == 'production' && claims.repository_visibility != 'public'"}`, "B",
		"whoever the rules of the environment production let deploy, of all who can push any branch to acme/deploy", bareJob, byCondition},

	// A: an environment, where from, and of which repository.
	{"an environment and main, with ids", `{"branch": "main", "environment": "production", "repositoryId": "74", "repositoryOwnerId": "65"}`, "A",
		"whoever the rules of the environment production let deploy, of all who can push to the branch main of acme/deploy, or start a workflow on it", bareJob, byCondition},
	{"environments and tags, with ids", `{"tag": "v*", "claims": {"environment": ["staging", "production"]}, "repositoryId": "74", "repositoryOwnerId": "65"}`, "A",
		"whoever the rules of the environment production or staging let deploy, of all who can push a tag that matches v* to acme/deploy, or start a workflow on one", bareJob, byCondition},
	{"an environment and a pinned workflow, with ids", `{"environment": "production", "workflow": "acme/flows/.github/workflows/deploy.yml@` + pinnedCommit + `", "repositoryId": "74", "repositoryOwnerId": "65"}`, "A",
		"whoever the rules of the environment production let deploy, of all who can push any branch to acme/deploy, but only to run acme/flows/.github/workflows/deploy.yml@" + pinnedCommit, ownJob, byCondition},
}

// What the grade calls the weakest token is one that a real exchange accepts, and what is
// weaker still is refused. Each policy is of a repository of its own.
func TestTheWeakestTokenPassesAndAWeakerOneDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	for i, g := range gradedPolicies {
		t.Run(g.name, func(t *testing.T) {
			w := w.in(t)
			name := fmt.Sprintf("acme/deploy-%d", i)
			renamed := strings.NewReplacer("acme/deploy", name, `"74"`, fmt.Sprintf(`"%d"`, 7400+i)).Replace
			body := map[string]any{}
			if err := json.Unmarshal([]byte(renamed(g.policy)), &body); err != nil {
				t.Fatal(err)
			}
			body["provider"], body["repository"], body["agentId"], body["audiences"] = "github", name, agent, []string{"https://deploy.example.com"}
			p := w.want(w.do(http.MethodPost, policiesPath, admin, body), http.StatusCreated)
			weakest := w.isGraded(p, g.grade, renamed(g.who))
			weaker := claims{}
			for name, value := range weakest {
				weaker[name] = value
			}
			for name, value := range g.weaker {
				weaker[name] = value
				if text, ok := value.(string); ok && name != "repository" {
					weaker[name] = renamed(text)
				}
			}
			w.outcome(exchangeBody(w.subjectOf(name, weaker), agent), g.code, "")
			w.outcome(exchangeBody(w.subjectOf(name, weakest), agent), "", "")
		})
	}
}

// isGraded asserts the grade in an answer, and returns the claims of the weakest token.
func (w *world) isGraded(a *answer, grade, who string) claims {
	w.t.Helper()
	var p agentidp.TrustPolicy
	if err := json.Unmarshal(a.Raw, &p); err != nil {
		w.t.Fatal(err)
	}
	if p.Weakest == nil || string(p.Grade) != grade || p.Weakest.Who != who {
		w.t.Fatalf("got %s %+v,\nwant %s %s", p.Grade, p.Weakest, grade, who)
	}
	weakest := claims{}
	for name, value := range p.Weakest.Claims {
		weakest[name] = value
	}
	return weakest
}

// subjectOf is subject for a run of another repository.
func (w *world) subjectOf(name string, c claims) string {
	w.t.Helper()
	token, err := w.ci.Mint(emulator.Options{Audience: w.url, Run: &emulator.Run{Repository: name}, Claims: c})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// The first grant pins the repository, which then has an identity that nobody can take
// over.
func TestAPinMakesTheGradeBetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "deploy:staging")
	p := w.policy(admin, map[string]any{"branch": "main", "environment": "production", "agentId": agent})
	const who = "whoever the rules of the environment production let deploy, of all who can push to the branch main of acme/deploy, or start a workflow on it"
	weakest := w.isGraded(p, "B", who)
	if weakest["repository_id"] != nil {
		t.Errorf("an identity that nothing demands: %v", weakest)
	}
	w.granted(exchangeBody(w.subject(weakest), agent))
	weakest = w.isGraded(w.do(http.MethodGet, policiesPath+"/"+p.str("id"), admin, nil), "A", who)
	if weakest["repository_id"] == nil || weakest["repository_owner_id"] == nil {
		t.Errorf("the pin is not in the token: %v", weakest)
	}
	w.granted(exchangeBody(w.subject(weakest), agent))
}

// Where tokens name no repository, a policy is as strong as the issuer's care.
func TestGradesOfWorkloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.register(w.admin(), agentName, "deploy:staging")
	c := newCluster(w, "cluster")
	const who = "whoever the issuer of provider cluster gives a token whose sub is "
	for _, g := range []struct {
		name       string
		conditions map[string]any
		grade, who string
		weaker     claims
		code       string
	}{
		{"a subject", map[string]any{"sub": "a"}, "C", "a", claims{"sub": "other"}, byIdentity},
		{"two subjects", map[string]any{"sub": []string{"b", "c"}}, "C", "b or c", claims{"sub": "other"}, byIdentity},
		{"a subject, and a team", map[string]any{"sub": "d", "team": []string{"ops-*"}}, "B", "d", claims{"team": "dev"}, byCondition},
		{"a subject, and any team", map[string]any{"sub": "e", "team": "*"}, "C", "e", claims{"team": nil}, byCondition},
	} {
		p := c.policy(g.conditions, map[string]any{"agentId": agent, "audiences": []string{"https://deploy.example.com"}})
		weakest := w.isGraded(p, g.grade, who+g.who)
		weaker := claims{}
		for name, value := range weakest {
			weaker[name] = value
		}
		for name, value := range g.weaker {
			weaker[name] = value
		}
		subject, _ := weakest["sub"].(string)
		w.outcome(exchangeBody(c.token(subject, weaker), agent), g.code, "")
		w.outcome(exchangeBody(c.token(subject, weakest), agent), "", "")
	}
}

// what starts the runs that somebody trusts is in the audit log, and why, where
// outsiders do.
func TestAcceptedRisksAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	p := w.policy(admin, map[string]any{"branch": "main", "events": []string{"issue_comment"}, "acceptRisk": "The job looks at who comments."})
	body := map[string]any{"provider": "github", "repository": repository, "branch": "main", "events": []string{"issue_comment"}}
	at := policiesPath + "/" + p.str("id")
	w.want(w.do(http.MethodPut, at, admin, body, "If-Match", `"1"`), http.StatusBadRequest, agentidp.CodeInvalidRequest)
	body["acceptRisk"] = "Only maintainers may comment."
	w.want(w.do(http.MethodPut, at, admin, body, "If-Match", `"1"`), http.StatusOK)
	delete(body, "acceptRisk")
	body["mode"] = "disabled"
	w.want(w.do(http.MethodPut, at, admin, body, "If-Match", `"2"`), http.StatusOK)
	events := w.do(http.MethodGet, eventsPath+"?policyId="+p.str("id"), admin, nil)
	for _, reason := range []string{"The job looks at who comments.", "Only maintainers may comment."} {
		if n := strings.Count(string(events.Raw), `"accept_risk":"`+reason+`"`); n != 1 {
			t.Errorf("%d events with the reason %q: %s", n, reason, events.Raw)
		}
	}
	if n := strings.Count(string(events.Raw), `"events":"issue_comment"`); n != 3 {
		t.Errorf("%d events say what starts the runs: %s", n, events.Raw)
	}
}
