package app

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/store"
)

// TestSecurityIssuers: an issuer is a string that is compared, never an address
// that is asked. All tokens are signed by the provider's real key.
func TestSecurityIssuers(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	keys := keySet(jwk(ciKey().Public(), f.kid, nil))
	f.provider("ours", "https://token.ci.example", keys, "RS256")
	f.provider("github.com", "https://token.actions.githubusercontent.com", keys, "RS256")
	f.provider("slug", "https://token.actions.slug.example/acme", keys, "RS256")
	from := func(iss any) string { return f.signed(claims{"iss": iss}) }

	for _, iss := range []string{"https://token.ci.example", "https://token.actions.githubusercontent.com", "https://token.actions.slug.example/acme"} {
		f.attacks([]attack{{"A-066 " + iss + " is a provider's", from(iss), "granted"}})
	}
	port := f.issuer[strings.LastIndexByte(f.issuer, ':'):]
	for name, iss := range map[string]string{
		"a trailing slash":           "https://token.ci.example/",
		"an upper-case host":         "https://token.CI.example",
		"an upper-case scheme":       "HTTPS://token.ci.example",
		"plain http":                 "http://token.ci.example",
		"the port 443":               "https://token.ci.example:443",
		"an empty port":              "https://token.ci.example:",
		"user information":           "https://x@token.ci.example",
		"it as user information":     "https://token.ci.example@mallory.example",
		"a fragment":                 "https://token.ci.example#x",
		"a query":                    "https://token.ci.example?x",
		"percent-encoding":           "https://token.%63i.example",
		"a homoglyph":                "https://t\u043eken.ci.example",
		"punycode":                   "https://xn--tken-55d.ci.example",
		"a full-width letter":        "https://\uff54oken.ci.example",
		"a trailing dot":             "https://token.ci.example.",
		"a path":                     "https://token.ci.example/x",
		"a dot segment":              "https://token.ci.example/.",
		"a suffix":                   "https://token.ci.example.mallory.example",
		"a prefix":                   "https://mallory-token.ci.example",
		"no scheme":                  "token.ci.example",
		"a space in front":           " https://token.ci.example",
		"a space behind":             "https://token.ci.example ",
		"a slash, on loopback":       f.issuer + "/",
		"localhost for its address":  "http://localhost" + port,
		"a short loopback address":   "http://127.1" + port,
		"a numeric loopback address": "http://2130706433" + port,
		"a mapped loopback address":  "http://[::ffff:127.0.0.1]" + port,
		"user information, loopback": "http://x@127.0.0.1" + port,
		"a fragment, on loopback":    f.issuer + "#",
		"a path, on loopback":        f.issuer + "/.well-known/jwks?",
	} {
		f.attacks([]attack{{"A-066 with " + name, from(iss), "issuer"}})
	}
	for name, iss := range map[string]string{
		"A-067 a slug where the plain issuer is registered": "https://token.actions.githubusercontent.com/acme",
		"A-067 the plain issuer where a slug is registered": "https://token.actions.slug.example",
		"A-067 another slug":                                 "https://token.actions.slug.example/acme2",
		"A-067 the slug in upper case":                       "https://token.actions.slug.example/ACME",
		"A-068 GitHub Enterprise Server":                     "https://github.acme.example/_services/token",
		"A-068 ghe.com":                                      "https://token.actions.acme.ghe.com",
		"A-191 a host of mallory's":                          "https://mallory.example",
		"A-191 an address of mallory's":                      f.trap.URL,
		"A-191 the metadata service":                         "http://169.254.169.254/latest",
		"A-191 ourselves":                                    f.url,
		"A-191 a file":                                       "file:///etc/passwd",
		"A-191 no address at all, a thousand characters":     strings.Repeat("x", 1000),
		"A-191 SQL":                                          "x' OR '1'='1",
		"A-191 the name of a provider instead of its issuer": "github",
	} {
		p := f.payload(claims{"iss": iss})
		f.attacks([]attack{
			{name, from(iss), "issuer"},
			{name + ", signed by mallory", compact(header("RS256", f.kid), p, raw(random(256))), "issuer"},
			{name + ", unsigned", b64(`{"alg":"none"}`) + "." + b64(p) + ".", "format"},
		})
	}
	if n := f.dns.Asked(); n != 0 {
		t.Errorf("A-191 %d names were looked up", n)
	}
	f.attacks([]attack{
		{"A-069 iss missing", from(emulator.Absent), "format"},
		{"A-069 iss null", from(nil), "format"},
		{"A-069 iss a list", from([]string{f.issuer}), "format"},
		{"A-069 iss a number", from(1), "format"},
		{"A-069 iss an object", from(claims{"iss": f.issuer}), "format"},
		{"A-069 iss true", from(true), "format"},
		{"A-069 iss empty", from(""), "format"},
		{"A-069 iss of two thousand characters", from(f.issuer + strings.Repeat("x", 2000)), "format"},
		{"A-069 iss with a line break", from(f.issuer + "\n"), "format"},
	})
}

