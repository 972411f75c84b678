package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
)

// assertionType is the one client_assertion_type there is (RFC 7523 §2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// readClient reads who a request says its client is, and how it proves that: in one
// way at most (RFC 6749 §2.3). client_id may stand beside any of them, and alone
// proves nothing.
func readClient(h http.Header, form url.Values) (*credential.Presented, error) {
	p := &credential.Presented{ClientID: form.Get("client_id"), Secret: form.Get("client_secret"), Assertion: form.Get("client_assertion"), Method: credential.MethodNone}
	if (p.Assertion == "") != (form.Get("client_assertion_type") == "") {
		return nil, badParameter("client_assertion", "and client_assertion_type belong together; send both or none")
	}
	authorization := h["Authorization"]
	ways := len(authorization)
	for _, inBody := range []string{p.Secret, p.Assertion} {
		if inBody != "" {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, agentidp.NewError(agentidp.Invalid, agentidp.CodeInvalidRequest,
			"The client authenticates in more than one way; use one: Authorization: Basic, client_secret or client_assertion (RFC 6749 §2.3).")
	case len(authorization) == 1:
		return p, readBasic(p, authorization[0])
	case p.Assertion != "":
		if form.Get("client_assertion_type") != assertionType {
			return nil, invalidClient("client_assertion_type must be " + assertionType + ".")
		}
		p.Method = credential.MethodPrivateKeyJWT
	case p.Secret != "":
		if p.ClientID == "" {
			return nil, badParameter("client_id", "is required beside client_secret: the agent's id")
		}
		p.Method = credential.MethodSecretPost
	}
	return p, nil
}

// readBasic reads an Authorization header. Both parts are form-encoded before they are
// joined (RFC 6749 §2.3.1).
func readBasic(p *credential.Presented, authorization string) error {
	scheme, credentials, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return invalidClient("The token endpoint takes no access token in the Authorization header, and clients authenticate with Basic, client_secret or client_assertion.")
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimLeft(credentials, " "))
	id, secret, ok := strings.Cut(string(decoded), ":")
	if err == nil && ok {
		if id, err = url.QueryUnescape(id); err == nil {
			secret, err = url.QueryUnescape(secret)
		}
	}
	if err != nil || !ok || !isText(id) {
		return invalidClient("The Authorization header is not Basic with client id and secret, each form-encoded, joined by a colon and in base64 (RFC 6749 §2.3.1).")
	}
	if p.ClientID != "" && p.ClientID != id {
		return badParameter("client_id", "is another than that of the Authorization header")
	}
	p.ClientID, p.Secret, p.Method = id, secret, credential.MethodSecretBasic
	return nil
}

// clientChallenge is the challenge to a client that failed to authenticate: of the
// scheme that it used (RFC 6749 §5.2), else of the one that there is.
func clientChallenge(h http.Header) string {
	scheme, _, _ := strings.Cut(h.Get("Authorization"), " ")
	for _, one := range []string{agentidp.SchemeBearer, agentidp.SchemeDPoP} {
		if strings.EqualFold(scheme, one) {
			return one
		}
	}
	return `Basic realm="token endpoint", charset="UTF-8"`
}

func invalidClient(message string) error {
	return agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidClient, message)
}
