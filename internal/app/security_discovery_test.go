package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// described is an issuer that says whatever a test wants of itself, at the path of
// OpenID Connect Discovery; {} is its own URL, and {port} the port of that.
func (s *source) described(document string) *publisher {
	return s.site(func(w http.ResponseWriter, r *http.Request, self string) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			http.NotFound(w, r)
			return
		}
		port := self[strings.LastIndex(self, ":")+1:]
		_, _ = w.Write([]byte(strings.NewReplacer("{}", self, "{port}", port).Replace(document)))
	})
}

// site is a publisher that knows its own URL.
func (s *source) site(serve func(w http.ResponseWriter, r *http.Request, self string)) *publisher {
	p := s.publisher("")
	p.answer(func(w http.ResponseWriter, r *http.Request) { serve(w, r, p.URL) })
	return p
}

// registers tries to register an issuer, and asserts that it is refused for one field, with
// so many requests to anybody, and that nothing is left of it.
func (s *source) registers(spec map[string]any, requests int64, code, field, says string) {
	s.t.Helper()
	s.clock.advance(5 * time.Second) // between looks at one host
	was := s.ledger()
	spec["name"] = "new"
	a := s.do(http.MethodPost, providersPath, s.admin(), spec)
	status := map[string]int{agentidp.CodeInvalidRequest: 400, agentidp.CodeIssuerUnreachable: 503}[code]
	s.want(a, status, code)
	if field != "" {
		s.world.names(a, field)
	}
	if !strings.Contains(string(a.Raw), says) || strings.Contains(string(a.Raw), "mallory") {
		s.t.Errorf("the administrator reads %s, want something like %q", a.Raw, says)
	}
	is := s.ledger()
	is.tokens, is.events = was.tokens, was.events // of admin
	is.expect(s.t, was, rows{}, int(requests))
	s.want(s.do(http.MethodGet, providersPath+"/new", s.admin(), nil), 404, agentidp.CodeNotFound)
}

