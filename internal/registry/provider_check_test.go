package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// kinds are one whose keys are below the issuer, and one whose issuers say where.
func kinds() map[string]*agentidp.ProviderKind {
	return map[string]*agentidp.ProviderKind{
		"github": {Name: "github", JWKSPath: "/.well-known/jwks", Algorithms: []string{"RS256"}, MaxTokenAge: time.Hour},
		"oidc":   {Name: "oidc", Algorithms: []string{"RS256", "ES256"}, MaxTokenAge: 2 * time.Hour},
	}
}

// checking is a registry that only checks, as a server in the open has it.
func checking(t *testing.T, publicURL string) (*Registry, *agentidp.Organization) {
	t.Helper()
	v := verify.New(verify.Config{Kinds: kinds(), Hosts: []string{"ghes.internal"}})
	t.Cleanup(v.Close)
	return New(Config{Kinds: kinds(), PublicURL: publicURL, Verifier: v, Clock: time.Now}), &agentidp.Organization{ID: "o", Issuer: publicURL + "/o/acme"}
}

// badFields checks a provider and returns the names of its bad fields.
func badFields(r *Registry, org *agentidp.Organization, spec agentidp.ProviderSpec) (names []string, reasons string) {
	for _, b := range r.CheckProvider(org, spec) {
		names = append(names, b.Field)
		reasons += b.Field + " " + b.Reason + "; "
	}
	return names, reasons
}

// our own tokens buy no others, however our name is written.
func TestOurOwnIssuerIsNoProvider(t *testing.T) {
	t.Parallel()
	for public, ours := range map[string][]string{
		"https://idp.acme.example": {
			"https://idp.acme.example", "https://idp.acme.example/", "https://IDP.acme.EXAMPLE", "https://idp.acme.example:443", "https://idp.acme.example.",
			"https://idp.acme.example:0443", "http://idp.acme.example", "HTTPS://idp.acme.example/o/acme", "https://idp.acme.example/o/acme", "https://idp.acme.example/o/other/",
			"https://idp.acme.example//o/acme", "https://idp.acme.example/o/%61cme", "https://idp.acme.example/x",
		},
		"http://localhost:8080": {"http://localhost:8080", "http://127.0.0.1:8080/o/acme", "http://[::1]:8080", "http://127.1.2.3:8080", "https://LOCALHOST:8080", "http://[::ffff:127.0.0.1]:8080"},
	} {
		r, org := checking(t, public)
		for _, issuer := range ours {
			for _, kind := range []string{"github", "oidc"} {
				spec := agentidp.ProviderSpec{Name: "x", Kind: kind, Issuer: issuer, JWKSURI: "https://keys.acme.example"}
				if names, reasons := badFields(r, org, spec); !slices.Equal(names, []string{"issuer"}) || !strings.Contains(reasons, "this server itself") {
					t.Errorf("A-159 %s at %s: %s", issuer, public, reasons)
				}
			}
			spec := agentidp.ProviderSpec{Name: "x", Kind: "oidc", Issuer: "https://ci.acme.example", JWKSURI: issuer + "/.well-known/jwks.json"}
			if names, _ := badFields(r, org, spec); !slices.Equal(names, []string{"jwksUri"}) {
				t.Errorf("A-159 our keys for another's, at %s: %q", issuer, names)
			}
		}
		for _, other := range []string{"https://idp.acme.example:8443", "https://ci.acme.example", "https://xidp.acme.example/o/acme"} {
			if names, reasons := badFields(r, org, agentidp.ProviderSpec{Name: "x", Kind: "oidc", Issuer: other, JWKSURI: "https://keys.acme.example"}); names != nil {
				t.Errorf("%s is not %s: %s", other, public, reasons)
			}
		}
	}
}

