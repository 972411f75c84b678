package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// whatever refuses an exchange, the answer at every door has the caller's
// own claims, and nothing that a policy says: the one that answers, another of the
// repository, of another repository, provider, agent or organization, one that is
// disabled, expired or in shadow mode.
func TestNoRefusalShowsWhatAPolicySays(t *testing.T) {
	t.Parallel()
	s := newSilence(t)
	agent, suspended := s.agents[0], s.agents[2]
	const notMet = agentidp.CodeConditionNotMet
	ids, ref := []string{"repository", "repository_id", "repository_owner_id"}, []string{"ref", "ref_type"}
	denials := []denial{
		{name: "no policy is for the run", agent: agent, code: agentidp.CodeTrustPolicyViolation, reads: ids},
		{name: "no policy is for this agent, which is none", agent: "00000000-0000-7000-8000-000000000000", code: agentidp.CodeTrustPolicyViolation, reads: ids},
		{name: "no policy is for registering agents", code: agentidp.CodeTrustPolicyViolation, reads: ids},
		{name: "the repository was another", check: "pinned_repository_id", agent: agent, pinned: claims{"repository_id": s.m.id(), "repository_owner_id": s.m.id()}, code: agentidp.CodeRepositoryIdentityChanged, reads: ids},
		{name: "the repository was another's", check: "pinned_repository_owner_id", agent: agent, pinned: claims{"repository_owner_id": s.m.id()}, code: agentidp.CodeRepositoryIdentityChanged, reads: ids},
		{name: "the repository's id", check: "repository_id", agent: agent, code: agentidp.CodeRepositoryIdentityChanged, reads: ids},
		{name: "its owner's id", check: "repository_owner_id", code: agentidp.CodeRepositoryIdentityChanged, reads: ids},
		{name: "the agent is suspended", check: "agent_status", agent: suspended, code: agentidp.CodeAgentNotActive},
		{name: "the event", check: "event", agent: agent, code: agentidp.CodeEventNotPermitted, reads: []string{"event"}},
		{name: "an outsider's event", check: "event", run: claims{"event_name": "pull_request_target"}, code: agentidp.CodeEventNotPermitted, reads: []string{"event"}},
		{name: "no event", check: "event", run: claims{"event_name": ""}, code: agentidp.CodeEventNotPermitted},
		{name: "the branch", check: "ref", agent: agent, code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "the branch, of a bootstrap policy", check: "ref", code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "a tag, where it is a branch", check: "ref_type", agent: agent, changes: map[string]any{"branch": "main"}, run: claims{"ref": "refs/tags/v1", "ref_type": "tag"}, code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "another tag", check: "ref", agent: agent, changes: map[string]any{"branch": nil, "tag": s.m.text() + "*"}, run: claims{"ref": "refs/tags/v1", "ref_type": "tag"}, code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "a pull request", check: "ref", agent: agent, run: claims{"ref": "refs/pull/7/merge"}, code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "a merge queue", check: "ref", agent: agent, run: claims{"ref": "refs/heads/gh-readonly-queue/main/pr-7"}, code: agentidp.CodeBranchNotPermitted, reads: ref},
		{name: "the environment", check: "environment", agent: agent, code: notMet, reads: []string{"environment"}},
		{name: "no environment", check: "environment", run: claims{"environment": ""}, code: notMet},
		{name: "the workflow", check: "workflow", agent: agent, code: notMet, reads: []string{"job_workflow_ref"}},
		{name: "a workflow elsewhere", check: "workflow", agent: agent, code: notMet, reads: []string{"job_workflow_ref"},
			changes: map[string]any{"workflow": s.m.text() + "/" + s.m.text() + "/.github/workflows/" + s.m.text() + ".yml@refs/heads/" + s.m.text()}},
		{name: "claims", check: "claims", agent: agent, code: notMet, reads: []string{"runner_environment", "repository_visibility"}},
		{name: "one claim of two", check: "claims", code: notMet, reads: []string{"repository_visibility"},
			changes: map[string]any{"claims": map[string]any{"runner_environment": "github-*", "repository_visibility": []string{s.m.text(), s.m.text() + "*"}}}},
		{name: "an expression", check: "condition", agent: agent, code: notMet, reads: []string{"actor", "ref"}},
		{name: "an expression that cannot be evaluated", check: "condition", agent: agent, run: claims{"base_ref": ""}, code: notMet, reads: []string{"base_ref", "ref"},
			changes: map[string]any{"condition": fmt.Sprintf("claims[%q] == %q || claims.ref == %q && int(claims.ref) > 0", "base_ref", s.m.text(), "refs/heads/main")}},
		{name: "a scope", check: "scope", agent: agent, asks: map[string]any{"scope": "deploy:staging"}, code: agentidp.CodeInvalidScope},
		{name: "a scope of a bootstrap token", check: "scope", asks: map[string]any{"scope": "deploy:staging"}, code: agentidp.CodeInvalidScope},
		{name: "an audience", check: "audience", agent: agent, asks: map[string]any{"audience": "https://deploy.example"}, code: agentidp.CodeInvalidTarget},
		{name: "an audience of a bootstrap token", check: "audience", asks: map[string]any{"audience": "https://deploy.example"}, code: agentidp.CodeInvalidTarget},
	}
	for i := range denials {
		t.Run(denials[i].name, func(t *testing.T) { s.in(t).deny(i, &denials[i]) })
	}
	s.denyWorkloads()

	s.allMarked(s.policies())
	// A check that no policy fails here is one that is not looked at. The provider's
	// candidates are those of its provider and of the caller's repository.
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(s.seen)), func(name string) bool {
		return s.seen[name] || slices.Contains([]string{"provider", "repository", "more_policies"}, name)
	})
	if len(missing) > 0 {
		t.Errorf("nothing is refused here by %s", strings.Join(missing, ", "))
	}
}

// denyWorkloads is deny for callers that no repository tells apart.
func (s *silence) denyWorkloads() {
	for i, d := range []struct {
		denial
		said map[string]any
	}{
		{denial{name: "another workload", code: agentidp.CodeTrustPolicyViolation, reads: []string{"sub"}}, map[string]any{"claims": map[string]any{"sub": []string{s.m.text(), s.m.text()}}}},
		{denial{name: "a workload's claims", check: "claims", code: agentidp.CodeConditionNotMet, reads: []string{"team"}},
			map[string]any{"claims": map[string]any{"sub": []string{"build", s.m.text()}, "team": []string{s.m.text(), s.m.text() + "*"}}}},
		{denial{name: "a workload's expression", check: "condition", code: agentidp.CodeConditionNotMet, reads: []string{"team"}},
			map[string]any{"claims": map[string]any{"sub": "build"}, "condition": fmt.Sprintf("claims.team == %q", s.m.text())}},
	} {
		s.t.Run(d.name, func(t *testing.T) {
			s := s.in(t)
			d.agent = s.agents[0]
			cluster := newCluster(s.world, fmt.Sprintf("cluster%d", i))
			about := map[string]any{"provider": cluster.name, "repository": nil, "agentId": d.agent, "description": s.m.text(), "audiences": []string{"https://" + s.m.text() + ".example"}}
			maps.Copy(about, d.said)
			s.policy(s.admin, about)
			maps.Copy(about, map[string]any{"mode": "shadow", "claims": map[string]any{"sub": "build"}})
			s.policy(s.admin, about)
			run := claims{"team": "ops"}
			token := func() string { return cluster.token("build", run) }
			s.silent(&d.denial, claims{"team": "ops", "sub": "build"}, token)
		})
	}
}
