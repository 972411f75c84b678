package registry

import (
	"context"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// LintPolicy says what a trust policy would be if it were created now, and how strong.
// It is held against all that CreatePolicy holds it against, except the caller's own
// authority and the policies that there are: whoever wants to change one may ask about
// what it would become. Nothing is written. Errors: Invalid, Conflict (pin_conflict,
// agent_decommissioned), Unavailable.
func (r *Registry) LintPolicy(ctx context.Context, org *agentidp.Organization, spec agentidp.TrustPolicySpec) (*agentidp.PolicyDraft, error) {
	kind, err := r.validPolicy(ctx, org, &spec)
	if err != nil {
		return nil, err
	}
	now := r.Clock()
	p := &agentidp.TrustPolicy{OrganizationID: org.ID, TrustPolicySpec: spec, CreatedAt: now, UpdatedAt: now}
	if err := r.checkDraft(ctx, p); err != nil {
		return nil, err
	}
	return &agentidp.PolicyDraft{TrustPolicySpec: spec, PolicyAssessment: policy.Assess(p, kind, now)}, nil
}
