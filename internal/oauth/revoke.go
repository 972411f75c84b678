package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/token"
)

// revoke is the revocation endpoint (RFC 7009). Presenting a token is enough to end
// it; with a bearer token beside it, that one's authority counts. The answer is 200
// with nothing in it whenever there is nothing left to end, so it tells nobody
// whether a token was good. token_type_hint is a hint alone (§2.1), and there is one
// type of token.
func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	if err := s.revokeToken(w, r); err != nil {
		WriteError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (s *server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	presented := form.Get("token")
	if presented == "" {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "token", Reason: "is required: the access token to revoke"})
	}
	bearer, err := token.Bearer(r)
	if err != nil {
		return err
	}
	org, requestID := registry.OrganizationFrom(r.Context()), problem.RequestID(r.Context())
	if bearer == "" || bearer == presented { // its own credential: one proof, given twice
		known, err := s.tokens.RevokeOwn(r.Context(), org, requestID, presented)
		if err == nil && !known {
			problem.Unproven(r.Context())
		}
		return err
	}
	caller, err := s.tokens.Authenticate(r.Context(), org, bearer)
	if err != nil {
		return err
	}
	return s.tokens.Revoke(r.Context(), org, caller, requestID, presented)
}
