package api

import (
	"context"
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

type refusalsAnswer struct{ Body *agentidp.Refusals }

func (a *API) registerRefusals() {
	register(a, operation{
		id: "listRefusals", method: http.MethodGet, path: "/api/v1/oidc/refusals", tag: "Audit", scope: agentidp.ScopeAuditRead,
		summary:     "List refusals without a record",
		description: "Subject tokens that left no decision: refused before their signature was proven, or beyond the rate at which refusals are recorded. Each node of the server counts for itself, in memory, from its start; all that it counted, and a sample of the latest.",
	}, a.listRefusals)
}

func (a *API) listRefusals(ctx context.Context, _ *registry.Caller, _ *struct{}) (*refusalsAnswer, error) {
	return &refusalsAnswer{a.Exchanger.Refusals().Of(registry.OrganizationFrom(ctx).ID)}, nil
}
