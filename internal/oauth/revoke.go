package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// revoke is the revocation endpoint (RFC 7009). Presenting a token is enough to end it;
// with a client's authentication or a bearer token beside it, that one's authority
// counts. The answer is 200 with nothing in it whenever there is nothing left to end, so
// it tells nobody whether a token was good. token_type_hint is a hint alone (§2.1), and
// there is one type of token.
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
	by, err := s.asker(w, r, form)
	if err != nil {
		return err
	}
	if credential.ValidSecret(presented) {
		return errSecret()
	}
	org, requestID := registry.OrganizationFrom(r.Context()), problem.RequestID(r.Context())
	if by.client != nil {
		return s.Tokens.RevokeFor(r.Context(), org, by.client, requestID, presented)
	}
	// Its own credential is no more than the token, given twice. No proof is asked for it,
	// also where it is bound to a key: a thief who ends it harms himself.
	if by.bearer == "" || by.bearer == presented {
		known, err := s.Tokens.RevokeOwn(r.Context(), org, requestID, presented)
		if err == nil && !known {
			problem.Unproven(r.Context())
		}
		return err
	}
	caller, err := s.Tokens.Authenticate(r.Context(), org, by.bearer, by.proof)
	if err != nil {
		return err
	}
	problem.SetRateLimit(w.Header(), &caller.RateLimit)
	return s.Tokens.Revoke(r.Context(), org, caller, requestID, presented)
}

// errSecret is the answer to whoever wants to end a client secret here. It is the one
// thing that this server gives out and this endpoint cannot end (§2.2.1), and 200 would
// have its finder believe that it has ended. Its form says so, whether there is such a
// secret or not.
func errSecret() error {
	return agentidp.NewError(agentidp.Invalid, agentidp.CodeUnsupportedTokenType,
		"This is a client secret and no access token, and it is as good as before. Whoever manages the agent ends it: agentidp credential delete, or DELETE /api/v1/agents/{agentId}/credentials/{credentialId}; the id is the 32 characters after agentidp_cs_.")
}
