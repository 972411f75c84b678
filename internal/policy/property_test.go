package policy_test

import (
	"flag"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// TestMain sets other defaults for the flags of rapid: more draws, for one takes
// some microseconds, and no files of failed ones, for the seed is printed.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "5000", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				panic(err)
			}
		}
	}
	m.Run()
}

// reference decides one policy a second time, straight from the contract. Its
// only aim is to be short enough to be checked by reading.
func reference(p *agentidp.TrustPolicy, in *policy.Input) string {
	c, has := in.Claims, slices.Contains[[]string]
	ids := agentidp.Pin{RepositoryID: c.RepositoryID, RepositoryOwnerID: c.RepositoryOwnerID, PinnedAt: now}
	refs := map[bool]string{true: `^tag refs/tags/` + strings.ReplaceAll(regexp.QuoteMeta(p.Tag), `\*`, `[^/]*`) + `$`,
		false: `^branch refs/heads/` + regexp.QuoteMeta(p.Branch) + `$`}[p.Tag != ""]
	mine, audiences := in.Scopes, []string{"", "https://idp.example.com/api/v1"}
	if p.AgentID != "" {
		mine = slices.DeleteFunc(slices.Clone(in.Scopes), func(s string) bool {
			return in.Agent == nil || !has(in.Agent.Capabilities, s) || p.Scopes != nil && !has(p.Scopes, s)
		})
		audiences = append([]string{""}, p.Audiences...)
		if p.Audiences == nil {
			audiences = []string{"", "https://idp.example.com"}
		}
	} else if !slices.Equal(in.Scopes, []string{"agents:write"}) {
		mine = nil
	}
	met := func(name string) bool {
		value, _ := c.Read(name)
		return value != "" && slices.ContainsFunc(p.Claims[name], func(v string) bool {
			return v == value || (c.Kind != oidc || name != "sub") && globReference(v, value)
		})
	}
	noRepository := p.Repository == ""
	anyRef := noRepository && p.Branch+p.Tag == ""
	switch {
	case p.OrganizationID != orgID, p.Provider != c.Provider, p.Mode != "enforce", p.AgentID != in.AgentID,
		p.ExpiresAt != nil && p.ExpiresAt.Before(in.Now.Add(time.Second)),
		noRepository && (c.Repository != "" || c.Kind != oidc || !met("sub")),
		!noRepository && !strings.EqualFold(p.Repository, c.Repository) && (p.Pinned == nil || c.RepositoryID == "" || p.Pinned.RepositoryID != c.RepositoryID):
		return violation
	case !noRepository && (p.Pinned != nil && *p.Pinned != ids || c.RepositoryID == "" || c.RepositoryOwnerID == ""),
		p.RepositoryID != "" && p.RepositoryID != c.RepositoryID, p.RepositoryOwnerID != "" && p.RepositoryOwnerID != c.RepositoryOwnerID:
		return identity
	case p.AgentID != "" && (in.Agent == nil || in.Agent.Status != "active" || in.Agent.AgentID != p.AgentID || in.Agent.OrganizationID != orgID):
		return inactive
	case !has(p.Events, c.Event) && (!noRepository || p.Events != nil):
		return badEvent
	case !anyRef && (p.Branch != "" && p.Tag != "" || p.Branch+p.Tag != "" && !regexp.MustCompile(refs).MatchString(c.RefType+" "+c.Ref) ||
		p.Branch+p.Tag == "" && !regexp.MustCompile(`^branch refs/heads/(?s:.)`).MatchString(c.RefType+" "+c.Ref) ||
		p.Branch+p.Tag == "" && strings.HasPrefix(c.Ref, "refs/heads/gh-readonly-queue/")):
		return badRef
	case p.Environment != "" && p.Environment != c.Environment, p.Workflow != "" && !workflowReference(p.Workflow, c),
		slices.ContainsFunc(slices.Collect(maps.Keys(p.Claims)), func(name string) bool { return !met(name) }),
		p.Condition != "" && !conditionReference[p.Condition](c):
		return badClaim
	case len(mine) != len(in.Scopes):
		return badScope
	case !has(audiences, in.Audience):
		return badTarget
	}
	return granted
}

