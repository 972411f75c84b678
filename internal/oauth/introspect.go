package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// introspect is the introspection endpoint (RFC 7662). Presenting a token is enough to
// learn what it is worth; with a client's authentication or a bearer token beside it,
// that one's authority counts, and what it may not know of is answered like what there
// is not. token_type_hint is a hint alone (§2.1), and there is one type of token.
func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	answer, err := s.introspection(w, r)
	if err != nil {
		WriteError(w, r, err)
		return
	}
	if answer.Unproven {
		problem.Unproven(r.Context())
	}
	problem.SetRateLimit(w.Header(), &answer.RateLimit)
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
	by, err := s.asker(w, r, form)
	if err != nil {
		return nil, err
	}
	org := registry.OrganizationFrom(r.Context())
	if by.client != nil {
		return s.Tokens.IntrospectFor(r.Context(), org, by.client, presented)
	}
	return s.Tokens.Introspect(r.Context(), org, by.bearer, by.proof, presented)
}
