package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// tokenFailure is the body of an error at the token endpoint: with what a refused
// exchange says at the native endpoint too.
type tokenFailure struct {
	failure
	Details    []agentidp.FieldError `json:"details,omitempty"`
	Reason     string                `json:"reason,omitempty"`
	Claims     map[string]string     `json:"claims,omitempty"`
	DecisionID string                `json:"decision_id,omitempty"`
}

// writeTokenError answers a request to the token endpoint with an error. The grant is
// empty where it is not known.
func writeTokenError(w http.ResponseWriter, r *http.Request, grant string, err error) {
	e := problem.Note(r.Context(), err)
	status, code := tokenError(grant, e)
	shown := *e
	if status == http.StatusBadRequest {
		shown.Kind = agentidp.Invalid // no challenge: it is no authentication of a client that failed
	}
	h := w.Header()
	problem.SetHeaders(h, &shown)
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", clientChallenge(r.Header))
	}
	h.Set("Pragma", "no-cache")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client left: nobody to tell.
	_ = problem.Encode(w, &tokenFailure{
		failure: failure{code, describe(e.Message), e.Code, problem.RequestID(r.Context())},
		Details: e.Details, Reason: e.Reason, Claims: e.Claims, DecisionID: e.DecisionID,
	})
}

// refusedBy is the error of each grant for a credential that is not acceptable, or of
// which no policy allows what was asked for.
var refusedBy = map[string]string{
	agentidp.GrantTokenExchange:     "invalid_request",     // RFC 8693 §2.2.2
	agentidp.GrantJWTBearer:         "invalid_grant",       // RFC 7523 §3.1
	agentidp.GrantClientCredentials: "unauthorized_client", // RFC 6749 §5.2
}

// tokenError is the one table of the token endpoint's errors: 400 for whatever its
// grants refuse, 401 for a client that failed to authenticate, and as everywhere what
// is no refusal by a grant (RFC 6749 §5.2).
func tokenError(grant string, e *agentidp.Error) (status int, code string) {
	switch e.Code {
	case agentidp.CodeInvalidClient:
		return http.StatusUnauthorized, e.Code
	case agentidp.CodeInvalidScope, agentidp.CodeInvalidTarget, agentidp.CodeUnauthorizedClient,
		agentidp.CodeUnsupportedGrantType, agentidp.CodeInvalidDPoPProof:
		return http.StatusBadRequest, e.Code
	}
	if e.Kind == agentidp.Unauthenticated || e.Kind == agentidp.Denied {
		if code = refusedBy[grant]; code == "" {
			code = "invalid_request"
		}
		return http.StatusBadRequest, code
	}
	return problem.Status(e.Kind), errorCode(e)
}
