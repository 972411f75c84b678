package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

type explainBody struct{ Body agentidp.ExplainRequest }

type explainAnswer struct{ Body *agentidp.Explanation }

func (a *API) registerExplain() {
	register(a, operation{
		id: "explainExchange", method: http.MethodPost, path: "/api/v1/oidc/explain", tag: "Trust policies", scope: agentidp.ScopePoliciesRead,
		summary: "Explain an exchange",
		description: "How an exchange of these claims, or of this token, would be decided now, by the same comparisons. Nothing is issued, recorded, counted or used up. " +
			"The answer is 200 whether it would be granted or refused, allowed says which; what the exchange would refuse for the form of agentId, scope or audience is 400 here, too.",
		body: reflect.TypeFor[agentidp.ExplainRequest](), failures: []int{413, 415},
	}, a.explain)
}

func (a *API) explain(ctx context.Context, _ *registry.Caller, in *explainBody) (*explainAnswer, error) {
	e, err := a.Exchanger.Explain(ctx, registry.OrganizationFrom(ctx), &in.Body)
	if err != nil {
		return nil, err
	}
	return &explainAnswer{e}, nil
}
