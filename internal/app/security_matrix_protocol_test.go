package app

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/sentryagent/agentidp"
)

// publicRoutes answer everybody alike, and look at no credential.
var publicRoutes = []string{
	"GET /api/v1/openapi.json", "GET /api/v1/openapi.yaml", "GET /api/v1/docs", "GET /api/v1/trust-policies.schema.json", "GET /healthz", "GET /readyz",
	"GET /.well-known/openid-configuration", "GET /.well-known/oauth-authorization-server", "GET /.well-known/jwks.json",
	"GET /.well-known/oauth-protected-resource",
}

// protocolEndpoints are the routes outside the document that take a token as a form's
// parameter and, beside it, a bearer token that says who asks.
var protocolEndpoints = map[string]protocolEndpoint{
	"POST " + revocationPath: {
		scope: agentidp.ScopeTokensRevoke, withheld: http.StatusForbidden,
		reached: func(p *party, _ *answer, token string) bool { return p.revoked(token) },
	},
	"POST " + introspectionPath: {
		scope: agentidp.ScopeTokensRead, withheld: http.StatusOK,
		reached: func(_ *party, a *answer, _ string) bool { return a.Body["active"] == true },
	},
}

// protocolEndpoint says what the endpoint owes to whom. Without a bearer token, to
// have the token is the proof; with one, its authority counts.
type protocolEndpoint struct {
	scope    string // for tokens of others
	withheld int    // the status without it
	// reached reports whether an answer, or what it left behind, did or told
	// something of the token of its organization.
	reached func(p *party, a *answer, token string) bool
}

// TestEndpointsOutsideTheDocument: what takes tokens in forms,
// by everybody and for tokens of either organization; and what is public.
func TestEndpointsOutsideTheDocument(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	for pattern, e := range protocolEndpoints {
		m.hold(e.scope)
		op := &operation{scope: e.scope, principals: []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent}}
		t.Run(pattern, func(t *testing.T) {
			m.parties(func(p, other *party) { e.presentedBy(p.in(t), other.in(t), pattern[len("POST "):], op) })
		})
	}
	t.Run("POST "+tokenPath, func(t *testing.T) {
		m.parties(func(p, other *party) { p.in(t).getsNothingByBearer(other) })
	})
	for _, pattern := range publicRoutes {
		t.Run(pattern, func(t *testing.T) {
			m.parties(func(p, other *party) { p.in(t).answersEverybody(other, pattern[len("GET "):]) })
		})
	}
}

// presentedBy makes everybody present a token that is good, and another that is the
// other organization's.
func (e protocolEndpoint) presentedBy(p, other *party, path string, op *operation) {
	p.t.Helper()
	for _, c := range p.callers(op.scope, other) {
		token, foreign := p.admin(agentidp.ScopeAgentsRead), other.admin(agentidp.ScopeAgentsRead)
		status, code, challenge := c.wants(op)
		switch {
		case c.token == "":
			status, code, challenge = http.StatusOK, "", ""
		case status == http.StatusForbidden && e.withheld == http.StatusOK:
			status, code, challenge = http.StatusOK, "", ""
		case status == 0:
			status = http.StatusOK
		}
		var said []string
		for _, given := range []string{token, foreign, foreign + "A", other.jti(foreign), nobodys(other.jti(foreign))} {
			a := p.do("POST", path, c.token, url.Values{"token": {given}}.Encode(), "Content-Type", formType)
			if given == token {
				p.want(a, status, code)
				if may := c.token == "" || c.may(op); e.reached(p, a, token) != may {
					p.t.Errorf("%s by %s: reached is %v, want %v: %d %s", path, c.name, !may, may, a.Status, a.Raw)
				}
				if got := a.Header.Get("WWW-Authenticate"); got != challenge {
					p.t.Errorf("%s by %s: challenge %q, want %q", path, c.name, got, challenge)
				}
			}
			if a.Header.Get("Cache-Control") != "no-store" {
				p.t.Errorf("%s by %s: %v", path, c.name, a.Header)
			}
			p.shows(a, c.token)
			p.shows(a, given)
			said = append(said, fmt.Sprint(a.Status, a.Header.Get("WWW-Authenticate"), nameless(string(a.Raw))))
		}
		for i := 1; i < len(said); i += 2 {
			if said[i] != said[i+1] {
				p.t.Errorf("A-152 %s by %s: of another organization's token it says %s, of none %s", path, c.name, said[i], said[i+1])
			}
		}
		if other.revoked(foreign) {
			p.t.Errorf("A-152 %s by %s ended a token of another organization", path, c.name)
		}
	}
}

// getsNothingByBearer asserts that no access token is a credential at the token endpoint,
// however good it is, whatever is asked for beside it; and that nothing is used up.
func (p *party) getsNothingByBearer(other *party) {
	p.t.Helper()
	subject := p.subject(nil)
	for _, c := range p.callers("", other) {
		if c.token == "" {
			continue
		}
		for _, d := range oauthDoors {
			a := p.do("POST", tokenPath, c.token, d.form(exchangeBody(subject, "")), "Content-Type", formType)
			p.wantOAuth(a, 401, agentidp.CodeInvalidClient, agentidp.CodeInvalidClient)
			if got := a.Header.Get("WWW-Authenticate"); got != "Bearer" {
				p.t.Errorf("%s by %s: challenge %q", d.name, c.name, got)
			}
			p.shows(a, c.token)
			p.shows(a, subject)
		}
	}
}

// answersEverybody asserts that a public route is the same for everybody, and says
// so to no cache that would serve one caller the answer of another.
func (p *party) answersEverybody(other *party, path string) {
	p.t.Helper()
	nobody := p.want(p.do("GET", path, "", nil), 200)
	for _, c := range p.callers("", other) {
		a := p.want(p.do("GET", path, c.token, nil), 200)
		if string(a.Raw) != string(nobody.Raw) || a.Header.Get("Cache-Control") != nobody.Header.Get("Cache-Control") {
			p.t.Errorf("%s by %s: %s", path, c.name, a.Raw)
		}
	}
}

// parties does something under the prefix of each organization in turn.
func (m *matrix) parties(do func(p, other *party)) {
	do(m.alpha, m.bravo)
	do(m.bravo, m.alpha)
}
