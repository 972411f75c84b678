package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/registry"
)

const decisionsPath = "/api/v1/oidc/decisions"

type decisionsQuery struct {
	Page
	agentidp.DecisionFilter
}

// Resolve adds what the filter finds wrong to what the schema did, so that one
// answer names every bad parameter.
func (q *decisionsQuery) Resolve(hc huma.Context) []error {
	return append(q.Page.Resolve(hc), found("query", audit.CheckDecisions(q.DecisionFilter))...)
}

type decisionPath struct {
	ID string `path:"id" maxLength:"64" doc:"The decision's id: decision_id of the exchange's answer."`
}

type decisionAnswer struct{ Body *agentidp.Decision }

func (a *API) registerDecisions() {
	const tag = "Audit"
	register(a, operation{
		id: "listDecisions", method: http.MethodGet, path: decisionsPath, tag: tag, scope: agentidp.ScopeAuditRead,
		summary:     "List decisions",
		description: "What was decided about exchanges whose subject token was authentic; the newest first, in pages, without their checks. Filters combine: a decision is listed where all of them hold.",
		parameters:  []*huma.Param{oneOf("code", "Why it was denied.", agentidp.DecisionCodes)},
	}, a.listDecisions)
	register(a, operation{
		id: "getDecision", method: http.MethodGet, path: decisionsPath + "/{id}", tag: tag, scope: agentidp.ScopeAuditRead,
		summary: "Read a decision", description: "With each comparison that led to it: what the policy expected, and what the token said.", failures: []int{404},
	}, a.getDecision)
}

func (a *API) listDecisions(ctx context.Context, _ *registry.Caller, in *decisionsQuery) (*listAnswer[agentidp.Decision], error) {
	return answerList(a.Audit.Decisions(ctx, registry.OrganizationFrom(ctx), in.DecisionFilter, in.page()))
}

func (a *API) getDecision(ctx context.Context, _ *registry.Caller, in *decisionPath) (*decisionAnswer, error) {
	d, err := a.Audit.Decision(ctx, registry.OrganizationFrom(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &decisionAnswer{d}, nil
}
