package oauth

import (
	"net/http"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// failure is the body of an error at an OAuth endpoint (RFC 6749 §5.2), with the
// code and the request id that the errors of the rest of the server carry too.
type failure struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Code        string `json:"code"`
	RequestID   string `json:"request_id"`
}

// Prefix is where the protocol's endpoints are, below an organization's issuer. Their
// errors have the form of OAuth; see WriteError.
const Prefix = "/oauth2/"

// WriteError answers a request with an error in the form of OAuth.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := problem.Note(r.Context(), err)
	problem.SetHeaders(w.Header(), e)
	if e.Code == agentidp.CodeInvalidClient {
		w.Header().Set("WWW-Authenticate", clientChallenge(r.Header))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(problem.Status(e.Kind))
	// The client left: nobody to tell.
	_ = problem.Encode(w, failure{errorCode(e), describe(e.Message), e.Code, problem.RequestID(r.Context())})
}

// errorCode returns the registered error that is nearest to ours: of RFC 6750 §3.1
// for the access token, of RFC 9449 §12.2 for its proof, of RFC 7009 §2.2.1, and of RFC
// 6749 §5.2 and §4.1.2.1 for the rest.
func errorCode(e *agentidp.Error) string {
	switch e.Code {
	case agentidp.CodeInvalidClient, agentidp.CodeUnauthorizedClient, agentidp.CodeUnsupportedTokenType, agentidp.CodeInvalidDPoPProof:
		return e.Code
	}
	switch e.Kind {
	case agentidp.Internal:
		return "server_error"
	case agentidp.Unavailable, agentidp.TooMany:
		return "temporarily_unavailable"
	case agentidp.Unauthenticated:
		return "invalid_token"
	case agentidp.Denied:
		if e.Code == agentidp.CodeInsufficientScope {
			return "insufficient_scope"
		}
	}
	return "invalid_request"
}

// describe keeps a message within the characters of error_description (RFC 6749
// §5.2): printable ASCII without quotation mark and backslash.
func describe(message string) string {
	message = strings.ReplaceAll(message, "§", "section ")
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c < ' ' || c > '~' || c == '\\':
			return '?'
		}
		return c
	}, message)
}
