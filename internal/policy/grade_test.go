package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
)

// realKind is what is known about a kind of provider.
func realKind(t interface{ Fatal(...any) }, name string) *agentidp.ProviderKind {
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	return kinds[name]
}

// gradable is a policy for acme/deploy from JSON, as it is stored: unpinned.
func gradable(t interface{ Fatal(...any) }, text string) *agentidp.TrustPolicy {
	p := &agentidp.TrustPolicy{ID: "p1", OrganizationID: orgID, CreatedAt: now}
	if err := json.Unmarshal([]byte(text), &p.TrustPolicySpec); err != nil {
		t.Fatal(err)
	}
	if p.Provider == "" {
		p.Provider, p.Repository = "github", "acme/deploy"
	}
	return p
}

// assessed is its assessment, once it is normalized.
func assessed(t interface{ Fatal(...any) }, p *agentidp.TrustPolicy) agentidp.PolicyAssessment {
	kind := realKind(t, map[bool]string{true: "github", false: "oidc"}[p.Provider == "github"])
	if bad := policy.Validate(&p.TrustPolicySpec, kind, now); bad != nil {
		t.Fatal(fmt.Sprint(bad))
	}
	p.TrustPolicySpec = policy.Normalize(p.TrustPolicySpec, kind)
	return policy.Assess(p, kind, now)
}