// TestSecurityDiscovery: a document is an answer of the network. It names the issuer that
// was asked for, byte for byte, and keys on its own host; or nothing of it is kept.
func TestSecurityDiscovery(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	const invalid = agentidp.CodeInvalidRequest
	for _, tt := range []struct{ name, document, field, says string }{
		{"A-184 a slash at the end", `{"issuer":"{}/","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 upper case", `{"issuer":"HTTP://127.0.0.1","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 another scheme", `{"issuer":"https://127.0.0.1","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 a path", `{"issuer":"{}/tenant","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 mallory's", `{"issuer":"https://mallory.example","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 a space behind", `{"issuer":"{} ","jwks_uri":"{}/jwks"}`, "issuer", "equal to the byte"},
		{"A-184 none", `{"jwks_uri":"{}/jwks"}`, "issuer", "issuer is missing"},
		{"A-184 twice", `{"issuer":"{}","issuer":"{}","jwks_uri":"{}/jwks"}`, "issuer", "cannot be used"},
		{"A-184 in other letters", `{"Issuer":"{}","jwks_uri":"{}/jwks"}`, "issuer", "issuer is missing"},
		{"A-184 a list", `{"issuer":["{}"],"jwks_uri":"{}/jwks"}`, "issuer", "issuer is not a string"},
		{"A-185 link-local", `{"issuer":"{}","jwks_uri":"https://169.254.169.254/latest"}`, "jwksUri", "names the address 169.254.169.254"},
		{"A-185 plain http", `{"issuer":"{}","jwks_uri":"http://keys.ci.example/jwks"}`, "jwksUri", "uses plain http"},
		{"A-185 an IP address", `{"issuer":"{}","jwks_uri":"https://8.8.8.8/jwks"}`, "jwksUri", "names the address 8.8.8.8"},
		{"A-185 another host", `{"issuer":"{}","jwks_uri":"https://keys.ci.example/jwks"}`, "jwksUri", "is on another host"},
		{"A-185 another port", `{"issuer":"{}","jwks_uri":"http://127.0.0.1:9/jwks"}`, "jwksUri", "is on another host"},
		{"A-185 another name of the same machine, and the same port", `{"issuer":"{}","jwks_uri":"http://localhost:{port}/jwks"}`, "jwksUri", "is on another host"},
		{"A-185 port 22", `{"issuer":"{}","jwks_uri":"https://keys.ci.example:22/jwks"}`, "jwksUri", "names port 22"},
		{"A-185 user information", `{"issuer":"{}","jwks_uri":"http://x@127.0.0.1/jwks"}`, "jwksUri", "has user information"},
		{"A-185 a name of the metadata service", `{"issuer":"{}","jwks_uri":"https://metadata.google.internal/jwks"}`, "jwksUri", "not one of the public internet"},
		{"A-185 a file", `{"issuer":"{}","jwks_uri":"file:///etc/passwd"}`, "jwksUri", "is not an https URL"},
		{"A-185 a path alone", `{"issuer":"{}","jwks_uri":"/jwks"}`, "jwksUri", "is not an https URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := &source{forger: s.in(t)}
			in.registers(map[string]any{"issuer": in.described(tt.document).URL}, 1, invalid, tt.field, tt.says)
		})
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for where, to := range map[string]string{
			"the same host": "{}/good", "another host": s.keys.URL, "mallory": s.trap.URL, "the metadata service": "http://169.254.169.254/", "a file": "file:///etc/passwd",
		} {
			t.Run("A-183 a document elsewhere, "+http.StatusText(status)+" to "+where, func(t *testing.T) {
				in := &source{forger: s.in(t)}
				p := in.site(func(w http.ResponseWriter, r *http.Request, self string) {
					http.Redirect(w, r, strings.ReplaceAll(to, "{}", self), status)
				})
				in.registers(map[string]any{"issuer": p.URL}, 1, invalid, "issuer", "redirects are not followed")
			})
		}
	}
	t.Run("A-184 A-185 an issuer that says what it should", func(t *testing.T) {
		in := &source{forger: s.in(t)}
		p := in.described(`{"issuer":"{}","jwks_uri":"{}/jwks"}`)
		a := in.want(in.do(http.MethodPost, providersPath, in.admin(), map[string]any{"name": "new", "issuer": p.URL}), 201)
		if a.str("jwksUri") != p.URL+"/jwks" {
			t.Errorf("saved as %s", a.Raw)
		}
	})
}

// TestSecurityA186IssuersInside: what leads inside is no issuer and no address of keys,
// however it is spelled. Nobody is asked for it, not even a name server.
func TestSecurityA186IssuersInside(t *testing.T) {
	t.Parallel()
	s := newSource(t, func(c *config.Config) {
		c.Dev, c.IssuerHosts = false, []string{strings.TrimPrefix(c.GitHubIssuer, "http://")}
	})
	for _, host := range []string{
		"127.0.0.1", "[::1]", "0.0.0.0", "[::]", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
		"169.254.169.254", "[fd00::1]", "[fe80::1]", "10.0.0.1", "100.64.0.1", "[64:ff9b::a00:1]", "[2002:a00:1::1]", "8.8.8.8", "metadata.google.internal", "metadata",
		"ci.localhost", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "127.0.0.1.nip.io", "a.10-0-0-1.sslip.io", "router.home.arpa", "db.corp", "ci.localdomain", "ci.intranet", "ci.private", "nas.home", "nas.lan", "ci.onion", "ci.example.",
		"ci_1.example", "ci.example:22", "ci.example:8443", "x@ci.example", "localhost",
	} {
		t.Run("A-186 "+host, func(t *testing.T) {
			in := &source{forger: s.in(t)}
			dns := in.dns.Asked()
			in.registers(map[string]any{"issuer": "https://" + host}, 0, agentidp.CodeInvalidRequest, "issuer", "")
			in.registers(map[string]any{"issuer": "https://ci.example", "jwksUri": "https://" + host + "/jwks"}, 0, agentidp.CodeInvalidRequest, "jwksUri", "")
			in.registers(map[string]any{"issuer": "https://" + host, "kind": "github"}, 0, agentidp.CodeInvalidRequest, "issuer", "")
			if in.dns.Asked() != dns {
				t.Error("a name server was asked")
			}
		})
	}
}