func TestSecurityAudiences(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	to := func(aud any) string { return f.signed(claims{"aud": aud}) }
	mismatch := func(name string, aud any) {
		t.Run(name, func(t *testing.T) {
			a := f.in(t).becomes(to(aud), agentidp.ReasonAudienceMismatch)
			if !strings.Contains(a.said(), quoted(f.url)) {
				t.Errorf("the answer does not say what is expected: %s", a.Raw)
			}
			if s, ok := aud.(string); ok && s != "" && !strings.Contains(a.said(), quoted(s)) {
				t.Errorf("the answer does not say what was received: %s", a.Raw)
			}
		})
	}
	mismatch("A-071 aud missing", emulator.Absent)
	mismatch("A-071 aud null", nil)
	mismatch("A-071 aud empty", "")
	mismatch("A-071 aud an empty list", []string{})
	mismatch("A-071 aud a list of an empty string", []string{""})
	mismatch("A-072 GitHub's default", "https://github.com/acme")
	for _, aud := range []string{"sts.amazonaws.com", "api://AzureADTokenExchange", "pypi", "sigstore", "*"} {
		mismatch("A-073 the audience of another service: "+aud, aud)
	}
	mismatch("A-074 ours and another", []string{f.url, "https://other.example"})
	mismatch("A-074 another and ours", []string{"https://other.example", f.url})
	mismatch("A-074 ours twice", []string{f.url, f.url})
	mismatch("A-074 ours and an empty one", []string{f.url, ""})
	mismatch("A-075 ours and a number", []any{f.url, 1})
	mismatch("A-075 ours and null", []any{f.url, nil})
	mismatch("A-075 a list in a list", []any{[]string{f.url}})
	mismatch("A-075 an object", claims{"aud": f.url})
	mismatch("A-075 an object in a list", []any{claims{f.url: f.url}})
	mismatch("A-075 true", true)
	mismatch("A-075 a number", 0)
	mismatch("A-075 a thousand audiences", strings.Split(strings.Repeat("x,", 1000)+f.url, ","))
	for name, aud := range map[string]string{
		"in upper case": strings.ToUpper(f.url), "with a trailing slash": f.url + "/", "with a suffix": f.url + ".evil", "with a digit more": f.url + "0",
		"a part of it": strings.TrimPrefix(f.url, "http://"), "with a path": f.url + "/api/v1", "with a fragment": f.url + "#", "two in one string": f.url + " " + f.url,
		"with a space": " " + f.url, "as https": strings.Replace(f.url, "http:", "https:", 1), "of localhost": strings.Replace(f.url, "127.0.0.1", "localhost", 1),
		"the issuer of the token": f.issuer,
	} {
		mismatch("A-076 ours "+name, aud)
	}
	f.attacks([]attack{
		{"A-074 ours in a list of one", to([]string{f.url}), "granted"},
		{"A-076 ours", to(f.url), "granted"},
	})
}

