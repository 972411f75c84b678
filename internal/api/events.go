package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/registry"
)

const eventsPath = "/api/v1/audit/events"

type eventsQuery struct {
	Page
	agentidp.EventFilter
}

// Resolve is that of decisionsQuery.
func (q *eventsQuery) Resolve(hc huma.Context) []error {
	return append(q.Page.Resolve(hc), found("query", audit.CheckEvents(q.EventFilter))...)
}

func (a *API) registerEvents() {
	register(a, operation{
		id: "listEvents", method: http.MethodGet, path: eventsPath, tag: "Audit", scope: agentidp.ScopeAuditRead,
		summary:     "List events",
		description: "Every change, every token issued and every recorded refusal; the newest first, in pages. Filters combine: an event is listed where all of them hold.",
		parameters: []*huma.Param{
			oneOf("code", "Why an exchange was denied.", agentidp.DecisionCodes),
			oneOf("type", "What happened.", agentidp.EventTypes),
		},
	}, a.listEvents)
}

func (a *API) listEvents(ctx context.Context, _ *registry.Caller, in *eventsQuery) (*listAnswer[agentidp.Event], error) {
	return answerList(a.Audit.Events(ctx, registry.OrganizationFrom(ctx), in.EventFilter, in.page()))
}