// nothing is asked at an address that leads inside. Whatever it leads to, the
// guard decides again when it connects (internal/verify).
func TestIssuersAndKeysAreInTheOpen(t *testing.T) {
	t.Parallel()
	r, org := checking(t, "https://idp.acme.example")
	for _, address := range []string{
		"https://localhost", "https://127.0.0.1", "https://[::1]", "https://0.0.0.0", "https://2130706433", "https://0x7f.1", "https://[::ffff:169.254.169.254]",
		"https://[fd00::1]", "https://100.64.0.1", "https://metadata.google.internal", "https://10.0.0.1.nip.io", "https://ci.acme.example.", "https://intranet", "http://ci.acme.example",
	} {
		for field, spec := range map[string]agentidp.ProviderSpec{
			"issuer":  {Name: "x", Kind: "oidc", Issuer: address},
			"jwksUri": {Name: "x", Kind: "oidc", Issuer: "https://ci.acme.example", JWKSURI: address + "/keys"},
		} {
			if names, reasons := badFields(r, org, spec); !slices.Equal(names, []string{field}) {
				t.Errorf("A-186 %s as %s: %s", address, field, reasons)
			}
		}
		if names, _ := badFields(r, org, agentidp.ProviderSpec{Name: "x", Kind: "github", Issuer: address}); !slices.Equal(names, []string{"issuer"}) {
			t.Errorf("A-186 %s of kind github: %q", address, names)
		}
	}
	for name, spec := range map[string]agentidp.ProviderSpec{
		"a host that the operator listed":           {Name: "x", Kind: "github", Issuer: "https://ghes.internal/_services/token"},
		"nobody asks a cluster whose keys are here": {Name: "x", Kind: "oidc", Issuer: "https://kubernetes.default.svc.cluster.local", JWKS: []byte(goodKeys)},
		"or are somewhere else":                     {Name: "x", Kind: "oidc", Issuer: "https://kubernetes.default.svc.cluster.local", JWKSURI: "https://keys.acme.example/jwks"},
		"a slash at the end, of Azure's":            {Name: "x", Kind: "oidc", Issuer: "https://westeurope.oic.prod-aks.azure.com/t/g/"},
	} {
		if names, reasons := badFields(r, org, spec); names != nil {
			t.Errorf("%s: %s", name, reasons)
		}
	}
}

const goodKeys = `{"keys":[{"kty":"EC","crv":"P-256","kid":"key-1","x":"QLXzBxh8C6hRPGxdbB2HzzausxQU_EdtPcHyixNI_6g","y":"ZuITU9Wfsjvx0TbyknMyUOXAXo0Uc4ffUW8VvJlRC5M"}]}`

