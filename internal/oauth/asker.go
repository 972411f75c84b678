package oauth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/dpop"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// asker is who asks about a token, or ends it: a client that authenticated as one, a
// bearer token, or neither, which leaves the token itself. Never two: whose authority
// counted would be anybody's guess.
type asker struct {
	client *agentidp.Principal
	bearer string
	proof  *agentidp.Proof // with which the bearer token came, by the scheme DPoP
}

// asker reads who sends a request. A client is looked up as it is now, because nothing
// is committed here that would be compared. client_id alone says who somebody is, and
// proves nothing, so it changes nothing.
func (s *server) asker(w http.ResponseWriter, r *http.Request, form url.Values) (*asker, error) {
	presented, err := readAsker(r, form)
	if err != nil {
		return nil, err
	}
	switch {
	case presented == nil:
		bearer, proof, err := dpop.Presented(r, registry.OrganizationFrom(r.Context()).Issuer+r.URL.EscapedPath(), s.Clock())
		if proof != nil {
			problem.ByScheme(r.Context(), agentidp.SchemeDPoP)
		}
		return &asker{bearer: bearer, proof: proof}, err
	case presented.Method == credential.MethodNone:
		return &asker{}, nil
	}
	client, err := s.Clients.AuthenticateNow(r.Context(), registry.OrganizationFrom(r.Context()), presented)
	if err != nil {
		return nil, err
	}
	caller := client.Principal()
	problem.SetRateLimit(w.Header(), &caller.RateLimit)
	return &asker{client: caller}, nil
}

// readAsker returns what a request presents of its client; nil: it presents an access
// token instead.
func readAsker(r *http.Request, form url.Values) (*credential.Presented, error) {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" || strings.EqualFold(scheme, "Basic") {
		return readClient(r.Header, form)
	}
	if form.Get("client_secret") != "" || form.Get("client_assertion") != "" {
		return nil, agentidp.NewError(agentidp.Invalid, agentidp.CodeInvalidRequest,
			"The request authenticates in more than one way; use one: an access token in the Authorization header, or the client's own authentication (RFC 6749 §2.3).")
	}
	return nil, nil
}
