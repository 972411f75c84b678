package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// cluster is an issuer that nothing is known about but its keys, registered as a
// provider of kind oidc.
type cluster struct {
	w      *world
	name   string
	issuer string
	key    *ecdsa.PrivateKey
}

func newCluster(w *world, name string) *cluster {
	w.t.Helper()
	c := &cluster{w: w, name: name, issuer: "https://" + name + ".example", key: newECKey(w.t, elliptic.P256())}
	now := w.clock.Now()
	p := &agentidp.Provider{
		ID: agentidp.NewID(now), OrganizationID: w.org().ID, Name: name, Kind: "oidc", Issuer: c.issuer, Algorithms: []string{"ES256"},
		JWKS: []byte(keySet(jwk(c.key.Public(), "k1", nil))), MaxTokenAge: time.Hour, Replay: agentidp.ReplayReject, Revision: 1, CreatedAt: now,
	}
	if err := w.app.db.Write(w.t.Context(), func(tx *store.Tx) error { return tx.CreateProvider(w.t.Context(), p) }); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// token returns a subject token without jti. A claim that is nil is left out.
func (c *cluster) token(subject string, more claims) string {
	c.w.t.Helper()
	now := c.w.clock.Now()
	all := claims{"iss": c.issuer, "aud": c.w.org().Issuer, "sub": subject, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"at": now.UnixNano()} // so that no two are the same
	for name, value := range more {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return compact(header("ES256", "k1"), string(payload), es256(c.key))
}

// policy creates a policy of the provider.
func (c *cluster) policy(conditions map[string]any, fields map[string]any) *answer {
	c.w.t.Helper()
	body := map[string]any{"provider": c.name, "claims": conditions}
	for name, value := range fields {
		body[name] = value
	}
	return c.w.want(c.w.do("POST", policiesPath, c.w.admin(), body), http.StatusCreated)
}

// callers without a repository are told apart by their subject, at every
// node; none of them ever meets a policy for a repository, nor the other way round.
func TestWorkloadsAreToldApart(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(_ *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		one, other := newCluster(w, "cluster"), newCluster(w, "other")
		agent := w.register(admin, agentName, "deploy:staging")
		one.policy(map[string]any{"sub": "build"}, map[string]any{"agentId": agent})
		one.policy(map[string]any{"sub": []string{"build", "test"}}, nil)
		other.policy(map[string]any{"sub": "build"}, nil)
		w.policy(admin, map[string]any{"branch": "main"})

		const violation, taken = agentidp.CodeTrustPolicyViolation, agentidp.CodeAgentNameTaken
		for _, node := range nodes {
			for i, r := range []struct{ token, agent, code string }{
				{one.token("build", nil), agent, ""},
				{one.token("test", nil), agent, violation},
				{other.token("build", nil), agent, violation},
				{one.token("", claims{"sub": nil}), agent, violation},
				{one.token("x", claims{"repository": repository, "repository_id": "74", "repository_owner_id": "65", "ref": "refs/heads/main", "ref_type": "branch", "event_name": "push"}), "", violation},
				{w.subject(claims{"sub": "build"}), agent, violation},
				{w.subject(claims{"sub": "build"}), "", ""},
				{one.token("build", claims{"repository": repository}), "", ""},
			} {
				if a := node.outcome(exchangeBody(r.token, r.agent), r.code, ""); a == nil {
					w.t.Errorf("%d: no answer", i)
				}
			}
		}

		// Each registers agents of its own, and gets only its own again.
		for i, node := range nodes {
			name := fmt.Sprintf("a%d@ci.acme.example", i)
			register := func(token string) *answer {
				bearer := node.granted(exchangeBody(token, "")).str("access_token")
				return node.do("POST", agentsPath, bearer, map[string]any{"name": name})
			}
			first := node.want(register(one.token("build", nil)), http.StatusCreated)
			if again := node.want(register(one.token("build", nil)), http.StatusOK); again.str("agentId") != first.str("agentId") {
				w.t.Errorf("another agent: %s", again.Raw)
			}
			node.want(register(one.token("test", nil)), http.StatusConflict, taken)
			node.want(register(other.token("build", nil)), http.StatusConflict, taken)
			node.want(register(w.subject(nil)), http.StatusConflict, taken)
		}
	})
}

// A policy that was narrowed or deleted grants nothing to what was granted before, at
// any node: the candidates that all workloads share are remembered like any others.
func TestNoWindowForWorkloads(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(_ *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		c := newCluster(w, "cluster")
		agent := w.register(admin, agentName)
		p := c.policy(map[string]any{"sub": "build"}, map[string]any{"agentId": agent})
		at := policiesPath + "/" + p.str("id")
		all := func(code string) {
			w.t.Helper()
			for _, node := range nodes {
				node.outcome(exchangeBody(c.token("build", claims{"team": "ops"}), agent), code, "")
			}
		}
		all("")
		narrowed := map[string]any{"provider": "cluster", "agentId": agent, "claims": map[string]any{"sub": "build", "team": "dev"}}
		w.want(w.do("PUT", at, admin, narrowed, "If-Match", `"1"`), http.StatusOK)
		all(agentidp.CodeConditionNotMet)
		narrowed["claims"] = map[string]any{"sub": "build", "team": []string{"dev", "ops"}}
		w.want(w.do("PUT", at, admin, narrowed, "If-Match", `"2"`), http.StatusOK)
		all("")
		w.want(w.do("DELETE", at, admin, nil), http.StatusNoContent)
		all(agentidp.CodeTrustPolicyViolation)
	})
}