// What internal/app shows of real exchanges stands there; these are the ones that no
// token is found for, and odd ones.
func TestGrades(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, policy, grade, who string
		token                    bool
	}{
		{"a condition that nobody can guess", `{"branch": "main", "condition": "size(claims.sha) == 41"}`, "C",
			"anyone who can push to the branch main of acme/deploy, or start a workflow on it, as far as the condition lets them", false},
		{"a condition that is never true", `{"condition": "claims.ref == 'x' && claims.ref == 'y'"}`, "D",
			"anyone who can push any branch to acme/deploy, as far as the condition lets them", false},
		{"claims that no run has", `{"branch": "main", "claims": {"workflow_ref": "acme/other/.github/workflows/x.yml@refs/heads/main"}}`, "C",
			"anyone who can push to the branch main of acme/deploy, or start a workflow on it, as far as the claims let them", false},
		{"an event that runs for no branch", `{"branch": "main", "events": ["release"]}`, "C",
			"anyone who can push to the branch main of acme/deploy, if there are such runs", false},
		{"outsiders whose runs are for no tag", `{"tag": "v*", "events": ["push", "issue_comment"], "acceptRisk": "none"}`, "C",
			"anyone who can push a tag that matches v* to acme/deploy", true},
		{"a branch that is called like the one that anybody pushes", `{"branch": "any"}`, "C",
			"anyone who can push to the branch any of acme/deploy, or start a workflow on it", true},
		{"tags that begin like the one that anybody pushes", `{"tag": "a*"}`, "C",
			"anyone who can push a tag that matches a* to acme/deploy, or start a workflow on one", true},
		{"any tag of two segments", `{"tag": "*/*"}`, "D", "anyone who can push any tag to acme/deploy", true},
		{"a protected tag", `{"tag": "v*", "claims": {"ref_protected": "true"}}`, "B",
			"anyone who can push a protected tag that matches v* to acme/deploy, or start a workflow on one", true},
		{"merged pull requests to the nightly branch, by hand", `{"branch": "next", "events": ["repository_dispatch"]}`, "C",
			"anyone who can push to the branch next of acme/deploy, or start a workflow on it", true},
		{"the default branch, by hand", `{"events": ["repository_dispatch"]}`, "C",
			"anyone who can push to the default branch of acme/deploy, or start a workflow on it", true},
		{"a workflow that everybody's repository may have", `{"claims": {"job_workflow_ref": "*/*/.github/workflows/deploy.yml@refs/heads/*"}}`, "D",
			"anyone who can push any branch to acme/deploy", true},
		{"a workflow of its own at main, from another branch", `{"branch": "dev", "workflow": "acme/deploy/.github/workflows/d.yml@refs/heads/main"}`, "B",
			"anyone who can push to the branch dev of acme/deploy, or start a workflow on it, but only to run acme/deploy/.github/workflows/d.yml@refs/heads/main", true},
		{"outsiders in one commit", `{"branch": "main", "events": ["issues"], "claims": {"sha": "` + strings.Repeat("1", 40) + `"}}`, "D",
			"anyone on GitHub, through issues, but only to run one commit", true},
		{"tags by a condition", `{"tag": "*", "condition": "claims.ref.startsWith('refs/tags/v')"}`, "C",
			"anyone who can push a tag such as v to acme/deploy, or start a workflow on one", true},
		{"claims of all sorts", `{"branch": "main", "claims": {"enterprise": "acme", "repo_property_tier": "*", "run_attempt": "1"}}`, "C",
			"anyone who can push to the branch main of acme/deploy, or start a workflow on it", true},
		{"a claim that no token is known to have", `{"branch": "main", "claims": {"team x": "a", "tier": "b", "ref_protected": "true"}}`, "B",
			"anyone whom the protection of the branch main of acme/deploy lets push to it, or who can start a workflow on it; but nobody, as far as is known: no token of kind github is known to have the claim \"team x\"", true},
		{"numbers in a condition", `{"branch": "main", "condition": "int(claims.run_attempt) < 3 && claims.repository_owner == 'acme'"}`, "C",
			"anyone who can push to the branch main of acme/deploy, or start a workflow on it", true},
		{"a workload", `{"provider": "cluster", "claims": {"sub": "build"}}`, "C",
			"whoever the issuer of provider cluster gives a token whose sub is build", true},
		{"a workload with a condition on the same", `{"provider": "cluster", "claims": {"sub": ["a", "b"]}, "condition": "claims.sub != 'c'"}`, "C",
			"whoever the issuer of provider cluster gives a token whose sub is a or b", true},
		{"a workload with a further condition", `{"provider": "cluster", "claims": {"sub": "a"}, "condition": "claims.team == 'ops'"}`, "B",
			"whoever the issuer of provider cluster gives a token whose sub is a", true},
		{"a workload, and who started the job", `{"provider": "cluster", "claims": {"sub": "a", "user_login": "octocat"}}`, "C",
			"whoever the issuer of provider cluster gives a token whose sub is a", true},
		{"a workload with a condition on who started the job", `{"provider": "cluster", "claims": {"sub": "a"}, "condition": "claims.user_id == '7'"}`, "C",
			"whoever the issuer of provider cluster gives a token whose sub is a", true},
		{"a workload with a condition on an object", `{"provider": "cluster", "claims": {"sub": "a"}, "condition": "claims['kubernetes.io'].namespace == 'build'"}`, "C",
			"whoever the issuer of provider cluster gives a token whose sub is a, as far as the condition lets them", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := assessed(t, gradable(t, test.policy))
			if string(got.Grade) != test.grade || got.Weakest == nil || got.Weakest.Who != test.who || (got.Weakest.Claims != nil) != test.token {
				t.Errorf("%s %+v,\nwant %s %s", got.Grade, got.Weakest, test.grade, test.who)
			}
		})
	}
}

// A grade is of what a policy says, not of whether it is in force.
func TestGradesOfPoliciesThatGrantNothing(t *testing.T) {
	t.Parallel()
	past := now.Add(-time.Hour)
	for _, mode := range []agentidp.PolicyMode{agentidp.ModeDisabled, agentidp.ModeShadow, agentidp.ModeEnforce} {
		p := gradable(t, `{"branch": "main"}`)
		p.TrustPolicySpec = policy.Normalize(p.TrustPolicySpec, realKind(t, "github"))
		p.Mode, p.ExpiresAt = mode, &past
		if got := policy.Assess(p, realKind(t, "github"), now); got.Grade != agentidp.GradeC || got.Weakest.Claims == nil || p.Mode != mode {
			t.Errorf("%s: %+v", mode, got)
		}
	}
	if got := policy.Assess(gradable(t, `{}`), nil, now); got.Grade != "" || got.Weakest != nil || got.Warnings == nil {
		t.Errorf("a provider that nothing is known of: %+v", got)
	}
}

