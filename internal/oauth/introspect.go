package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/token"
)

// introspect is the introspection endpoint (RFC 7662). Presenting a token is enough to
// learn what it is worth; with a bearer token beside it, that one's authority counts,
// and what it may not know of is answered like what there is not. token_type_hint is a
// hint alone (§2.1), and there is one type of token.
func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	answer, err := s.introspection(w, r)
	if err != nil {
		WriteError(w, r, err)
		return
	}
	if answer.Unproven {
		problem.Unproven(r.Context())
	}
	w.Header().Set("Cache-Control", "no-store") // §4: the next answer may be another
	w.Header().Set("Content-Type", "application/json")
	_ = problem.Encode(w, answer) // the client left: nobody to tell
}

func (s *server) introspection(w http.ResponseWriter, r *http.Request) (*agentidp.Introspection, error) {
	form, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	presented := form.Get("token")
	if presented == "" {
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "token", Reason: "is required: the access token to look at"})
	}
	bearer, err := token.Bearer(r)
	if err != nil {
		return nil, err
	}
	return s.tokens.Introspect(r.Context(), registry.OrganizationFrom(r.Context()), bearer, presented)
}