// All callers of such a provider are held against all of its policies, so there is an
// end to them; also for those that come with an agent.
func TestPoliciesWithoutARepositoryAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	c, other := newCluster(w, "cluster"), newCluster(w, "other")
	c.policy(map[string]any{"sub": "build"}, map[string]any{"trustRegisteredAgents": true})
	w.morePolicies(998, func(i int, p *agentidp.TrustPolicy) {
		p.Provider, p.Claims = "cluster", agentidp.ClaimConditions{"sub": {fmt.Sprint("x", i)}}
	})
	bearer := w.granted(exchangeBody(c.token("build", nil), "")).str("access_token")
	w.want(w.do("POST", agentsPath, bearer, map[string]any{"name": "first@ci.acme.example"}), http.StatusCreated)
	const full = agentidp.CodePolicyLimitReached
	w.want(w.do("POST", agentsPath, bearer, map[string]any{"name": "second@ci.acme.example"}), http.StatusConflict, full)
	body := map[string]any{"provider": "cluster", "claims": map[string]any{"sub": "one more"}}
	a := w.want(w.do("POST", policiesPath, admin, body), http.StatusConflict, full)
	if !strings.Contains(a.str("detail"), "Provider cluster has 1000 trust policies without a repository already") {
		t.Errorf("%s", a.Raw)
	}
	w.policy(admin, nil)
	other.policy(map[string]any{"sub": "one more"}, nil)
	w.granted(exchangeBody(c.token("build", nil), ""))
	w.outcome(exchangeBody(c.token("stranger", nil), ""), agentidp.CodeTrustPolicyViolation, "")
}

