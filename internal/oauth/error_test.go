package oauth

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

func TestErrorsInTheFormOfOAuth(t *testing.T) {
	t.Parallel()
	newError := agentidp.NewError
	for _, tt := range []struct {
		name   string
		err    error
		status int
		want   failure
	}{
		{"a bad request", agentidp.InvalidFields(agentidp.FieldError{Field: "token", Reason: "is required"}), 400, failure{"invalid_request", "token is required", "invalid_request", "id"}},
		{"too large", newError(agentidp.TooLarge, agentidp.CodePayloadTooLarge, "x"), 413, failure{"invalid_request", "x", "payload_too_large", "id"}},
		{"no good credential", newError(agentidp.Unauthenticated, agentidp.CodeInvalidToken, "x"), 401, failure{"invalid_token", "x", "invalid_token", "id"}},
		{"without the scope", newError(agentidp.Denied, agentidp.CodeInsufficientScope, "x"), 403, failure{"insufficient_scope", "x", "insufficient_scope", "id"}},
		{"from a page", newError(agentidp.Denied, agentidp.CodeCrossSiteRequest, "x"), 403, failure{"invalid_request", "x", "cross_site_request", "id"}},
		{"storage is away", newError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "x"), 503, failure{"temporarily_unavailable", "x", "temporarily_unavailable", "id"}},
		{"the characters that RFC 6749 allows", newError(agentidp.Invalid, agentidp.CodeInvalidRequest, "say \"a\\b\" (RFC 6749 §5.2), é\n<c>"), 400, failure{"invalid_request", "say 'a?b' (RFC 6749 section 5.2), ??<c>", "invalid_request", "id"}},
		{"a private cause stays private", newError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "x").WithCause(errors.New("password")), 503, failure{"temporarily_unavailable", "x", "temporarily_unavailable", "id"}},
	} {
		r := httptest.NewRequestWithContext(problem.WithTrace(t.Context(), &problem.Trace{RequestID: "id"}), "POST", "/", nil)
		w := httptest.NewRecorder()
		WriteError(w, r, tt.err)
		var got failure
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != tt.want || w.Code != tt.status || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s, %v", tt.name, w.Code, w.Body, err)
		}
	}
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), errors.New("password"))
	var got failure
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Error != "server_error" || got.Code != agentidp.CodeInternal || w.Code != 500 {
		t.Errorf("a fault of ours: %d %s, %v", w.Code, w.Body, err)
	}
}