// Which refs an event's runs are for is known of GitHub, and no tag permits a branch.
func TestEventsForTheDefaultBranchMeetNoTag(t *testing.T) {
	t.Parallel()
	for events, want := range map[string]bool{`"schedule", "push"`: true, `"push"`: false} {
		got := assessed(t, gradable(t, `{"tag": "v*", "events": [`+events+`]}`))
		warned := slices.ContainsFunc(got.Warnings, func(w agentidp.Warning) bool {
			return w.Code == "event_cannot_match" && strings.Contains(w.Message, "The event schedule is permitted to no effect: such runs are for the default branch")
		})
		if warned != want {
			t.Errorf("%s: %v", events, got.Warnings)
		}
	}
}

// drawn is a policy with some of many conditions, and with one more of them.
func drawn(t *rapid.T) (fewer, more *agentidp.TrustPolicy) {
	spec := map[string]any{}
	all := []struct {
		field  string
		values []any
	}{
		{"branch", []any{"main", "gh-readonly-queue/main/pr-1"}},
		{"tag", []any{"*", "v*", "stable"}},
		{"environment", []any{"production"}},
		{"workflow", []any{".github/workflows/deploy.yml", "acme/deploy/.github/workflows/deploy.yml@refs/heads/main", "acme/flows/.github/workflows/deploy.yml@refs/tags/v1"}},
		{"claims", []any{
			map[string]any{"ref_protected": "true"}, map[string]any{"runner_environment": "github-hosted"}, map[string]any{"environment": "prod*"},
			map[string]any{"sha": strings.Repeat("1", 40)}, map[string]any{"job_workflow_ref": "acme/*/.github/workflows/deploy.yml@refs/*/*"},
		}},
		{"condition", []any{"has(claims.environment)", "claims.event_name != 'issues'", "claims.ref_protected == 'true'", "claims.repository_visibility == 'private'"}},
		{"repositoryId", []any{"74"}},
		{"repositoryOwnerId", []any{"65"}},
	}
	events := rapid.SampledFrom([][]string{nil, {"push"}, {"push", "issues"}, {"issues"}, {"schedule", "push"}, {"pull_request", "release", "push"}}).Draw(t, "events")
	if events != nil {
		spec["events"], spec["acceptRisk"] = events, "drawn"
	}
	if !slices.Contains(events, "issues") {
		delete(spec, "acceptRisk")
	}
	chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 1, 5, rapid.ID[int]).Draw(t, "fields")
	for i, n := range chosen {
		if i == len(chosen)-1 {
			fewer = gradable(t, mustJSON(t, spec))
		}
		if _, branch := spec["branch"]; branch && all[n].field == "tag" {
			continue
		}
		if _, tag := spec["tag"]; tag && all[n].field == "branch" {
			continue
		}
		spec[all[n].field] = rapid.SampledFrom(all[n].values).Draw(t, all[n].field)
	}
	return fewer, gradable(t, mustJSON(t, spec))
}