func TestCheckProvider(t *testing.T) {
	t.Parallel()
	r, org := checking(t, "https://idp.acme.example")
	good := agentidp.ProviderSpec{Name: "ci", Kind: "oidc", Issuer: "https://ci.acme.example"}
	with := func(change func(*agentidp.ProviderSpec)) agentidp.ProviderSpec {
		s := good
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		spec agentidp.ProviderSpec
		bad  string // fields, joined
	}{
		{"name and issuer suffice", with(func(s *agentidp.ProviderSpec) { s.Kind = "" }), ""},
		{"a name in upper case", with(func(s *agentidp.ProviderSpec) { s.Name = "CI" }), "name"},
		{"a name that is a path", with(func(s *agentidp.ProviderSpec) { s.Name = "a/b" }), "name"},
		{"a long name", with(func(s *agentidp.ProviderSpec) { s.Name = strings.Repeat("a", 64) }), "name"},
		{"a kind in upper case", with(func(s *agentidp.ProviderSpec) { s.Kind = "OIDC" }), "kind"},
		{"no issuer", with(func(s *agentidp.ProviderSpec) { s.Issuer = "" }), "issuer"},
		{"an issuer without scheme", with(func(s *agentidp.ProviderSpec) { s.Issuer = "ci.acme.example" }), "issuer"},
		{"an issuer without host", with(func(s *agentidp.ProviderSpec) { s.Issuer = "https:///x" }), "issuer"},
		{"an issuer with a query", with(func(s *agentidp.ProviderSpec) { s.Issuer += "?" }), "issuer"},
		{"an issuer with a fragment", with(func(s *agentidp.ProviderSpec) { s.Issuer += "#" }), "issuer"},
		{"an issuer with a user", with(func(s *agentidp.ProviderSpec) { s.Issuer = "https://a@ci.acme.example" }), "issuer"},
		{"an issuer with a space", with(func(s *agentidp.ProviderSpec) { s.Issuer += "/a b" }), "issuer"},
		{"an issuer with a homoglyph", with(func(s *agentidp.ProviderSpec) { s.Issuer = "https://c\u0456.acme.example" }), "issuer"},
		{"a long issuer", with(func(s *agentidp.ProviderSpec) { s.Issuer += "/" + strings.Repeat("x", 1024) }), "issuer"},
		{"plain http, also with static keys", with(func(s *agentidp.ProviderSpec) { s.Issuer, s.JWKS = "http://ci.acme.example", []byte(goodKeys) }), "issuer"},
		{"a slash at the end, of kind github", with(func(s *agentidp.ProviderSpec) {
			s.Kind, s.Issuer = "github", "https://ghes.acme.example/_services/token/"
		}), "issuer"},
		{"no algorithm that verifies", with(func(s *agentidp.ProviderSpec) { s.Algorithms = []string{"none", "HS256", "PS256", "rs256", ""} }), "algorithms[0] algorithms[1] algorithms[2] algorithms[3] algorithms[4]"},
		{"all that verify", with(func(s *agentidp.ProviderSpec) {
			s.Algorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"}
		}), ""},
		{"an algorithm twice", with(func(s *agentidp.ProviderSpec) { s.Algorithms = []string{"RS256", "RS256"} }), "algorithms[1]"},
		{"keys of other algorithms", with(func(s *agentidp.ProviderSpec) { s.Algorithms, s.JWKS = []string{"RS256"}, []byte(goodKeys) }), "jwks"},
		{"keys without ids", with(func(s *agentidp.ProviderSpec) { s.JWKS = []byte(strings.Replace(goodKeys, `"kid":"key-1",`, "", 1)) }), "jwks"},
		{"a private key", with(func(s *agentidp.ProviderSpec) {
			s.JWKS = []byte(strings.Replace(goodKeys, `"kid"`, `"d":"AA","kid"`, 1))
		}), "jwks"},
		{"a private key of two", with(func(s *agentidp.ProviderSpec) {
			s.JWKS = []byte(strings.Replace(goodKeys, `]`, `,{"kty":"RSA","p":"AA"}]`, 1))
		}), "jwks"},
		{"a private key of two, where KEYS are none", with(func(s *agentidp.ProviderSpec) {
			s.JWKS = []byte(strings.Replace(goodKeys, `]`, `,{"kty":"oct","k":"AA"}],"KEYS":[]`, 1))
		}), "jwks"},
		{"a key of no use beside a good one", with(func(s *agentidp.ProviderSpec) {
			s.JWKS = []byte(strings.Replace(goodKeys, `]`, `,{"kty":"EC","crv":"P-521"}]`, 1))
		}), ""},
		{"null for keys", with(func(s *agentidp.ProviderSpec) { s.JWKS = []byte("null") }), ""},
		{"no key set", with(func(s *agentidp.ProviderSpec) { s.JWKS = []byte("[]") }), "jwks"},
		{"the shortest life", with(func(s *agentidp.ProviderSpec) { s.MaxTokenAgeSeconds = 60 }), ""},
		{"a shorter one", with(func(s *agentidp.ProviderSpec) { s.MaxTokenAgeSeconds = 59 }), "maxTokenAgeSeconds"},
		{"the longest life", with(func(s *agentidp.ProviderSpec) { s.MaxTokenAgeSeconds = 86400 }), ""},
		{"a longer one", with(func(s *agentidp.ProviderSpec) { s.MaxTokenAgeSeconds = 86401 }), "maxTokenAgeSeconds"},
		{"another rule", with(func(s *agentidp.ProviderSpec) { s.Replay = "twice" }), "replay"},
		{"audiences that are no URLs", with(func(s *agentidp.ProviderSpec) {
			s.Audiences = []string{"sts.example", "ari:cloud:bitbucket::workspace/7", "7", "api://x"}
		}), ""},
		{"audiences that are nobody's", with(func(s *agentidp.ProviderSpec) {
			s.Audiences = []string{"", "a b", "a*", "a\\b", `a"b`, "\u00e4", strings.Repeat("x", 256)}
		}),
			"audiences[0] audiences[1] audiences[2] audiences[3] audiences[4] audiences[5] audiences[6]"},
		{"too many", with(func(s *agentidp.ProviderSpec) {
			for i := range 21 {
				s.Audiences = append(s.Audiences, fmt.Sprint("a", i))
			}
		}), "audiences"},
		{"GitHub's default audiences", with(func(s *agentidp.ProviderSpec) {
			s.Issuer, s.Audiences = "https://token.actions.acme.ghe.com", []string{"https://github.com/acme", "https://GitHub.com/acme/", "https://acme.ghe.com/acme", "https://github.com", "https://github.com/acme/deploy"}
		}), "audiences[0] audiences[1] audiences[2]"},
		{"audiences of other organizations here", with(func(s *agentidp.ProviderSpec) {
			s.Audiences = []string{"https://idp.acme.example", "https://idp.acme.example/o/other", "https://idp.acme.example/o/acme", "https://IDP.acme.example/o/acme"}
		}), "audiences[0] audiences[1] audiences[2] audiences[3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if names, reasons := badFields(r, org, tt.spec); strings.Join(names, " ") != tt.bad {
				t.Errorf("got %q, want %q: %s", names, tt.bad, reasons)
			}
		})
	}
}
