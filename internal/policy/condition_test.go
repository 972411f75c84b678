package policy_test

import (
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
)

// when adds an expression.
func when(expression string) policyOption {
	return func(p *agentidp.TrustPolicy) { p.Condition = expression }
}

// knownGitHub is the kind as the server has it, with all claims that there are.
func knownGitHub(t *testing.T) *agentidp.ProviderKind {
	t.Helper()
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	return kinds["github"]
}

func TestConditionsOfPolicies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sentence string
		policy   *agentidp.TrustPolicy
		run      *policy.Input
		code     string
	}{
		{"one that is true grants", pol(when(`claims.runner_environment == "github-hosted"`)), run(), ""},
		{"one that is false does not", pol(when(`claims.runner_environment == "self-hosted"`)), run(), "condition_not_met"},
		{"nor does one without a value", pol(when(`claims.environment != "production"`)), run(), "condition_not_met"},
		{"all else must hold beside it", pol(when(`claims.runner_environment == "github-hosted"`), branch("dev")), run(), "branch_not_permitted"},
		{"as conditions on claims must", pol(when(`claims.runner_environment == "github-hosted"`), needs("ref_protected", "false")), run(), "condition_not_met"},
		{"it is looked at before scopes", pol(when(`claims.runner_environment == "x"`)), run(asking("admin")), "condition_not_met"},
		{"and after events", pol(when(`claims.runner_environment == "x"`)), run(event("fork")), "event_not_permitted"},
		{"one that no server takes grants nothing", pol(when(`claims.a ==`)), run(), "condition_not_met"},
		{"one that reads what it may not grants nothing", pol(when(`claims.jti != ""`)), run(saying("jti", "x")), "condition_not_met"},
		{"a workload has one as well", pol(workload("build"), when(`claims.namespace == "build"`)), run(asWorkload("build")), ""},
		{"which may fail", pol(workload("build"), when(`claims.namespace == "test"`)), run(asWorkload("build")), "condition_not_met"},
		{"another workload is not told", pol(workload("build"), when(`claims.namespace == "build"`)), run(asWorkload("test")), "trust_policy_violation"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			t.Parallel()
			if got := code(policy.Match(compiled(test.policy), test.run)); got != test.code {
				t.Errorf("%q, want %q", got, test.code)
			}
		})
	}
}

func TestExpressionsOfTwoPoliciesNeverMix(t *testing.T) {
	t.Parallel()
	policies := compiled(pol(id("p1"), branch("main"), when(`claims.runner_environment == "self-hosted"`)), pol(id("p2"), branch("dev"), when(`claims.runner_environment == "github-hosted"`)))
	for _, candidates := range [][]*policy.Compiled{policies, reversed(policies)} {
		if out := policy.Match(candidates, run()); out.Granted {
			t.Error("granted by parts of two")
		}
	}
}

// counted counts the evaluations that read a claim.
type counted struct {
	agentidp.ClaimSource
	read *int
}

func (c counted) ReadJSON(name string) []byte {
	*c.read++
	return c.ClaimSource.ReadJSON(name)
}

func TestADecisionEvaluatesAnExpressionOnce(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{`claims.runner_environment == "github-hosted"`: "", `claims.runner_environment == "x"`: "condition_not_met"} {
		n, in := 0, run()
		in.Claims.Source = counted{in.Claims.Source, &n}
		out := policy.Match(compiled(pol(when(expression)), pol(id("p2"), branch("dev"))), in)
		if got := code(out); got != want || n != 1 || len(out.Checks) == 0 {
			t.Errorf("%s: %q with %d checks, evaluated %d times", expression, got, len(out.Checks), n)
		}
	}
}

func TestTheTraceOfACondition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sentence, condition, got string }{
		{"shows what it read", `claims.runner_environment == "x" || claims.ref_protected == "no"`, "ref_protected is true, runner_environment is github-hosted"},
		{"and why it has no value", `claims.environment == "x" && claims.ref_protected == "true"`, "the token has no claim environment (environment is absent, ref_protected is true)"},
		{"or why it is none", `claims.x ==`, "not evaluated: line 1, column 12: the expression ends too early: something must follow."},
		{"whatever is in it", `claims.sub.glob("*")`, "sub is repo:acme/deploy:ref:refs/heads/main"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			t.Parallel()
			out := policy.Match(compiled(pol(when(test.condition))), run())
			for _, check := range out.Checks {
				if check.Check == "condition" {
					if check.Expected != test.condition || check.Got != test.got || check.OK {
						t.Errorf("%+v\nwant %s", check, test.got)
					}
					return
				}
			}
			t.Errorf("no check condition:\n%s", spell(out.Checks))
		})
	}
}

