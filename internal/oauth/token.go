package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/dpop"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// TokenPath is the token endpoint (RFC 6749 §3.2).
const TokenPath = Prefix + "token"

// tokenRequest is what was sent to the token endpoint, read and not judged yet.
type tokenRequest struct {
	org    *agentidp.Organization
	id     string // of the request
	grant  string // grant_type
	form   url.Values
	client *credential.Presented
	proof  *agentidp.Proof // of the key to which the token will be bound; nil: a bearer token
}

// grants are the grant types that there are. There is no password, no implicit and no
// refresh grant (RFC 9700 §2.4, §2.1.2): an agent that needs another token asks with
// what it has.
var grants = map[string]func(*server, context.Context, *tokenRequest) (*agentidp.TokenResponse, error){
	agentidp.GrantClientCredentials: (*server).clientCredentials,
	agentidp.GrantTokenExchange:     (*server).exchangeToken,
	agentidp.GrantJWTBearer:         (*server).exchangeAssertion,
}

// token is the token endpoint. What its grants decide is decided elsewhere; here it
// is read from a form, and answered as the standards have it.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	req, err := s.readToken(w, r)
	var answer *agentidp.TokenResponse
	if err == nil {
		answer, err = grants[req.grant](s, r.Context(), req)
	}
	if err != nil {
		writeTokenError(w, r, req.grant, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // RFC 6749 §5.1
	h.Set("Content-Type", "application/json")
	problem.SetRateLimit(h, &answer.RateLimit)
	_ = problem.Encode(w, answer) // the client left; the record stands
}

// readToken reads a request. With an error, what is returned has the grant type alone,
// as far as it is one.
func (s *server) readToken(w http.ResponseWriter, r *http.Request) (*tokenRequest, error) {
	req := &tokenRequest{org: registry.OrganizationFrom(r.Context()), id: problem.RequestID(r.Context())}
	var err error
	if req.form, err = readForm(w, r, "resource", "audience"); err != nil {
		return req, err
	}
	switch grant := req.form.Get("grant_type"); {
	case grant == "":
		return req, badParameter("grant_type", "is required, such as "+agentidp.GrantClientCredentials)
	case grants[grant] == nil:
		return req, agentidp.NewError(agentidp.Invalid, agentidp.CodeUnsupportedGrantType,
			"grant_type is none that this server has; grant_types_supported in its metadata lists them.")
	default:
		req.grant = grant
	}
	for _, name := range textParameters {
		if !isText(req.form.Get(name)) {
			return req, badParameter(name, "has bytes that are no text in UTF-8")
		}
	}
	if req.client, err = readClient(r.Header, req.form); err != nil {
		return req, err
	}
	req.proof, err = dpop.OfRequest(r, req.org.Issuer+TokenPath, s.Clock())
	return req, err
}

// audience returns the audience that the token is to have, and the parameter that names
// it: resource (RFC 8707) and audience (RFC 8693 §2.1) are one thing here. Both may
// stand there several times, but a token is for one service.
func (r *tokenRequest) audience() (audience, parameter string, err error) {
	parameter = "audience"
	for _, name := range []string{"resource", "audience"} {
		for _, value := range r.form[name] {
			switch {
			case value == "" || value == audience:
			case audience == "":
				audience, parameter = value, name
			default:
				return "", "", agentidp.NewError(agentidp.Invalid, agentidp.CodeInvalidTarget,
					"resource and audience name more than one service, and there is one audience for a token. Ask for a token for each.")
			}
		}
	}
	return audience, parameter, nil
}

// only refuses a parameter's value that is not among all; none is fine.
func (r *tokenRequest) only(name string, all ...string) error {
	if value := r.form.Get(name); value == "" || slices.Contains(all, value) {
		return nil
	}
	return badParameter(name, "must be "+strings.Join(all, " or "))
}
