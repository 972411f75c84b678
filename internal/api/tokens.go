package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

type revocationBody struct {
	Body agentidp.TokenSelection
}

type revocationAnswer struct{ Body revocation }

// revocation says what came of revoking many tokens.
type revocation struct {
	Revoked int64 `json:"revoked" doc:"How many tokens were ended: those that were revoked before do not count."`
}

func (a *API) registerTokens() {
	register(a, operation{
		id: "revokeTokens", method: http.MethodPost, path: "/api/v1/tokens/revoke", tag: "Tokens", scope: agentidp.ScopeTokensRevoke,
		summary:     "Revoke many access tokens",
		description: "Those that every member given chooses, as far as they were issued before the request; at least one member is required. To end one token, use the revocation endpoint of RFC 7009 that the server's metadata names.",
		body:        reflect.TypeFor[agentidp.TokenSelection](), failures: []int{413, 415},
	}, a.revokeTokens)
}

func (a *API) revokeTokens(ctx context.Context, c *registry.Caller, in *revocationBody) (*revocationAnswer, error) {
	n, err := a.Tokens.RevokeAll(ctx, registry.OrganizationFrom(ctx), c.Principal, c.RequestID, &in.Body)
	if err != nil {
		return nil, err
	}
	return &revocationAnswer{revocation{n}}, nil
}