// morePolicies writes policies as nobody creates them by hand, some hundred at a time:
// what writes must not take longer than the server waits.
func (w *world) morePolicies(n int, each func(i int, p *agentidp.TrustPolicy)) {
	w.t.Helper()
	org := w.org().ID
	const most = 500
	for from := 0; from < n; from += most {
		err := w.app.db.Write(w.t.Context(), func(tx *store.Tx) error {
			for i := from; i < min(from+most, n); i++ {
				p := &agentidp.TrustPolicy{ID: agentidp.NewID(w.clock.Now()), OrganizationID: org, CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(), Revision: 1}
				p.Mode = agentidp.ModeEnforce
				each(i, p)
				if err := tx.CreatePolicy(w.t.Context(), p, p.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// A repository has room for many policies, and for no more than an exchange can look at.
func TestPoliciesOfARepositoryAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, map[string]any{"branch": "main", "trustRegisteredAgents": true})
	bearer := w.granted(exchangeBody(w.subject(nil), "")).str("access_token")
	w.morePolicies(9998, func(i int, p *agentidp.TrustPolicy) {
		p.Provider, p.Repository, p.Branch = "github", "ACME/deploy", fmt.Sprint("b", i)
	})
	w.want(w.do("POST", agentsPath, bearer, map[string]any{"name": "first@ci.acme.example"}), http.StatusCreated)
	const full = agentidp.CodePolicyLimitReached
	w.want(w.do("POST", agentsPath, bearer, map[string]any{"name": "second@ci.acme.example"}), http.StatusConflict, full)
	a := w.want(w.do("POST", policiesPath, admin, map[string]any{"provider": "github", "repository": "acme/Deploy"}), http.StatusConflict, full)
	if !strings.Contains(a.str("detail"), "The repository acme/Deploy has 10000 trust policies already") {
		t.Errorf("%s", a.Raw)
	}
	w.policy(admin, map[string]any{"repository": "acme/other"})
	if detectsRaces { // which is slower than the ten seconds that a request may take, on a busy machine
		return
	}
	w.granted(exchangeBody(w.subject(nil), ""))
	w.outcome(exchangeBody(w.subject(claims{"ref": "refs/heads/b10000"}), ""), agentidp.CodeBranchNotPermitted, "")
}

// Refused workloads are limited one by one: one that is refused all the time does not
// take the others' reasons from them.
func TestRefusedWorkloadsAreLimitedOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RefusalsPerMinute = 2 })
	w.clock.freeze()
	c := newCluster(w, "cluster")
	for i, want := range []int{403, 403, 429} {
		if a := w.exchange(exchangeBody(c.token("noisy", claims{"at": i}), "")); a.Status != want {
			t.Fatalf("%d: %d %s", i, a.Status, a.Raw)
		}
	}
	w.want(w.exchange(exchangeBody(c.token("quiet", nil), "")), 403, agentidp.CodeTrustPolicyViolation)
}

// the traps of GitLab, which has no kind of its own. The policy is what
// docs/trust-policies.md says for it, and the job's own project beside it.
func TestGitLabAsAnyIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gitlab := newCluster(w, "gitlab")
	agent := w.register(w.admin(), agentName)
	const sub, denied = "project_path:acme/deploy:ref_type:branch:ref:main", agentidp.CodeConditionNotMet
	gitlab.policy(map[string]any{"sub": sub, "project_id": "74", "job_project_id": "74", "ref_protected": "true"}, map[string]any{"agentId": agent})
	run := func(changes claims) claims {
		all := claims{"project_id": "74", "job_project_id": "74", "ref_protected": "true", "ref_type": "branch", "ref": "main", "runner_id": 1, "jti": agentidp.NewID(time.Now())}
		for name, value := range changes {
			all[name] = value
		}
		return all
	}
	for _, r := range []struct {
		name, sub string
		claims    claims
		code      string
	}{
		{"a push to main", sub, nil, ""},
		{"numbers as JSON has them", sub, claims{"project_id": 74, "job_project_id": 74, "ref_protected": true}, ""},
		{"another project that took the path", sub, claims{"project_id": "75", "job_project_id": "75"}, denied},
		{"a fork's merge request that says the target project", sub, claims{"job_project_id": "75"}, denied},
		{"a fork's merge request that says the fork", sub, claims{"project_id": "75"}, denied},
		{"a job that does not say its project", sub, claims{"job_project_id": nil}, denied},
		{"a branch that is not protected", sub, claims{"ref_protected": "false"}, denied},
		{"the path in another case", "project_path:Acme/deploy:ref_type:branch:ref:main", nil, agentidp.CodeTrustPolicyViolation},
		{"a tag of the branch's name", "project_path:acme/deploy:ref_type:tag:ref:main", claims{"ref_type": "tag"}, agentidp.CodeTrustPolicyViolation},
		{"another branch", "project_path:acme/deploy:ref_type:branch:ref:main2", claims{"ref": "main2"}, agentidp.CodeTrustPolicyViolation},
	} {
		t.Run("A-140 "+r.name, func(t *testing.T) {
			w.in(t).outcome(exchangeBody(gitlab.token(r.sub, run(r.claims)), agent), r.code, "")
		})
	}
	for name, fields := range map[string]map[string]any{
		"the claims have": {"claims": map[string]any{"sub": sub, "user_login": "octocat"}},
		"reads the claim": {"claims": map[string]any{"sub": sub}, "condition": `claims.user_access_level == "owner"`},
	} {
		t.Run("A-140 a policy on who started the pipeline: "+name, func(t *testing.T) {
			fields["provider"] = "gitlab"
			a := w.in(t).want(w.do("POST", policiesPath, w.admin(), fields), http.StatusCreated)
			if said := strings.ToLower(string(a.Raw)); !strings.Contains(said, `"code":"unsafe_claim"`) || !strings.Contains(said, name) || a.str("grade") != "C" {
				t.Errorf("no warning, or a grade for it: %s", a.Raw)
			}
		})
	}
}

