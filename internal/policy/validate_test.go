package policy_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

func spec(change func(*agentidp.TrustPolicySpec)) *agentidp.TrustPolicySpec {
	s := &agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: "main", AgentID: agentX}
	change(s)
	return s
}

type specChange = func(*agentidp.TrustPolicySpec)

func inRepository(name string) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.Repository = name }
}
func inBranch(name string) specChange { return func(s *agentidp.TrustPolicySpec) { s.Branch = name } }
func forTag(name string) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.Branch, s.Tag = "", name }
}
func asBootstrap(change specChange) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.AgentID = ""; change(s) }
}
func expiring(t time.Time) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.ExpiresAt = &t }
}

func claiming(name string, values ...string) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.Claims = agentidp.ClaimConditions{name: values} }
}

func inEnv(name string) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.Environment = name }
}
func inFile(workflow string) specChange {
	return func(s *agentidp.TrustPolicySpec) { s.Workflow = workflow }
}

// ofCluster is a policy for a workload of the cluster.
func ofCluster(claims agentidp.ClaimConditions) specChange {
	return func(s *agentidp.TrustPolicySpec) {
		s.Provider, s.Repository, s.Branch, s.Claims = "cluster", "", "", claims
	}
}

func ofClusterWith(change specChange) specChange {
	return func(s *agentidp.TrustPolicySpec) {
		ofCluster(agentidp.ClaimConditions{"sub": {"x"}})(s)
		change(s)
	}
}

func claimsNamed(n int) agentidp.ClaimConditions {
	claims := agentidp.ClaimConditions{}
	for _, name := range letters(n) {
		claims[name] = agentidp.ClaimValues{"x"}
	}
	return claims
}

// onOutsiders lists an event that anybody can cause, with a reason, and what else there is.
func onOutsiders(reason string, more ...specChange) specChange {
	return func(s *agentidp.TrustPolicySpec) {
		s.Events, s.AcceptRisk = []string{"push", "pull_request_target"}, reason
		for _, change := range more {
			change(s)
		}
	}
}

