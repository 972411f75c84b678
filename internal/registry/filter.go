package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

const notAnID = "is not an id; give the UUID in lower case"

// CheckPolicyFilter returns what is wrong with a filter: one error for every bad
// field. A value that no policy can have is refused: an empty list would say that
// there are no policies.
func (r *Registry) CheckPolicyFilter(ctx context.Context, org *agentidp.Organization, f agentidp.PolicyFilter) (bad []agentidp.FieldError, err error) {
	refuse := func(field, reason string) {
		bad = append(bad, agentidp.FieldError{Field: field, Reason: reason})
	}
	if f.Provider != "" {
		kind, err := r.kind(ctx, org.ID, f.Provider)
		if err != nil {
			return nil, err
		}
		if kind == nil {
			refuse("provider", "names no provider of this organization; github is built in, in lower case")
		}
	}
	if f.Repository != "" {
		if problem := policy.RepositoryProblem(f.Repository); problem != "" {
			refuse("repository", problem)
		}
	}
	if f.AgentID != "" && !agentidp.IsID(f.AgentID) {
		refuse("agentId", notAnID)
	}
	bad = append(bad, among("grants", f.Grants, agentidp.PrincipalAgent, agentidp.PrincipalBootstrap)...)
	return append(bad, among("mode", f.Mode, agentidp.ModeEnforce, agentidp.ModeDisabled)...), nil
}

// CheckAgentFilter is CheckPolicyFilter for agents.
func CheckAgentFilter(f agentidp.AgentFilter) []agentidp.FieldError {
	bad := among("status", f.Status, agentidp.AgentActive, agentidp.AgentSuspended, agentidp.AgentDecommissioned)
	if f.Name != "" && !isAgentName(f.Name) {
		bad = append(bad, agentidp.FieldError{Field: "name", Reason: "must be a whole name, such as deployer@ci.acme.example"})
	}
	if f.RegisteredByPolicyID != "" && !agentidp.IsID(f.RegisteredByPolicyID) {
		bad = append(bad, agentidp.FieldError{Field: "registeredByPolicyId", Reason: notAnID})
	}
	return bad
}

func among[T ~string](field string, value T, all ...T) []agentidp.FieldError {
	if value == "" || slices.Contains(all, value) {
		return nil
	}
	return []agentidp.FieldError{{Field: field, Reason: fmt.Sprintf("must be one of %v", all)}}
}

func checkList(bad []agentidp.FieldError, page *agentidp.Page) error {
	if len(bad) > 0 {
		return agentidp.InvalidFields(bad...)
	}
	return page.Check()
}
