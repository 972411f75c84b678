package oauth

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// S-027, S-028, S-029, S-043, S-053.
func TestTheTableOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	const sts, jwt, client = agentidp.GrantTokenExchange, agentidp.GrantJWTBearer, agentidp.GrantClientCredentials
	everywhere := func(code string) map[string]string {
		return map[string]string{"": code, sts: code, jwt: code, client: code}
	}
	refused := map[string]string{"": "invalid_request", sts: "invalid_request", jwt: "invalid_grant", client: "unauthorized_client"}
	for _, tt := range []struct {
		kind   agentidp.Kind
		code   string
		status int
		error  map[string]string // by grant
	}{
		{agentidp.Invalid, agentidp.CodeInvalidRequest, 400, everywhere("invalid_request")},
		{agentidp.Invalid, agentidp.CodeUnsupportedGrantType, 400, everywhere("unsupported_grant_type")},
		{agentidp.Invalid, agentidp.CodeInvalidScope, 400, everywhere("invalid_scope")},
		{agentidp.Invalid, agentidp.CodeInvalidTarget, 400, everywhere("invalid_target")},
		{agentidp.Invalid, agentidp.CodeInvalidDPoPProof, 400, everywhere("invalid_dpop_proof")},
		{agentidp.Unauthenticated, agentidp.CodeInvalidDPoPProof, 400, everywhere("invalid_dpop_proof")},
		{agentidp.Unauthenticated, agentidp.CodeInvalidClient, 401, everywhere("invalid_client")},
		{agentidp.Unauthenticated, agentidp.CodeInvalidToken, 400, refused},
		{agentidp.Denied, agentidp.CodeTrustPolicyViolation, 400, refused},
		{agentidp.Denied, agentidp.CodeRepositoryIdentityChanged, 400, refused},
		{agentidp.Denied, agentidp.CodeAgentNotActive, 400, refused},
		{agentidp.Denied, agentidp.CodeBranchNotPermitted, 400, refused},
		{agentidp.Denied, agentidp.CodeEventNotPermitted, 400, refused},
		{agentidp.Denied, agentidp.CodeConditionNotMet, 400, refused},
		{agentidp.Denied, agentidp.CodeDelegationNotPermitted, 400, refused},
		{agentidp.Denied, agentidp.CodeUnauthorizedClient, 400, everywhere("unauthorized_client")},
		{agentidp.NotFound, agentidp.CodeNotFound, 404, everywhere("invalid_request")},
		{agentidp.TooLarge, agentidp.CodePayloadTooLarge, 413, everywhere("invalid_request")},
		{agentidp.UnsupportedMedia, agentidp.CodeUnsupportedMediaType, 415, everywhere("invalid_request")},
		{agentidp.TooMany, agentidp.CodeRateLimited, 429, everywhere("temporarily_unavailable")},
		{agentidp.Internal, agentidp.CodeInternal, 500, everywhere("server_error")},
		{agentidp.Unavailable, agentidp.CodeIssuerUnreachable, 503, everywhere("temporarily_unavailable")},
		{agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, 503, everywhere("temporarily_unavailable")},
	} {
		for grant, want := range tt.error {
			e := agentidp.NewError(tt.kind, tt.code, "x").WithCause(errors.New("password"))
			e.DecisionID, e.Reason, e.Claims = "decision", "reason", map[string]string{"ref": "x"}
			r := httptest.NewRequestWithContext(problem.WithTrace(t.Context(), &problem.Trace{RequestID: "id"}), "POST", TokenPath, nil)
			w := httptest.NewRecorder()
			writeTokenError(w, r, grant, e)
			var got tokenFailure
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != tt.status ||
				got.failure != (failure{want, "x", tt.code, "id"}) || got.DecisionID != "decision" || got.Reason != "reason" || got.Claims["ref"] != "x" {
				t.Errorf("%s at %q: %d %s, %v", tt.code, grant, w.Code, w.Body, err)
			}
			if h := w.Header(); (h.Get("WWW-Authenticate") != "") != (w.Code == 401) || h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" ||
				(h.Get("Retry-After") != "") != (w.Code == 503) {
				t.Errorf("%s at %q: %v", tt.code, grant, h)
			}
		}
	}
}