// organization creates another tenant, with a provider of its own that has an
// audience of its own.
func (f *forger) organization(slug, issuer, audience string) {
	f.t.Helper()
	now := f.clock.Now()
	org, err := f.app.CreateOrganization(f.t.Context(), slug, "")
	if err != nil {
		f.t.Fatal(err)
	}
	err = f.app.db.Write(f.t.Context(), func(tx *store.Tx) error {
		return tx.CreateProvider(f.t.Context(), &agentidp.Provider{
			ID: agentidp.NewID(now), OrganizationID: org.ID, Name: "theirs", Kind: "github", Issuer: issuer, Audiences: []string{audience},
			Algorithms: []string{"RS256"}, JWKS: []byte(keySet(jwk(ciKey().Public(), f.kid, nil))), Replay: agentidp.ReplayReject, Revision: 1, CreatedAt: now,
		})
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestSecurityA077AnotherTenantsAudience(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	const issuer, audience = "https://theirs.example", "https://aud.theirs.example"
	f.organization("acme", issuer, audience)
	f.provider("shared", issuer, keySet(jwk(ciKey().Public(), f.kid, nil)), "RS256")
	f.attacks([]attack{
		{"A-077 another tenant's issuer URL", f.signed(claims{"aud": f.url + "/o/acme"}), agentidp.ReasonAudienceMismatch},
		{"A-077 an audience of another tenant's provider of the same issuer", f.signed(claims{"iss": issuer, "aud": audience}), agentidp.ReasonAudienceMismatch},
		{"A-077 that of a tenant that does not exist", f.signed(claims{"aud": f.url + "/o/default"}), agentidp.ReasonAudienceMismatch},
	})
	for _, tt := range []struct {
		name, token  string
		status       int
		code, reason string
	}{
		{"A-077 ours, presented to the other tenant", f.signed(), http.StatusUnauthorized, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch},
		{"A-077 ours from the shared issuer, presented to the other tenant", f.signed(claims{"iss": issuer}), http.StatusUnauthorized, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch},
		{"A-077 theirs, presented to them, for our agent", f.signed(claims{"aud": f.url + "/o/acme"}), http.StatusForbidden, agentidp.CodeTrustPolicyViolation, ""},
		{"A-077 their provider's audience, presented to them", f.signed(claims{"iss": issuer, "aud": audience}), http.StatusForbidden, agentidp.CodeTrustPolicyViolation, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := f.in(t)
			a := f.do(http.MethodPost, "/o/acme/api/v1/oidc/token", "", map[string]any{"token": tt.token, "agentId": f.agentID})
			f.repeatsNothing(f.want(a, tt.status, tt.code, tt.reason), tt.token)
		})
	}
}

func TestSecurityA078ClaimsThatNobodyConfigured(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	plain := saidBy(t, f.becomes(f.signed(), "granted").str("access_token"))
	for name, value := range map[string]any{
		"azp": "admin", "client_id": "admin:root", "scope": "admin", "scp": []string{"admin"}, "roles": []string{"admin"}, "agent_id": "someone", "agentId": "someone",
		"agent_name": "root@acme.example", "act": claims{"sub": "admin"}, "cnf": claims{"jkt": "x"}, "workload": claims{"repository": "acme/root"}, "sub": "admin:root",
	} {
		t.Run("A-078 "+name, func(t *testing.T) {
			said := saidBy(t, f.in(t).becomes(f.signed(claims{name: value}), "granted").str("access_token"))
			said["jti"] = plain["jti"]
			if asJSON(said) != asJSON(plain) {
				t.Errorf("the access token says %v, without the claim %v", said, plain)
			}
		})
	}
}

func TestSecurityA080TheDefaultAudience(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	admin := f.admin()
	several := f.register(admin, "several@ci.acme.example", "deploy:staging")
	f.policy(admin, map[string]any{"branch": "main", "agentId": several, "audiences": []string{"https://b.example", "https://a.example"}})
	for _, tt := range []struct {
		name, agentID, asked, want string
	}{
		{"A-080 no audiences in the policy: the issuer", f.agentID, "", f.url},
		{"A-080 several: the first, and it alone", several, "", "https://b.example"},
		{"A-080 the one that is asked for", several, "https://a.example", "https://a.example"},
		{"A-080 one that the policy does not have", several, "https://c.example", ""},
		{"A-080 all of them", several, "https://a.example https://b.example", ""},
		{"A-080 any", several, "*", ""},
		{"A-080 the management API", several, f.url + "/api/v1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := f.in(t)
			body := map[string]any{"token": f.signed(), "agentId": tt.agentID}
			if tt.asked != "" {
				body["audience"] = tt.asked
			}
			a := f.exchange(body)
			if tt.want == "" {
				f.want(a, http.StatusBadRequest, agentidp.CodeInvalidTarget)
				return
			}
			if got := saidBy(t, f.want(a, http.StatusOK).str("access_token"))["aud"]; got != tt.want {
				t.Errorf("aud is %v, want %q", got, tt.want)
			}
		})
	}
}
