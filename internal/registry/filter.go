package registry

import (
	"context"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// CheckPolicyFilter returns what is wrong with a filter: one error for every bad
// field. A value that no policy can have is refused, a repository by the rule by which
// policies are: an empty list would say that there are no policies.
func (r *Registry) CheckPolicyFilter(ctx context.Context, org *agentidp.Organization, f agentidp.PolicyFilter) (bad agentidp.FieldErrors, err error) {
	if f.Provider != "" {
		kind, err := r.kind(ctx, org.ID, f.Provider)
		if err != nil {
			return nil, err
		}
		if kind == nil {
			bad.Refuse("provider", "names no provider of this organization; GET /api/v1/oidc/providers lists them")
		}
	}
	if f.Repository != "" {
		if problem := policy.RepositoryProblem(f.Repository); problem != "" {
			bad.Refuse("repository", problem)
		}
	}
	bad.ID("agentId", f.AgentID)
	agentidp.OneOf(&bad, "grants", f.Grants, agentidp.PrincipalAgent, agentidp.PrincipalBootstrap)
	agentidp.OneOf(&bad, "mode", f.Mode, agentidp.ModeEnforce, agentidp.ModeShadow, agentidp.ModeDisabled)
	return bad, nil
}

// CheckAgentFilter is CheckPolicyFilter for agents.
func CheckAgentFilter(f agentidp.AgentFilter) agentidp.FieldErrors {
	var bad agentidp.FieldErrors
	agentidp.OneOf(&bad, "status", f.Status, agentidp.AgentActive, agentidp.AgentSuspended, agentidp.AgentDecommissioned)
	if f.Name != "" && !isAgentName(f.Name) {
		bad.Refuse("name", "must be a whole name, such as deployer@ci.acme.example")
	}
	bad.ID("registeredByPolicyId", f.RegisteredByPolicyID)
	return bad
}
