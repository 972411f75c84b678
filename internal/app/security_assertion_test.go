package app

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// asserts signs an assertion of the client with claims changed; nil takes one away.
func (c *askingClient) asserts(typ string, changes claims) string {
	c.t.Helper()
	now := c.clock.Now()
	all := map[string]any{"iss": c.id, "sub": c.id, "aud": c.url, "exp": now.Unix() + 60, "jti": agentidp.NewID(now)}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	signed, err := c.signer.Sign(typ, mustJSON(c.t, all))
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// an assertion is for this organization alone, by the client alone, and once; at
// each endpoint where a client authenticates.
func TestSecurityAssertions(t *testing.T) {
	t.Parallel()
	const typ = "client-authentication+jwt"
	w := newWorld(t)
	w.clock.freeze()
	admin := w.admin()
	c, other := w.agentThat(admin, "worker", "tokens:read", "tokens:revoke"), w.agentThat(admin, "other")
	foreign := w.tenant("bravo").agentThat(w.under("bravo").admin(), "worker", "tokens:read", "tokens:revoke")
	now := w.clock.Now().Unix()
	for _, r := range []struct {
		name   string
		signed func() string
		good   bool
	}{
		{"as it should be", func() string { return c.asserts(typ, nil) }, true},
		{"of type JWT", func() string { return c.asserts("JWT", nil) }, true},
		{"for the token endpoint of another server", func() string { return c.asserts(typ, claims{"aud": "https://as.other.example/oauth2/token"}) }, false},
		{"for another server", func() string { return c.asserts(typ, claims{"aud": "https://as.other.example"}) }, false},
		{"for our token endpoint, and not the issuer", func() string { return c.asserts(typ, claims{"aud": w.url + tokenPath}) }, false},
		{"for the endpoint of introspection", func() string { return c.asserts(typ, claims{"aud": w.url + introspectionPath}) }, false},
		{"for the issuer with a slash", func() string { return c.asserts(typ, claims{"aud": w.url + "/"}) }, false},
		{"for another organization", func() string { return c.asserts(typ, claims{"aud": w.url + "/o/bravo"}) }, false},
		{"for a list of the issuer alone", func() string { return c.asserts(typ, claims{"aud": []string{w.url}}) }, false},
		{"for the issuer and another", func() string { return c.asserts(typ, claims{"aud": []string{w.url, "https://as.other.example"}}) }, false},
		{"for nobody", func() string { return c.asserts(typ, claims{"aud": nil}) }, false},
		{"whose iss is another client", func() string { return c.asserts(typ, claims{"iss": other.id}) }, false},
		{"whose sub is another client", func() string { return c.asserts(typ, claims{"sub": other.id}) }, false},
		{"of another client, by our key", func() string { return c.asserts(typ, claims{"iss": other.id, "sub": other.id}) }, false},
		{"without iss", func() string { return c.asserts(typ, claims{"iss": nil}) }, false},
		{"without jti", func() string { return c.asserts(typ, claims{"jti": nil}) }, false},
		{"without exp", func() string { return c.asserts(typ, claims{"exp": nil}) }, false},
		{"that has expired", func() string { return c.asserts(typ, claims{"exp": now - 60}) }, false},
		{"for an hour", func() string { return c.asserts(typ, claims{"exp": now + 3600}) }, false},
		{"from the future", func() string { return c.asserts(typ, claims{"iat": now + 120}) }, false},
		{"of the type of an access token", func() string { return c.asserts("at+jwt", nil) }, false},
		{"of the type of a proof", func() string { return c.asserts("dpop+jwt", nil) }, false},
		{"of another organization's client", func() string { return foreign.asserts(typ, nil) }, false},
		{"of another organization's client, for us", func() string { return foreign.asserts(typ, claims{"aud": w.url}) }, false},
		{"by a key that another client has", func() string { forged := *c; forged.signer = other.signer; return forged.asserts(typ, nil) }, false},
		{"that is a CI's token", func() string { return w.subject(nil) }, false},
		{"that is an access token of ours", func() string { return admin }, false},
	} {
		for _, path := range []string{tokenPath, introspectionPath, revocationPath} {
			t.Run("A-168 an assertion "+r.name+", at "+path, func(t *testing.T) {
				w, signed := w.in(t), r.signed()
				status, code := 401, agentidp.CodeInvalidClient
				if r.good {
					status, code = 200, ""
				}
				send := func() *answer {
					form := itself("token", "garbage", "client_assertion", signed, "client_assertion_type", assertionType)
					a := w.do("POST", path, "", form.Encode(), "Content-Type", formType)
					if a.Status != 200 {
						w.isOAuth(a)
					}
					if strings.Contains(string(a.Raw), signed) || a.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%v %s", a.Header, neutral(a))
					}
					return a
				}
				w.want(send(), status, code)
				w.want(send(), 401, agentidp.CodeInvalidClient) // again, if it was good: used up
			})
		}
	}
}

// our own tokens buy no others, whatever our name is spelled like.
func TestSecurityOurOwnIssuerAsAProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant("bravo")
	admin := w.admin()
	own, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	spelled := func(scheme, host, path string) string { return scheme + "://" + host + ":" + own.Port() + path }
	for _, r := range []struct{ name, field, issuer string }{
		{"the issuer", "issuer", w.url},
		{"with a slash", "issuer", w.url + "/"},
		{"by its name", "issuer", spelled("http", "localhost", "")},
		{"by another address of this machine", "issuer", spelled("http", "127.9.9.9", "")},
		{"as IPv6 has it", "issuer", spelled("http", "[::1]", "")},
		{"in capitals", "issuer", spelled("HTTP", "LOCALHOST", "")},
		{"the issuer of another organization", "issuer", w.url + "/o/bravo"},
		{"our keys, for another issuer", "jwksUri", w.url + "/.well-known/jwks.json"},
	} {
		for _, kind := range []string{"oidc", "github"} {
			t.Run("A-159 "+r.name+", as "+kind, func(t *testing.T) {
				w := w.in(t)
				spec := map[string]any{"name": "own", "kind": kind, "issuer": r.issuer}
				if r.field == "jwksUri" {
					spec["issuer"], spec["jwksUri"] = "https://ci.acme.example", r.issuer
				}
				a := w.want(w.do("POST", providersPath, admin, spec), 400, agentidp.CodeInvalidRequest)
				w.names(a, r.field)
				if !strings.Contains(string(a.Raw), "this server itself") {
					t.Errorf("%s", a.Raw)
				}
			})
		}
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(w.want(w.do("GET", providersPath, admin, nil), 200).Raw, &list); err != nil || len(list.Items) != 1 {
		t.Errorf("%d providers, want the built-in one: %v", len(list.Items), err)
	}
}