// workflowReference is whether a job is in the file that a policy names, by an expression.
func workflowReference(workflow string, c *agentidp.Claims) bool {
	if repository, rest, elsewhere := strings.Cut(workflow, "/.github/"); elsewhere {
		return regexp.MustCompile(`^(?i:` + regexp.QuoteMeta(repository) + `)/\.github/` + regexp.QuoteMeta(rest) + `$`).MatchString(c.JobWorkflowRef)
	}
	job := c.JobWorkflowRef
	if job == "" {
		job = c.WorkflowRef
	}
	return c.Repository != "" && regexp.MustCompile(`^(?i:`+regexp.QuoteMeta(c.Repository)+`)/`+regexp.QuoteMeta(workflow)+`@(?s:refs/.+|[0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(job)
}

// conditionReference is what the drawn expressions say, in Go.
var conditionReference = map[string]func(*agentidp.Claims) bool{
	`claims.runner_environment == "github-hosted"`: func(c *agentidp.Claims) bool {
		v, _ := c.Read("runner_environment")
		return v == "github-hosted"
	},
	`claims.ref_protected != "false"`: func(c *agentidp.Claims) bool { v, ok := c.Read("ref_protected"); return ok && v != "false" },
	`claims.sub.glob("build*")`:       func(c *agentidp.Claims) bool { v, _ := c.Read("sub"); return globReference("build*", v) },
}

// stages orders the answers by how far a policy got.
var stages = []string{violation, identity, inactive, badEvent, badRef, badClaim, badScope, badTarget, granted}

// Draws are the fitting policy and run with a few changes each: so every stage is
// reached often, and so is a grant.
var policyChanges = []policyOption{
	of("ACME/Deploy"), of("acme/old"), branch(""), branch("dev"), branch("refs/heads/main"), tag("v*"), tag("*/*"), tag("main"),
	forAgent(""), forAgent(""), forAgent(agentY), needsIDs("74", ""), needsIDs("99", "65"), needsIDs("", "66"),
	unpinned, unpinned, pinnedTo("99", "65"), pinnedTo("74", "66"), pinnedTo("", ""), disabled, inShadow, otherTenant, fromGitLab,
	expires(-time.Hour), expires(0), expires(999 * time.Millisecond), expires(time.Second), expires(90 * time.Second), ttl(60), ttl(3600),
	onEvents("schedule"), onEvents("pull_request", "push"), withScopes("deploy:staging"), withScopes("deploy:production", "x:y"),
	withAudiences("https://a.example"), withAudiences("https://b.example", "https://idp.example.com"),
	inEnvironment("prod"), inEnvironment("prod"), inEnvironment("stage"), inWorkflow(local), inWorkflow(local), inWorkflow(reusable), inWorkflow(".github/workflows/x.yml"),
	needs("environment", "prod"), needs("environment", "pr*", "stage"), needs("environment", "*/*"), needs("runner_environment", "*-hosted"), needs("namespace", "b*"),
	when(`claims.runner_environment == "github-hosted"`), when(`claims.ref_protected != "false"`), when(`claims.sub.glob("build*")`),
	hosted, needs("ref_protected", "true", "false"), needs("sub", "x"), needs("namespace", "build"), needs("namespace", "prod"),
	workload("build"), workload("build"), workload("x", "y"), of(""), fromCluster,
}

var inputChanges = []inputOption{
	repository("ACME/deploy"), repository("acme/old"), repository("evil/repo"), repository(""),
	ids("99", "65"), ids("74", "66"), ids("99", "66"), ids("", "65"), ids("74", ""), ids("", ""),
	onBranch("dev"), onBranch(""), onBranch("refs/heads/main"), onBranch("gh-readonly-queue/main/1"), onTag("v1"), onTag("v1/x"), onTag("main"),
	ref("refs/heads/main", "tag"), ref("refs/tags/main", "branch"), ref("refs/pull/7/merge", "branch"), ref("", ""),
	event("schedule"), event("pull_request"), event("pull_request_target"), event("fork"), event(""), status(agentidp.AgentSuspended), agentUnknown, agentOfOtherTenant,
	noAgent, noAgent, capabilities(), capabilities("x:y", "deploy:staging"), viaGitLab,
	saying("runner_environment", "self-hosted"), saying("ref_protected", ""), saying("ref_protected", "false"),
	environment("prod"), environment("prod"), environment("Prod"), environment("stage"), jobIn(reusable), jobIn(deployYML + "@x.yml@refs/heads/main"), jobIn("ACME/deploy/" + local + "@" + commit),
	jobIn(""), startedFrom("evil/repo/" + local + "@refs/heads/main"), startedFrom(""), saying("environment", "prod"), saying("environment", "prod/eu"), saying("environment", "stage"),
	asWorkload("build"), asWorkload("build"), asWorkload("x"), saying("sub", ""), ofNoKind,
	asking("deploy:staging"), asking("deploy:staging", "deploy:production"), asking("agents:write"), asking("x:y"),
	audience("https://idp.example.com"), audience("https://idp.example.com/api/v1"), audience("https://a.example"), audience("https://evil.example"),
}

func drawPolicy(t *rapid.T) *agentidp.TrustPolicy {
	p := pol(rapid.SliceOfN(rapid.SampledFrom(policyChanges), 0, 4).Draw(t, "changes")...)
	p.ID = rapid.StringMatching(`p[0-9]{1,3}`).Draw(t, "id")
	if p.Pinned != nil {
		p.Pinned.PinnedAt = now
	}
	return p
}

func drawPolicies(t *rapid.T) []*agentidp.TrustPolicy {
	return rapid.SliceOfNDistinct(rapid.Custom(drawPolicy), 0, 5, func(p *agentidp.TrustPolicy) string { return p.ID }).Draw(t, "policies")
}

func drawInput(t *rapid.T) *policy.Input {
	return run(rapid.SliceOfN(rapid.SampledFrom(inputChanges), 0, 4).Draw(t, "run")...)
}

func TestTheEngineEqualsTheReference(t *testing.T) {
	t.Parallel()
	reached := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		furthest := violation
		for _, p := range policies {
			if c := reference(p, in); slices.Index(stages, c) > slices.Index(stages, furthest) {
				furthest = c
			}
		}
		out := policy.Match(compiled(policies...), in)
		if code(out) != furthest {
			t.Fatalf("the engine answers %q, the reference %q; claims %+v; checks:\n%s", code(out), furthest, in.Claims, spell(out.Checks))
		}
		wellFormed(t, &out)
		if out.Granted {
			if c := reference(out.Policy, in); c != granted {
				t.Fatalf("granted by %s, which alone answers %q", out.Policy.ID, c)
			}
			again := *in // What is granted by default could also have been asked for.
			again.Scopes, again.Audience = out.Scopes, out.Audience
			if c := reference(out.Policy, &again); c != granted {
				t.Fatalf("granted %q for %s, which asked for answers %q", out.Scopes, out.Audience, c)
			}
			if end := out.Policy.ExpiresAt; end != nil && in.Now.Add(out.TTL).After(*end) {
				t.Fatalf("a token of %s outlives its policy", out.TTL)
			}
		}
		reached[code(out)]++
	})
	for _, stage := range stages {
		if reached[stage] == 0 {
			t.Errorf("no draw answers %q: the generator is too narrow", stage)
		}
	}
}

func TestOrderNeverMatters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		want := policy.Match(compiled(policies...), in)
		got := policy.Match(compiled(rapid.Permutation(policies).Draw(t, "order")...), in)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("another order gives %+v instead of %+v", got, want)
		}
	})
}

func TestAddingAPolicyNeverDeniesAndDeletingNeverAllows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		fewer := policy.Match(compiled(policies...), in)
		another := with(drawPolicy(t), id("p"+rapid.SampledFrom([]string{"", "z"}).Draw(t, "before or behind")))
		more := policy.Match(compiled(append(policies, another)...), in)
		if fewer.Granted && !more.Granted {
			t.Fatalf("one more policy turns a grant into %s", more.Err.Code)
		}
		if slices.Index(stages, code(more)) < slices.Index(stages, code(fewer)) {
			t.Fatalf("one more policy takes the answer from %q back to %q", code(fewer), code(more))
		}
	})
}

// meeting makes of a policy one to which a condition can be added, and of a run one that meets
// it: only such runs would show that a condition lets in what was refused before.
var meeting = map[string]struct {
	policy policyOption
	run    inputOption
}{
	"branch": {branch(""), onBranch("main")}, "ids": {needsIDs("", ""), ids("74", "65")}, "environment": {inEnvironment(""), environment("prod")},
	"workflow": {inWorkflow(""), jobIn("acme/deploy/" + local + "@refs/heads/main")}, "pattern": {needs("runner_environment", "*-hosted"), saying("runner_environment", "self-hosted")},
	"expression": {when(""), saying("ref_protected", "true")}, "event": {onEvents("push", "schedule"), event("schedule")}, "claim": {needs("runner_environment", "*"), saying("repository_visibility", "private")},
	"value": {needs("environment", "pr*", "stage"), saying("environment", "stage")}, "scopes": {withScopes(), asking("deploy:staging")},
	"expiry": {branch("main"), onBranch("main")}, "pin": {unpinned, ids("74", "65")}, "mode": {branch("main"), onBranch("main")},
}

func TestAddingAConditionNeverAllowsMore(t *testing.T) {
	t.Parallel()
	granted, refused := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		wide, in := drawPolicy(t), drawInput(t)
		added := rapid.SampledFrom(slices.Sorted(maps.Keys(meeting))).Draw(t, "condition")
		if rapid.Bool().Draw(t, "met") {
			meeting[added].policy(wide)
			meeting[added].run(in)
		}
		narrow := *wide
		switch added {
		case "branch":
			if narrow.Branch+narrow.Tag == "" {
				narrow.Branch = "main"
			}
		case "ids":
			if narrow.RepositoryID == "" {
				narrow.RepositoryID = "74"
			}
		case "environment":
			if narrow.Environment == "" {
				narrow.Environment = "prod"
			}
		case "workflow":
			if narrow.Workflow == "" {
				narrow.Workflow = local
			}
		case "expression":
			if narrow.Condition == "" {
				narrow.Condition = `claims.ref_protected != "false"`
			}
		case "pattern": // A value that a pattern lets through, in its place.
			if slices.Contains(narrow.Claims["runner_environment"], "*-hosted") {
				needs("runner_environment", "self-hosted")(&narrow)
			}
		case "event":
			if len(narrow.Events) > 1 {
				narrow.Events = narrow.Events[1:]
			}
		case "claim":
			if _, ok := narrow.Claims["repository_visibility"]; !ok {
				needs("repository_visibility", "private")(&narrow)
			}
		case "value":
			for name, values := range narrow.Claims {
				needs(name, values[1:]...)(&narrow)
			}
		case "scopes":
			if narrow.Scopes == nil {
				narrow.Scopes = []string{"deploy:staging"}
			}
		case "expiry":
			if narrow.ExpiresAt == nil {
				expires(2 * time.Second)(&narrow)
			}
		case "pin":
			if narrow.Pinned == nil && strings.EqualFold(narrow.Repository, in.Claims.Repository) {
				pinnedTo("74", "65")(&narrow)
			}
		case "mode":
			narrow.Mode = agentidp.ModeDisabled
		}
		before, after := policy.Match(compiled(wide), in), policy.Match(compiled(&narrow), in)
		if after.Granted && !before.Granted {
			t.Fatalf("a condition more turns %s into a grant", before.Err.Code)
		}
		if after.Granted && (after.TTL > before.TTL || slices.ContainsFunc(after.Scopes, func(s string) bool { return !slices.Contains(before.Scopes, s) })) {
			t.Fatalf("a condition more gives more: %+v after %+v", after, before)
		}
		if reflect.DeepEqual(wide.TrustPolicySpec, narrow.TrustPolicySpec) && reflect.DeepEqual(wide.Pinned, narrow.Pinned) {
			return
		}
		if after.Granted {
			granted[added]++
		}
		if before.Policy != nil && !before.Granted {
			refused[added]++
		}
	})
	for added := range meeting {
		if granted[added] == 0 && added != "mode" || refused[added] == 0 {
			t.Errorf("with %s, %d draws are granted and %d were refused before: the generator is too narrow", added, granted[added], refused[added])
		}
	}
}

// What a token says beside the claims that policies read never changes a decision: neither
// names that nobody knows, nor those of GitHub in another spelling.
func TestUnheardOfClaimsChangeNothing(t *testing.T) {
	t.Parallel()
	names := rapid.OneOf(rapid.StringMatching(`[a-zA-Z_:/. -]{1,20}`), rapid.SampledFrom([]string{
		"Repository", "REF", "ref ", "refType", "event", "environment_name", "scope", "scp", "roles", "admin", "agent_id", "act", "may_act", "aud ", "iss",
	}))
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		policies, in := drawPolicies(t), drawInput(t)
		plain := policy.Match(compiled(policies...), in)
		source := maps.Clone(in.Claims.Source.(said))
		for name, value := range rapid.MapOfN(names, rapid.SampledFrom([]string{"", "acme/deploy", "main", "admin", "*", "true"}), 1, 8).Draw(t, "more") {
			if _, known := source[name]; !known && !readBy(policies, name) {
				source[name] = value
			}
		}
		in.Claims.Source = source
		if more := policy.Match(compiled(policies...), in); !reflect.DeepEqual(more, plain) {
			t.Fatalf("with %v more the answer is %q, and without %q", source, code(more), code(plain))
		}
		outcomes[code(plain)]++
	})
	for _, stage := range stages {
		if outcomes[stage] == 0 {
			t.Errorf("no draw answers %q: the generator is too narrow", stage)
		}
	}
}

// readBy reports whether one of the policies has a condition on a claim.
func readBy(policies []*agentidp.TrustPolicy, name string) bool {
	return slices.ContainsFunc(policies, func(p *agentidp.TrustPolicy) bool {
		_, claim := p.Claims[name]
		return claim || strings.Contains(p.Condition, "claims."+name)
	})
}
