package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

type policyBacktest struct {
	PolicyPath
	Body    *agentidp.BacktestRequest
	RawBody []byte
}

// Resolve is that of policyBody, for the draft. A draft that is null is none, and whoever
// sends it means one: to ask about the stored policy it is left out.
func (b *policyBacktest) Resolve(hc huma.Context) []error {
	var drafted struct{ Policy json.RawMessage }
	if json.Unmarshal(b.RawBody, &drafted) == nil && string(drafted.Policy) == "null" {
		return []error{&huma.ErrorDetail{Location: "body.policy", Message: "is null. Leave it out to ask about the policy as it is stored."}}
	}
	return resolveDraft(hc, b.RawBody)
}

// draftBacktest is a agentidp.BacktestRequest that has a draft.
type draftBacktest struct {
	Policy agentidp.TrustPolicySpec `json:"policy" doc:"A draft."`
	Limit  int                      `json:"limit,omitempty" minimum:"1" maximum:"5000" doc:"How many exchanges to replay, the newest first. Default 1000."`
	Since  time.Time                `json:"since,omitzero" doc:"At this instant or later."`
}

type draftBacktestBody struct {
	Body    draftBacktest
	RawBody []byte
}

// Resolve is that of policyBody, for the draft.
func (b *draftBacktestBody) Resolve(hc huma.Context) []error { return resolveDraft(hc, b.RawBody) }

// resolveDraft is resolvePolicy for the member policy of a body.
func resolveDraft(hc huma.Context, body []byte) []error {
	var drafted struct{ Policy json.RawMessage }
	if json.Unmarshal(body, &drafted) != nil || len(drafted.Policy) == 0 || drafted.Policy[0] != '{' {
		return nil // the schema says what is wrong with it, or there is none
	}
	errs := resolvePolicy(hc, drafted.Policy)
	for _, err := range errs {
		if d, ok := err.(*huma.ErrorDetail); ok { //nolint:errorlint // found makes them, and wraps none
			d.Location = "body.policy." + d.Location[len("body."):]
		}
	}
	return errs
}

type backtestAnswer struct{ Body *agentidp.Backtest }

func (a *API) registerBacktests() {
	const tag = "Trust policies"
	const replayed = "The exchanges of the past whose claims are kept (AGENTIDP_KEEP_CLAIMS) are decided again, with policies as they are now and with this one changed. Nothing is saved. Examples of exchanges are shown, so audit:read is needed besides policies:read."
	register(a, operation{
		id: "backtestTrustPolicy", method: http.MethodPost, path: policiesPath + "/{id}/backtest", tag: tag,
		scope: agentidp.ScopePoliciesRead, alsoScope: agentidp.ScopeAuditRead,
		summary:     "What a change of a trust policy would have done",
		description: replayed + " The draft takes the place of the policy; without one, the policy is taken as though its mode were enforce.",
		body:        reflect.TypeFor[agentidp.BacktestRequest](), bodyOptional: true,
		failures: []int{404, 409, 413, 415},
	}, a.backtestPolicy)
	register(a, operation{
		id: "backtestTrustPolicyDraft", method: http.MethodPost, path: policiesPath + "/backtest", tag: tag,
		scope: agentidp.ScopePoliciesRead, alsoScope: agentidp.ScopeAuditRead,
		summary:     "What a new trust policy would have done",
		description: replayed + " The draft stands beside the policies that there are.",
		body:        reflect.TypeFor[draftBacktest](),
		failures:    []int{409, 413, 415},
	}, a.backtestDraft)
}

func (a *API) backtestPolicy(ctx context.Context, _ *registry.Caller, in *policyBacktest) (*backtestAnswer, error) {
	if in.Body == nil {
		in.Body = &agentidp.BacktestRequest{}
	}
	return a.backtest(ctx, in.ID, in.Body)
}

func (a *API) backtestDraft(ctx context.Context, _ *registry.Caller, in *draftBacktestBody) (*backtestAnswer, error) {
	return a.backtest(ctx, "", &agentidp.BacktestRequest{Policy: &in.Body.Policy, Limit: in.Body.Limit, Since: in.Body.Since})
}

func (a *API) backtest(ctx context.Context, id string, req *agentidp.BacktestRequest) (*backtestAnswer, error) {
	b, err := a.Registry.Backtest(ctx, registry.OrganizationFrom(ctx), id, req)
	if err != nil {
		return nil, err
	}
	return &backtestAnswer{b}, nil
}