// What a refused caller is told is its own, and nothing of the expression but the names of
// the claims that it reads.
func TestTheRefusalOfACondition(t *testing.T) {
	t.Parallel()
	const secret = "only-the-administrator-knows"
	out := policy.Match(compiled(pol(when(`claims.runner_environment == "`+secret+`" && has(claims.environment)`))), run())
	want := "The token does not meet a condition for this repository and agent: environment is absent, runner_environment is github-hosted. " +
		"Start the run where and as it is permitted, or ask the administrator of this AgentIdP, giving the decision id, to permit this."
	if out.Err.Message != want || len(out.Err.Claims) != 1 || out.Err.Claims["runner_environment"] != "github-hosted" {
		t.Errorf("%s %v", out.Err.Message, out.Err.Claims)
	}
	out = policy.Match(compiled(pol(when(`claims. `+secret+` ==`))), run())
	if want := "The token does not meet a condition for this repository and agent. Start the run"; !strings.HasPrefix(out.Err.Message, want) || len(out.Err.Claims) != 0 {
		t.Errorf("%s %v", out.Err.Message, out.Err.Claims)
	}
}

func TestConditionsAreValidated(t *testing.T) {
	t.Parallel()
	kind := knownGitHub(t)
	for _, test := range []struct{ condition, reason string }{
		{`claims.ref.startsWith("refs/heads/release/")`, ""},
		{"claims.ref_protected == \"true\" &&\r\n  claims.event_name == \"push\"\r\n", ""},
		{"claims.ref_protected == \"true\" &&\r\n  claims.event == \"push\"", "line 2, column 3, at `claims.event == \"push\"`: event is no claim of kind github."},
		{" ", "line 1, column 1: is empty."},
		{"claims.ref == \"a\rb\"", "line 1, column 17: has a character that cannot be seen (U+000D)."},
		{strings.Repeat(" ", 2048) + `claims.ref == "x"`, "is longer than 2048 bytes."},
	} {
		s := spec(func(s *agentidp.TrustPolicySpec) { s.Condition = test.condition })
		got := policy.Validate(s, kind, now)
		switch {
		case test.reason == "" && got != nil:
			t.Errorf("%q: %v", test.condition, got)
		case test.reason != "" && (len(got) != 1 || got[0].Field != "condition" || !strings.Contains(got[0].Reason, test.reason)):
			t.Errorf("%q: %v, want %s", test.condition, got, test.reason)
		}
	}
	s := spec(func(s *agentidp.TrustPolicySpec) { s.Condition = "x" })
	if got := policy.Validate(s, nil, now); len(got) != 1 || got[0].Field != "provider" {
		t.Errorf("without a provider nothing can be said of its claims: %v", got)
	}
}

func TestConditionsAreNormalized(t *testing.T) {
	t.Parallel()
	s := spec(func(s *agentidp.TrustPolicySpec) {
		s.Condition = "\r\nclaims.ref == \"a\" ||\r\n\tclaims.ref == \"b\"  \n"
	})
	if got := policy.Normalize(*s, github).Condition; got != "claims.ref == \"a\" ||\n\tclaims.ref == \"b\"" {
		t.Errorf("%q", got)
	}
}

func TestWarningsOfConditions(t *testing.T) {
	t.Parallel()
	kind := knownGitHub(t)
	for _, test := range []struct{ condition, codes, message string }{
		{`claims.ref_protected == "true"`, "", ""},
		{`claims.actor == "octocat"`, "unsafe_claim", "The condition reads the claim actor, which cannot be relied on. It names whoever started the run"},
		{`claims["nobody_knows"] == "x"`, "unknown_claim", "The condition reads the claim nobody_knows, which is none that tokens of kind github are known to have"},
		{`claims["environmen"] == "x"`, "unknown_claim", "Is environment meant? Check its name."},
		{`claims.repo_property_tier == "gold"`, "", ""},
		{`claims.sub == "a" || claims["new"] == claims.head_ref`, "unsafe_claim unsafe_claim unknown_claim", "The condition reads the claim head_ref"},
		{`claims.ref ==`, "condition_invalid", "so the policy grants nothing: line 1, column 14: the expression ends too early: something must follow. Replace the policy."},
	} {
		var codes []string
		got := policy.Warnings(pol(withAudiences("https://a.example"), when(test.condition)), kind, now)
		for _, w := range got {
			codes = append(codes, w.Code)
		}
		if strings.Join(codes, " ") != test.codes {
			t.Errorf("%s: %v, want %s", test.condition, codes, test.codes)
		}
		if len(got) > 0 && !strings.Contains(got[0].Message, test.message) {
			t.Errorf("%s: %s\nwant … %s …", test.condition, got[0].Message, test.message)
		}
	}
}

// A condition adds little to a decision.
func BenchmarkMatchCondition(b *testing.B) {
	candidates := compiled(pol(when(`claims.runner_environment == "github-hosted" && claims.sub.startsWith("repo:acme/")`)))
	in := run()
	b.ReportAllocs()
	for b.Loop() {
		if out := policy.Match(candidates, in); !out.Granted {
			b.Fatal(out.Err)
		}
	}
}