func mustJSON(t *rapid.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The token of an assessment is one that the matcher accepts, whatever the policy; and a
// condition more never makes a grade worse.
func TestTheWeakestTokenIsAccepted(t *testing.T) {
	t.Parallel()
	kind := realKind(t, "github")
	rapid.Check(t, func(t *rapid.T) {
		fewer, more := drawn(t)
		before, after := assessed(t, fewer), assessed(t, more)
		if before.Weakest == nil || after.Weakest == nil {
			t.Fatal("no grade")
		}
		if after.Grade > before.Grade && before.Weakest.Claims != nil && (after.Weakest.Claims != nil) {
			t.Fatalf("%s %s\nthan %s %s", after.Grade, after.Weakest.Who, before.Grade, before.Weakest.Who)
		}
		if after.Weakest.Claims == nil {
			return
		}
		in := run(noAgent)
		in.Claims = &agentidp.Claims{Provider: "github", Kind: kind, RepositoryID: "1", RepositoryOwnerID: "1", Source: said(after.Weakest.Claims)}
		for claim, name := range kind.ClaimNames {
			if value, ok := after.Weakest.Claims[name]; ok {
				*in.Claims.Field(claim) = value
			}
		}
		if out := policy.Match(compiledFor(kind, more), in); !out.Granted {
			t.Fatalf("refused: %v %v\n%v", more.TrustPolicySpec, after.Weakest.Claims, out.Err)
		}
	})
}

func compiledFor(kind *agentidp.ProviderKind, p *agentidp.TrustPolicy) []*policy.Compiled {
	return []*policy.Compiled{policy.Compile(p, kind)}
}

// A page of policies is assessed at each request for it.
func BenchmarkAssess(b *testing.B) {
	kind := realKind(b, "github")
	many := make([]string, 16)
	for i := range many {
		many[i] = fmt.Sprintf(`"acme/flows/.github/workflows/d%d.yml@refs/tags/v1"`, i)
	}
	for name, text := range map[string]string{
		"branch":      `{"branch": "main"}`,
		"environment": `{"branch": "main", "environment": "production", "repositoryId": "74", "repositoryOwnerId": "65"}`,
		"condition":   `{"condition": "claims.ref.startsWith('refs/heads/release/') && claims.runner_environment == 'github-hosted'"}`,
		"unsolved":    `{"condition": "size(claims.sha) == 41 && size(claims.run_number) == 7 && size(claims.actor_id) == 9"}`,
		"most":        `{"environment": "production", "claims": {"job_workflow_ref": [` + strings.Join(many, ",") + `], "sha": "1"}}`,
		"most bound":  `{"branch": "main", "environment": "production", "claims": {"job_workflow_ref": [` + strings.Join(many, ",") + `], "sha": "1"}}`,
	} {
		p := gradable(b, text)
		assessed(b, p)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := policy.Assess(p, kind, now); got.Grade == "" {
					b.Fatal(got)
				}
			}
		})
	}
}

// What an assessment takes is bounded, also where nothing is found.
func TestAssessmentsAreBounded(t *testing.T) {
	t.Parallel()
	conditions := make([]string, 0, 20)
	for i := range 20 {
		conditions = append(conditions, fmt.Sprintf(`claims["c%d"] == "a%d"`, i, i))
	}
	p := gradable(t, `{"branch": "main"}`)
	p.Condition = strings.Join(conditions, " && ") + ` && claims.sha == "a" && claims.sha == "b"`
	got := assessed(t, p)
	if got.Grade != agentidp.GradeC || got.Weakest.Claims != nil {
		t.Errorf("%+v", got)
	}
}

// documented is an example of a policy in the documentation, with its grade.
var documented = regexp.MustCompile("(?s)```json\n(\\{\"provider\".*?)\n```\n\n> \\*\\*([A-F])\\*\\*: (.*?)\n\n")

// What docs/trust-policies.md says of its examples is what the server says.
func TestTheGradesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/trust-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := documented.FindAllStringSubmatch(string(page), -1)
	if all := strings.Count(string(page), "```json\n{\"provider\""); len(examples) != all || all < 10 {
		t.Fatalf("%d of %d examples have a grade", len(examples), all)
	}
	for _, e := range examples {
		text, who := strings.ReplaceAll(e[1], "<uuid>", agentX), strings.ReplaceAll(e[3], "\n> ", " ")
		got := assessed(t, gradable(t, text))
		if string(got.Grade) != e[2] || got.Weakest.Who != who {
			t.Errorf("%s\nis %s: %s\nnot %s: %s", text, got.Grade, got.Weakest.Who, e[2], who)
		}
	}
}

// A policy may name so much that a quarter of a million attackers could be thought of.
func TestGradingIsBounded(t *testing.T) {
	kind := realKind(t, "github")
	p := gradable(t, `{"claims": {"sha": "a", "ref_protected": "never"}}`)
	for i := range 16 {
		file := fmt.Sprintf("acme/deploy/.github/workflows/w%d*.yml@refs/heads/b%d", i, i)
		p.Claims["job_workflow_ref"] = append(p.Claims["job_workflow_ref"], file)
		p.Claims["workflow_ref"] = append(p.Claims["workflow_ref"], file)
		p.Claims["environment"] = append(p.Claims["environment"], fmt.Sprint("e", i))
	}
	p.Events = append(slices.Sorted(maps.Keys(kind.OutsiderEvent)), "push")
	if bad := policy.Validate(&p.TrustPolicySpec, kind, now); len(bad) > 0 {
		t.Fatal(bad)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	policy.Assess(p, kind, now)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("the grade took %d MB", used>>20)
	}
}