// conditions on what else GitHub's tokens say.
func TestConditionsOnFurtherClaims(t *testing.T) {
	t.Parallel()
	const denied = agentidp.CodeConditionNotMet
	w := newWorld(t)
	admin := w.admin()
	with := func(name string, conditions map[string]any) string {
		agent := w.register(admin, name+"@ci.acme.example")
		w.policy(admin, map[string]any{"agentId": agent, "claims": conditions})
		return agent
	}
	hosted := with("hosted", map[string]any{"runner_environment": "github-hosted"})
	private := with("private", map[string]any{"repository_visibility": []string{"private", "internal"}})
	protected := with("protected", map[string]any{"ref_protected": "true"})
	workflow := with("workflow", map[string]any{"job_workflow_ref": "org/wf/.github/workflows/d.yml@refs/heads/main"})
	prod := with("prod", map[string]any{"environment": "prod"})
	w.try([]trial{
		{"A-138 a runner of GitHub", hosted, claims{"runner_environment": "github-hosted"}, "", ""},
		{"A-138 a runner of one's own", hosted, claims{"runner_environment": "self-hosted"}, denied, ""},
		{"A-138 another case", hosted, claims{"runner_environment": "GitHub-Hosted"}, denied, ""},
		{"A-138 a name in another case", hosted, claims{"runner_environment": nil, "Runner_Environment": "github-hosted"}, denied, ""},
		{"A-138 a list that has it", hosted, claims{"runner_environment": []string{"github-hosted"}}, denied, ""},
		{"A-138 an object that has it", hosted, claims{"runner_environment": claims{"github-hosted": true}}, denied, ""},
		{"A-138 a star", hosted, claims{"runner_environment": "*"}, denied, ""},
		{"A-139 private", private, claims{"repository_visibility": "private"}, "", ""},
		{"A-139 internal", private, claims{"repository_visibility": "internal"}, "", ""},
		{"A-139 made public", private, claims{"repository_visibility": "public"}, denied, ""},
		{"A-139 protected, as GitHub says it", protected, claims{"ref_protected": "true"}, "", ""},
		{"A-139 protected, as JSON says it", protected, claims{"ref_protected": true}, "", ""},
		{"A-139 not protected", protected, claims{"ref_protected": "false"}, denied, ""},
		{"A-139 not protected, as JSON says it", protected, claims{"ref_protected": false}, denied, ""},
		{"A-139 protected as a number", protected, claims{"ref_protected": 1}, denied, ""},
		{"A-139 protected in capitals", protected, claims{"ref_protected": "True"}, denied, ""},
		{"A-130 the environment", prod, claims{"environment": "prod"}, "", ""},
		{"A-130 no environment", prod, nil, denied, ""},
		{"A-131 another case", prod, claims{"environment": "Prod"}, denied, ""},
		{"A-131 with a ref", prod, claims{"environment": "prod:ref:refs/heads/main"}, denied, ""},
		{"A-131 with an escaped ref", prod, claims{"environment": "prod%3Aref"}, denied, ""},
		{"A-131 a star", prod, claims{"environment": "*"}, denied, ""},
		{"A-132 the workflow", workflow, claims{"job_workflow_ref": "org/wf/.github/workflows/d.yml@refs/heads/main"}, "", ""},
		{"A-132 its other branch", workflow, claims{"job_workflow_ref": "org/wf/.github/workflows/d.yml@refs/heads/evil"}, denied, ""},
		{"A-132 a tag of its branch's name", workflow, claims{"job_workflow_ref": "org/wf/.github/workflows/d.yml@refs/tags/main"}, denied, ""},
		{"A-132 a commit", workflow, claims{"job_workflow_ref": "org/wf/.github/workflows/d.yml@0123456789012345678901234567890123456789"}, denied, ""},
		{"A-132 another owner's", workflow, claims{"job_workflow_ref": "orgX/wf/.github/workflows/d.yml@refs/heads/main"}, denied, ""},
		{"A-132 a file that is called like it", workflow, claims{"job_workflow_ref": "org/wf/.github/workflows/d.yml@x.yml@refs/heads/main"}, denied, ""},
		{"A-132 a workflow that is not reused", workflow, claims{"job_workflow_ref": nil, "workflow_ref": "org/wf/.github/workflows/d.yml@refs/heads/main"}, agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
	})
	a := w.refused(exchangeBody(w.subject(claims{"runner_environment": "self-hosted"}), hosted), 403, denied)
	if strings.Contains(string(a.Raw), "github-hosted") || !strings.Contains(string(a.Raw), `"claims":{"runner_environment":"self-hosted"}`) {
		t.Errorf("the caller reads more or less than its own claims: %s", a.Raw)
	}
	var got []string
	d := w.decision(a.str("decision_id"))
	for _, c := range d.Checks {
		if c.PolicyID == d.PolicyID && c.Check == "claims" {
			got = append(got, c.Claim, c.Expected, c.Got, fmt.Sprint(c.OK))
		}
	}
	if strings.Join(got, " ") != "runner_environment github-hosted self-hosted false" {
		t.Errorf("administrators read %q", got)
	}
}