func TestPoliciesThatAreAccepted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]specChange{
		"the four usual fields":                     func(*agentidp.TrustPolicySpec) {},
		"without branch":                            inBranch(""),
		"without agent":                             asBootstrap(func(*agentidp.TrustPolicySpec) {}),
		"the shortest repository":                   inRepository("a/b"),
		"all characters of a repository":            inRepository("A-b-9/Z_z.9-"),
		"an enterprise-managed user's repository":   inRepository("octo-cat_acme/x"),
		"the longest names":                         inRepository(strings.Repeat("o", 39) + "/" + strings.Repeat("n", 100)),
		"a repository called .github":               inRepository("acme/.github"),
		"a repository called git":                   inRepository("acme/git"),
		"a branch with slashes":                     inBranch("release/1.0"),
		"a branch with an emoji":                    inBranch("feature/\U0001f680"),
		"a branch called heads/main":                inBranch("heads/main"),
		"a branch with a no-break space inside":     inBranch("a\u00a0b"),
		"a branch called references/x":              inBranch("references/x"),
		"the longest branch":                        inBranch(strings.Repeat("b", 255)),
		"a tag pattern":                             forTag("v*"),
		"any tag":                                   forTag("*"),
		"a tag pattern with segments":               forTag("release/*/v*.*"),
		"ids":                                       func(s *agentidp.TrustPolicySpec) { s.RepositoryID, s.RepositoryOwnerID = "74", "18446744073709551615" },
		"events":                                    func(s *agentidp.TrustPolicySpec) { s.Events = []string{"push", "pull_request", "merge_group"} },
		"an outsider's event, and why":              onOutsiders("Only labels are read."),
		"the longest reason":                        onOutsiders(strings.Repeat("é", 500)),
		"an outsider's event behind an environment": onOutsiders("", func(s *agentidp.TrustPolicySpec) { s.Environment = "production" }),
		"an outsider's event in one workflow":       onOutsiders("", func(s *agentidp.TrustPolicySpec) { s.Workflow = ".github/workflows/label.yml" }),
		"an outsider's event with a claim":          onOutsiders("", claiming("runner_environment", "github-hosted")),
		"an outsider's event with a condition":      onOutsiders("", func(s *agentidp.TrustPolicySpec) { s.Condition = `claims.ref_protected == "true"` }),
		"an outsider's event, disabled":             onOutsiders("", func(s *agentidp.TrustPolicySpec) { s.Mode = agentidp.ModeDisabled }),
		"a reason that nothing asks for":            func(s *agentidp.TrustPolicySpec) { s.AcceptRisk = "none" },
		"scopes":                                    func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"deploy:production", "admin", "a:b:c"} },
		"audiences": func(s *agentidp.TrustPolicySpec) {
			s.Audiences = []string{"https://a.example/x?y=z", "urn:example:service", "api://AzureADTokenExchange", "spiffe://acme/x", "http://localhost:8080"}
		},
		"A-138: conditions on claims": func(s *agentidp.TrustPolicySpec) {
			s.Claims = agentidp.ClaimConditions{"runner_environment": {"github-hosted"}, "ref_protected": {"true"}}
		},
		"as many claims as may be": func(s *agentidp.TrustPolicySpec) { s.Claims = claimsNamed(16) },
		"as many values as may be": func(s *agentidp.TrustPolicySpec) { s.Claims = agentidp.ClaimConditions{"a": letters(16)} },
		"long names and values": func(s *agentidp.TrustPolicySpec) {
			s.Claims = agentidp.ClaimConditions{strings.Repeat("n", 255): {strings.Repeat("v", 255)}}
		},
		"a claim that is called an address": func(s *agentidp.TrustPolicySpec) {
			s.Claims = agentidp.ClaimConditions{"https://ci.example/claims/team": {"größe 1"}}
		},
		"an environment":                                   func(s *agentidp.TrustPolicySpec) { s.Claims = agentidp.ClaimConditions{"environment": {"prod"}} },
		"a workload":                                       ofCluster(agentidp.ClaimConditions{"sub": {"system:serviceaccount:build:deployer"}}),
		"a workload that registers agents":                 asBootstrap(ofCluster(agentidp.ClaimConditions{"sub": {"x"}, "email_verified": {"true"}})),
		"one of several workloads":                         ofCluster(agentidp.ClaimConditions{"sub": {"a", "b"}}),
		"a workload whose claims are called like GitHub's": ofCluster(agentidp.ClaimConditions{"sub": {"a"}, "repository": {"acme/deploy"}, "actor": {"x"}}),
		"the shortest life":                                func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = 60 },
		"the longest life":                                 func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = 3600 },
		"the life of bootstrap":                            asBootstrap(func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = 600 }),
		"a bound on agents":                                asBootstrap(func(s *agentidp.TrustPolicySpec) { s.MaxAgents = 1 }),
		"a pattern of names":                               asBootstrap(func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = "*@ci.acme.example" }),
		"trust in new agents":                              asBootstrap(func(s *agentidp.TrustPolicySpec) { s.TrustRegisteredAgents = true }),
		"disabled":                                         func(s *agentidp.TrustPolicySpec) { s.Mode = agentidp.ModeDisabled },
		"in shadow":                                        func(s *agentidp.TrustPolicySpec) { s.Mode = agentidp.ModeShadow },
		"enforced":                                         func(s *agentidp.TrustPolicySpec) { s.Mode = agentidp.ModeEnforce },
		"an end":                                           expiring(now.Add(time.Hour)),
		"a description in words":                           func(s *agentidp.TrustPolicySpec) { s.Description = strings.Repeat("é", 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(change)
			kind := kindOf(s.Provider)
			if got := policy.Validate(s, kind, now); got != nil {
				t.Errorf("refused: %v", got)
			}
			n := policy.Normalize(*s, kind)
			if got := policy.Validate(&n, kind, now); got != nil {
				t.Errorf("refused when normalized: %v", got)
			}
		})
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	t.Parallel()
	const (
		slashName = "Write owner/name, for example acme/deploy."
		wildcard  = "wildcards and regular expressions are not supported: a policy is for exactly one repository. "
	)
	for _, test := range []struct {
		name   string
		change specChange
		field  string
		reason string // a part of it
	}{
		{"no provider", func(s *agentidp.TrustPolicySpec) { s.Provider = "" }, "provider", "is required. Name a registered provider"},
		{"no repository", inRepository(""), "repository", "is required. " + slashName},
		{"no owner", inRepository("deploy"), "repository", `"deploy" is not of the form owner/name. ` + slashName},
		{"an empty owner", inRepository("/deploy"), "repository", "the owner is not a name that GitHub gives"},
		{"an empty name", inRepository("acme/"), "repository", "the name is not one that GitHub gives"},
		{"three parts", inRepository("acme/deploy/x"), "repository", "is not of the form owner/name"},
		{"an address", inRepository("https://github.com/acme/deploy"), "repository", "is the repository's name, not its address. " + slashName},
		{"A-104: white space in front", inRepository(" acme/deploy"), "repository", "the owner is not a name"},
		{"A-104: white space behind", inRepository("acme/deploy "), "repository", "the name is not one"},
		{"A-104: .git", inRepository("acme/deploy.git"), "repository", `Write "acme/deploy".`},
		{"A-104: .GIT", inRepository("acme/deploy.GIT"), "repository", `Write "acme/deploy".`},
		{"A-105: a Cyrillic letter", inRepository("\u0430cme/deploy"), "repository", "ASCII letters"},
		{"A-105: the KELVIN SIGN", inRepository("acme/\u212Ait"), "repository", "ASCII letters"},
		{"A-105: the long s", inRepository("acme/\u017Fite"), "repository", "ASCII letters"},
		{"a hyphen at the owner's end", inRepository("acme-/x"), "repository", "no hyphen at either end"},
		{"a hyphen in front", inRepository("-acme/x"), "repository", "no hyphen at either end"},
		{"two hyphens", inRepository("ac--me/x"), "repository", "single hyphens"},
		{"an owner that is too long", inRepository(strings.Repeat("o", 40) + "/x"), "repository", "at most 39"},
		{"a name that is too long", inRepository("acme/" + strings.Repeat("n", 101)), "repository", "at most 100"},
		{"a name of one dot", inRepository("acme/."), "repository", "the name is not one"},
		{"a name of two dots", inRepository("acme/.."), "repository", "the name is not one"},
		{"a control character", inRepository("acme/de\x00ploy"), "repository", "the name is not one"},
		{"A-135: an owner's wildcard", inRepository("acme/*"), "repository", wildcard + slashName},
		{"A-136: a star", inRepository("*"), "repository", wildcard},
		{"A-136: two stars", inRepository("*/*"), "repository", wildcard},
		{"A-136: a prefix of owners", inRepository("acme*"), "repository", wildcard},
		{"A-136: a prefix of names", inRepository("acme/de*"), "repository", wildcard},
		{"A-136: a question mark", inRepository("acme/deplo?"), "repository", wildcard},
		{"A-136: an expression", inRepository(".*"), "repository", wildcard},
		{"A-136: an alternative", inRepository("acme/deploy|.*"), "repository", wildcard},
		{"A-136: an anchor", inRepository("^acme/deploy$"), "repository", wildcard},

		{"A-118: a whole ref", inBranch("refs/heads/main"), "branch", "Write main, not refs/heads/main."},
		{"A-118: a tag's ref", inBranch("refs/tags/v1"), "branch", "Write main, not refs/heads/main."},
		{"A-118: a ref whose name cannot be shown", inBranch("refs/heads/\x1b[2J"), "branch", "Write main, not refs/heads/main."},
		{"a star", inBranch("release/*"), "branch", "a branch is compared exactly"},
		{"a question mark", inBranch("v?"), "branch", "a branch is compared exactly"},
		{"A-119: white space in front", inBranch(" main"), "branch", "begins or ends with white space"},
		{"A-119: a no-break space behind", inBranch("main\u00a0"), "branch", "begins or ends with white space"},
		{"A-119: a zero-width space behind", inBranch("main\u200b"), "branch", "or an invisible character"},
		{"a line break behind", inBranch("main\n"), "branch", "begins or ends with white space"},
		{"a control character inside", inBranch("ma\x00in"), "branch", "contains control characters"},
		{"text that runs backwards", inBranch("ma\u202ein"), "branch", "contains control characters"},
		{"invalid UTF-8", inBranch("ma\xffin"), "branch", "is not valid UTF-8"},
		{"a space inside", inBranch("my branch"), "branch", "is not a name that git allows"},
		{"two dots", inBranch("a..b"), "branch", "is not a name that git allows"},
		{"a colon", inBranch("a:b"), "branch", "is not a name that git allows"},
		{"an empty part", inBranch("a//b"), "branch", "a part between slashes is empty"},
		{"a slash behind", inBranch("main/"), "branch", "a part between slashes is empty"},
		{"a part with a dot in front", inBranch("a/.b"), "branch", "begins with a dot"},
		{"a part that ends in .lock", inBranch("a.lock/b"), "branch", "ends in .lock"},
		{"a dash in front", inBranch("-main"), "branch", "is not a name that git allows"},
		{"a branch that is too long", inBranch(strings.Repeat("b", 256)), "branch", "is longer than 255 bytes"},

		{"branch and tag", func(s *agentidp.TrustPolicySpec) { s.Tag = "v*" }, "tag", "cannot be combined with branch"},
		{"a tag's whole ref", forTag("refs/tags/v*"), "tag", "Write v*, not refs/tags/v*."},
		{"a tag with a question mark", forTag("v?"), "tag", "only * is special"},
		{"a tag with two stars", forTag("**"), "tag", "** is not supported"},
		{"a tag that nothing matches", forTag("v*..*"), "tag", "no tag can match this pattern"},
		{"a tag with white space", forTag("v1\t"), "tag", "begins or ends with white space"},

		{"A-149: an agent in capitals", func(s *agentidp.TrustPolicySpec) { s.AgentID = strings.ToUpper(agentX) }, "agentId", "Give the UUID in lower case with hyphens"},
		{"A-149: an agent's name", func(s *agentidp.TrustPolicySpec) { s.AgentID = "deployer@ci.acme.example" }, "agentId", "is not an agent's id"},
		{"an id with a sign", func(s *agentidp.TrustPolicySpec) { s.RepositoryID = "+74" }, "repositoryId", `"+74" is not a numeric id`},
		{"an id with a zero in front", func(s *agentidp.TrustPolicySpec) { s.RepositoryID = "074" }, "repositoryId", "is not a numeric id"},
		{"an owner's name as id", func(s *agentidp.TrustPolicySpec) { s.RepositoryOwnerID = "acme" }, "repositoryOwnerId", "is not a numeric id"},
		{"an id that is too long", func(s *agentidp.TrustPolicySpec) { s.RepositoryOwnerID = strings.Repeat("9", 21) }, "repositoryOwnerId", "is not a numeric id"},

		{"every event", func(s *agentidp.TrustPolicySpec) { s.Events = []string{"push", "*"} }, "events[1]", "wildcards are not supported"},
		{"an event in capitals", func(s *agentidp.TrustPolicySpec) { s.Events = []string{"Push"} }, "events[0]", `"Push" is not an event`},
		{"an empty event", func(s *agentidp.TrustPolicySpec) { s.Events = []string{""} }, "events[0]", "is not an event"},
		{"an event twice", func(s *agentidp.TrustPolicySpec) { s.Events = []string{"push", "fork", "push"} }, "events[2]", "repeats push"},
		{"A-172: no events", func(s *agentidp.TrustPolicySpec) { s.Events = []string{} }, "events", "is empty"},
		{"too many events", func(s *agentidp.TrustPolicySpec) { s.Events = letters(51) }, "events", "has 51 elements; at most 50"},

		{"A-122: an outsider's event without a reason", onOutsiders(""), "acceptRisk",
			"is required: outsiders can start the runs that this policy trusts. pull_request_target: It runs with the rights of the target branch for anyone's pull request. " +
				"Leave that out of events, or name the environment or workflow that stands between, or say here in one line why the risk is right."},
		{"a reason of two lines", onOutsiders("a\nb"), "acceptRisk", "Write it on one line"},
		{"a reason of nothing", onOutsiders(" "), "acceptRisk", "begins or ends with white space"},
		{"a reason that is too long", onOutsiders(strings.Repeat("é", 501)), "acceptRisk", "is longer than 500 characters"},
		{"a reason in no encoding", onOutsiders("\xff"), "acceptRisk", "is not valid UTF-8"},

		{"A-172: no claims", func(s *agentidp.TrustPolicySpec) { s.Claims = agentidp.ClaimConditions{} }, "claims", "is empty. Leave it out"},
		{"too many claims", func(s *agentidp.TrustPolicySpec) { s.Claims = claimsNamed(17) }, "claims", "has conditions on 17 claims; at most 16"},
		{"a claim without a name", claiming("", "x"), "claims", "a claim without a name"},
		{"a claim that nobody can see", claiming("a\u200b", "x"), "claims", "whose name begins or ends with white space or an invisible character"},
		{"a claim with a control character", claiming("a\x1bb", "x"), "claims", "whose name contains control characters"},
		{"a claim's name that is too long", claiming(strings.Repeat("n", 256), "x"), "claims", "whose name is longer than 255 bytes"},
		{"A-172: a claim without a value", claiming("runner_environment"), "claims.runner_environment", "has no value"},
		{"A-172: a claim with an empty value", claiming("runner_environment", ""), "claims.runner_environment", "is empty. Give the value"},
		{"A-172: a claim with an empty value among others", claiming("runner_environment", "x", ""), "claims.runner_environment[1]", "is empty. Give the value"},
		{"too many values", claiming("runner_environment", letters(17)...), "claims.runner_environment", "has 17 values; at most 16"},
		{"a value twice", claiming("runner_environment", "a", "b", "a"), "claims.runner_environment[2]", `repeats "a"`},
		{"a value with white space behind", claiming("runner_environment", "a "), "claims.runner_environment", "begins or ends with white space"},
		{"a value with a control character", claiming("runner_environment", "a\x00b"), "claims.runner_environment", "contains control characters"},
		{"a value in broken UTF-8", claiming("runner_environment", "a\xff"), "claims.runner_environment", "is not valid UTF-8"},
		{"a value that is too long", claiming("runner_environment", strings.Repeat("v", 256)), "claims.runner_environment", "is longer than 255 bytes"},
		{"A-136: a wildcard that crosses slashes", claiming("runner_environment", "github-**"), "claims.runner_environment", "** is not supported: * stands for anything within one segment between slashes"},
		{"the repository as a claim", claiming("repository", "acme/deploy"), "claims.repository", "has a field of its own. Use repository."},
		{"its id as a claim", claiming("repository_id", "74"), "claims.repository_id", "Use repositoryId."},
		{"its owner's id as a claim", claiming("repository_owner_id", "65"), "claims.repository_owner_id", "Use repositoryOwnerId."},
		{"the ref as a claim", claiming("ref", "refs/heads/main"), "claims.ref", "Use branch or tag."},
		{"the type of ref as a claim", claiming("ref_type", "branch"), "claims.ref_type", "Use branch or tag."},
		{"the event as a claim", claiming("event_name", "push"), "claims.event_name", "Use events."},
		{"the issuer as a claim", claiming("iss", "https://ci.example"), "claims.iss", "Leave it out: provider says it."},
		{"the audience as a claim", claiming("aud", "https://idp.example.com"), "claims.aud", "is for this server in every token"},
		{"the end as a claim", claiming("exp", "4102444800"), "claims.exp", "expiresAt ends a policy"},
		{"the token's id as a claim", claiming("jti", "x"), "claims.jti", "is another in every token"},
		{"A-107: the subject of GitHub", claiming("sub", "repo:acme/deploy:ref:refs/heads/main"), "claims.sub", "cannot be relied on. It has three forms. Use repository."},
		{"A-129: the actor", claiming("actor", "octocat"), "claims.actor", "cannot be relied on. Names can be taken over."},
		{"A-129: the workflow's display name", claiming("workflow", "Deploy"), "claims.workflow", "cannot be relied on"},
		{"A-129: the head of a pull request", claiming("head_ref", "main"), "claims.head_ref", "cannot be relied on"},
		{"A-129: its base", claiming("base_ref", "main"), "claims.base_ref", "cannot be relied on"},

		{"a workload without claims", ofCluster(nil), "claims", `must name sub: the tokens of provider cluster, which is of kind oidc, name no repository, and nothing else tells whose they are. Write for example {"sub": "build-deployer"}.`},
		{"A-135: a workload without a subject", ofCluster(agentidp.ClaimConditions{"namespace": {"build"}}), "claims", "must name sub"},
		{"A-135: a workload with any subject", ofCluster(agentidp.ClaimConditions{"sub": {"*"}}), "claims.sub", "says whose tokens are meant, and is compared exactly"},
		{"a workload with an audience", ofCluster(agentidp.ClaimConditions{"sub": {"x"}, "aud": {"y"}}), "claims.aud", "is for this server"},
		{"a workload with a token's id", ofCluster(agentidp.ClaimConditions{"sub": {"x"}, "jti": {"y"}}), "claims.jti", "is another in every token"},
		{"a workload of a repository", ofClusterWith(inRepository("acme/deploy")), "repository", "means nothing in the tokens of provider cluster, which is of kind oidc. Leave it out, and say in claims which tokens are meant."},
		{"a workload on a branch", ofClusterWith(inBranch("refs/heads/main")), "branch", "means nothing in the tokens"},
		{"a workload on a tag", ofClusterWith(forTag("v*")), "tag", "means nothing in the tokens"},
		{"a workload of an event", ofClusterWith(func(s *agentidp.TrustPolicySpec) { s.Events = []string{"push"} }), "events", "means nothing in the tokens"},
		{"a workload with a repository's id", ofClusterWith(func(s *agentidp.TrustPolicySpec) { s.RepositoryID = "74" }), "repositoryId", "means nothing in the tokens"},
		{"a workload with an owner's id", ofClusterWith(func(s *agentidp.TrustPolicySpec) { s.RepositoryOwnerID = "65" }), "repositoryOwnerId", "means nothing in the tokens"},

		{"A-172: no scopes", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{} }, "scopes", "is empty"},
		{"a scope without action", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"deploy"} }, "scopes[0]", `"deploy" is not a scope`},
		{"a scope with an empty action", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"deploy:"} }, "scopes[0]", "is not a scope"},
		{"a scope with a space", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"a:b c:d"} }, "scopes[0]", "is not a scope"},
		{"every scope", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"deploy:*"} }, "scopes[0]", "wildcards are not supported"},
		{"a scope twice", func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"a:b", "a:b"} }, "scopes[1]", "repeats a:b"},
		{"scopes of bootstrap", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.Scopes = []string{"agents:write"} }), "scopes", "is for policies with an agentId"},

		{"A-172: no audiences", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{} }, "audiences", "is empty"},
		{"a relative audience", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"deploy.example.com"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience with a fragment", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"https://a.example/#x"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience with a space", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"https://a.example/ x"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience without a host", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"https:///x"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience in Unicode", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"https://\u0430.example"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience of a scheme alone", func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"urn:"} }, "audiences[0]", "is not an absolute URI"},
		{"an audience twice", func(s *agentidp.TrustPolicySpec) {
			s.Audiences = []string{"https://a.example", "https://a.example"}
		}, "audiences[1]", "repeats"},
		{"audiences of bootstrap", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.Audiences = []string{"https://a.example"} }), "audiences", "is for policies with an agentId"},

		{"A-230: a short life", func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = 59 }, "tokenTtlSeconds", "Give 60 to 3600 seconds"},
		{"A-230: a long life", func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = 3601 }, "tokenTtlSeconds", "Give 60 to 3600 seconds"},
		{"A-230: a negative life", func(s *agentidp.TrustPolicySpec) { s.TokenTTLSeconds = -1 }, "tokenTtlSeconds", "Give 60 to 3600 seconds"},
		{"a negative number of agents", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.MaxAgents = -1 }), "maxAgents", "Give 1 to 1000000"},
		{"too many agents", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.MaxAgents = 1_000_001 }), "maxAgents", "Give 1 to 1000000"},
		{"a number of agents beside an agent", func(s *agentidp.TrustPolicySpec) { s.MaxAgents = 1 }, "maxAgents", "is for policies without an agentId"},
		{"a pattern beside an agent", func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = "*" }, "agentNamePattern", "is for policies without an agentId"},
		{"a pattern with a space", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = "a b" }), "agentNamePattern", "only * is special"},
		{"a pattern in Unicode", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = "*@\u0430cme" }), "agentNamePattern", "printable ASCII"},
		{"a pattern as an expression", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = "^.*$" }), "agentNamePattern", "only * is special"},
		{"a pattern that is too long", asBootstrap(func(s *agentidp.TrustPolicySpec) { s.AgentNamePattern = strings.Repeat("a", 255) }), "agentNamePattern", "is longer than 254 bytes"},
		{"trust in new agents beside an agent", func(s *agentidp.TrustPolicySpec) { s.TrustRegisteredAgents = true }, "trustRegisteredAgents", "is for policies without an agentId"},
		{"another mode", func(s *agentidp.TrustPolicySpec) { s.Mode = "audit" }, "mode", `"audit" is not a mode. Use enforce (the default), shadow or disabled.`},
		{"an end in the past", expiring(now), "expiresAt", "must be in the future; it is now 2026-11-21T12:00:00Z"},
		{"an end that rounds to the past", expiring(now.Add(time.Nanosecond)), "expiresAt", "must be in the future"},
		{"an end beyond all years", expiring(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "expiresAt", "is beyond the year 9999"},
		{"a long description", func(s *agentidp.TrustPolicySpec) { s.Description = strings.Repeat("é", 1001) }, "description", "is longer than 1000 characters"},
		{"a description with a line break", func(s *agentidp.TrustPolicySpec) { s.Description = "a\nb" }, "description", "Write it on one line"},
		{"a description in no encoding", func(s *agentidp.TrustPolicySpec) { s.Description = "\xff" }, "description", "is not valid UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := spec(test.change)
			got := policy.Validate(s, kindOf(s.Provider), now)
			if len(got) != 1 || got[0].Field != test.field || !strings.Contains(got[0].Reason, test.reason) {
				t.Errorf("%v, want %s: … %s …", got, test.field, test.reason)
			}
		})
	}
}

func letters(n int) []string {
	list := make([]string, n)
	for i := range n {
		list[i] = strings.Repeat("a", i+1)
	}
	return list
}

func TestAProviderMustBeRegistered(t *testing.T) {
	t.Parallel()
	got := policy.Validate(spec(func(s *agentidp.TrustPolicySpec) { s.Provider = "gitlba" }), nil, now)
	want := []agentidp.FieldError{{Field: "provider", Reason: `"gitlba" is not a provider of this organization. Use github, in lower case, or one that GET /api/v1/oidc/providers lists.`}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestAWorkloadOfNoProvider(t *testing.T) {
	t.Parallel()
	s := spec(ofCluster(agentidp.ClaimConditions{"sub": {"x"}}))
	got := policy.Validate(s, nil, now)
	if len(got) != 1 || got[0].Field != "provider" {
		t.Errorf("%v", got)
	}
}

func TestEveryBadFieldIsNamed(t *testing.T) {
	t.Parallel()
	past := now.Add(-time.Hour)
	got := policy.Validate(&agentidp.TrustPolicySpec{
		Repository: "x", Branch: "*", Tag: "?", AgentID: "x", RepositoryID: "x", RepositoryOwnerID: "x", Events: []string{"X", "*"},
		Scopes: []string{"x"}, Audiences: []string{"x"}, TokenTTLSeconds: 1, MaxAgents: 1, AgentNamePattern: "x", TrustRegisteredAgents: true, Mode: "x",
		Environment: "*", Workflow: "x.yml",
		Claims: agentidp.ClaimConditions{"sub": {"x", ""}, "environment": {"**"}}, ExpiresAt: &past, Description: "\x00",
	}, github, now)
	var fields []string
	for _, e := range got {
		fields = append(fields, e.Field)
	}
	want := "provider repository branch tag tag agentId repositoryId repositoryOwnerId events[0] events[1] " +
		"environment workflow claims.environment claims.sub claims.sub[1] scopes[0] audiences[0] " +
		"tokenTtlSeconds maxAgents agentNamePattern trustRegisteredAgents mode expiresAt description"
	if strings.Join(fields, " ") != want {
		t.Errorf("%s\nwant %s", strings.Join(fields, " "), want)
	}
}

// an answer does not repeat what could harm whoever displays it.
func TestReasonsRepeatOnlyWhatIsShortAndPrintable(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"\x1b[2J", "a\u202eb", "\xff", strings.Repeat("x", 300), "a\u2028b"} {
		got := policy.Validate(&agentidp.TrustPolicySpec{
			Provider: value, Repository: value, Branch: value, Tag: value, AgentID: value, RepositoryID: value, RepositoryOwnerID: value,
			Events: []string{value, value}, Scopes: []string{value, value}, Audiences: []string{value, value},
			Environment: value, Workflow: value, AgentNamePattern: value, Mode: agentidp.PolicyMode(value), Description: value,
			Claims: agentidp.ClaimConditions{value: {"x"}, "sub": {value, value}},
		}, nil, now)
		for _, e := range got {
			if strings.Contains(e.Reason, value) || strings.ContainsFunc(e.Reason, func(c rune) bool { return c < ' ' || c > '~' }) || e.Reason == "" {
				t.Errorf("%.20q: %s: %s", value, e.Field, e.Reason)
			}
		}
	}
}
