package verify_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

// want is what the token of testdata/github-claims.json says.
var want = agentidp.Claims{
	Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Audience: "https://idp.example.com",
	ReplayKey: "6b3a3e5f-3c1f-4b0e-9d59-0c7a6c1f2e11", TokenID: "6b3a3e5f-3c1f-4b0e-9d59-0c7a6c1f2e11",
	IssuedAt: start, ExpiresAt: start.Add(300 * time.Second),
	Repository: "acme/deploy", RepositoryID: "74", RepositoryOwnerID: "65",
	Ref: "refs/heads/main", RefType: "branch", Event: "push", Environment: "production",
	SHA:            "c4f1b2a3d5e6f708192a3b4c5d6e7f8091a2b3c4",
	WorkflowRef:    "acme/deploy/.github/workflows/release.yml@refs/heads/main",
	JobWorkflowRef: "acme/deploy/.github/workflows/release.yml@refs/heads/main",
	RunID:          "19876543210", RunAttempt: "1", Actor: "octocat",
}

func TestVerifyAccepts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	type change = map[string]any
	for _, tt := range []struct {
		name   string
		change change
	}{
		{"a token as GitHub issues it", nil},
		{"aud as an array of one", change{"aud": []string{"https://idp.example.com"}}},
		{"A-059 claims that resemble those that count", change{
			"Repository": "evil/repo", "REPOSITORY": "evil/repo", "repo\u017fitory": "evil/repo", "\u017fub": "x",
			"i\u017fs": "https://evil.example", "aUd": "x", "Exp": 1, "repository ": "evil/repo"}},
		{"unknown claims of every type", change{"a": nil, "b": 1e300, "c": []any{1, "x"}, "d": change{"iss": "x"}, "e": true}},
		{"A-078 azp and client_id", change{"azp": "admin", "client_id": "admin"}},
		{"A-083 a fraction in exp", change{"exp": json.RawMessage(fmt.Sprintf("%d.9", start.Unix()+300))}},
		{"a fraction in iat", change{"iat": json.RawMessage(fmt.Sprintf("%d.9", start.Unix()))}},
		{"exp with an exponent", change{"exp": json.RawMessage(fmt.Sprintf("%d.%de2", (start.Unix()+300)/100, (start.Unix()+300)%100))}},
		{"A-089 bf in place of nbf", change{"nbf": absent, "bf": start.Unix()}},
		{"A-107 the old form of sub", change{"sub": "repo:acme/deploy:ref:refs/heads/main"}},
		{"A-108 a sub that was customised", change{"sub": "repository_owner:acme"}},
		{"no sub", change{"sub": absent}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := w.mustVerify(t, w.key.token(t, claims(t, tt.change))); plain(got) != want {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
		})
	}
	for _, typ := range []string{`"typ":"JWT",`, `"typ":"jwt",`, `"typ":"application/jwt",`, `"typ":"application/JWT",`, ``} {
		token := w.key.sign(t, `{`+typ+`"alg":"ES256","kid":"k1"}`, marshal(t, claims(t, nil)))
		if got := w.mustVerify(t, token); plain(got) != want {
			t.Errorf("header %s: got %+v", typ, *got)
		}
	}
}

func TestVerifyAcceptsEveryAlgorithmThatTheProviderLists(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{jose.RS256, jose.ES256, jose.EdDSA} {
		w := newWorld(t, alg)
		w.provider.Algorithms = []string{jose.ES384, alg}
		if got := w.mustVerify(t, w.good(t)); plain(got) != want {
			t.Errorf("%s: got %+v", alg, *got)
		}
	}
}

// The issuer's key is good and the signature too; the provider does not list it.
func TestVerifyRefusesAnAlgorithmThatTheProviderDoesNotList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	other := newKey(t, "k2", jose.EdDSA)
	w.issuer.publish(t, w.key, other)
	c, err := w.verify(t, other.token(t, claims(t, nil)))
	uniform(t, wantReason(t, c, err, "algorithm"))
	w.provider.Algorithms = []string{jose.ES256, jose.EdDSA}
	w.mustVerify(t, other.token(t, claims(t, nil)))
}

// Every kind that the product knows can be verified.
func TestTheAlgorithmsOfAllKindsAreSupported(t *testing.T) {
	t.Parallel()
	for name, kind := range newWorld(t, jose.ES256).config.Kinds {
		for _, alg := range kind.Algorithms {
			if _, err := jose.GenerateKey(alg); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The tokens are correctly signed; their payload is at fault.
func TestPeekRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	good := marshal(t, claims(t, nil))
	with := func(members string) string { return good[:len(good)-1] + "," + members + "}" }
	replaced := func(name string, value any) string {
		return marshal(t, claims(t, map[string]any{name: value}))
	}
	for _, tt := range []struct{ name, payload string }{
		{"A-055 bytes that are not UTF-8", with(`"x":"` + "\xff" + `"`)},
		{"A-055 a byte order mark", "\ufeff" + good},
		{"A-055 UTF-16", "\xff\xfe{\x00}\x00"},
		{"A-056 null", `null`},
		{"A-056 an array", `[` + good + `]`},
		{"A-056 a string", `"x"`},
		{"A-056 a number", `1`},
		{"A-057 trailing bytes", good + "x"},
		{"A-057 two objects", good + good},
		{"A-057 a comment", good + "//"},
		{"A-057 NaN", with(`"x":NaN`)},
		{"A-058 repository twice, the good one first", with(`"repository":"evil/repo"`)},
		{"A-058 repository twice, the evil one first", `{"repository":"evil/repo",` + good[1:]},
		{"A-058 iss twice, once with an escape", with(`"\u0069ss":"https://evil.example"`)},
		{"A-060 one name twice in an unknown claim", with(`"x":{"a":1,"a":2}`)},
		{"A-063 a lone surrogate", with(`"x":"\ud800"`)},
		{"A-063 an escaped NUL", with(`"x":"\u0000"`)},
		{"nesting of 17", with(`"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16))},
		{"A-069 iss missing", replaced("iss", absent)},
		{"A-069 iss null", replaced("iss", nil)},
		{"A-069 iss an array", replaced("iss", []string{"https://token.actions.githubusercontent.com"})},
		{"A-069 iss a number", replaced("iss", 1)},
		{"A-069 iss an object", replaced("iss", map[string]any{})},
		{"A-069 iss empty", replaced("iss", "")},
		{"iss with a newline", replaced("iss", "https://token.actions.githubusercontent.com\n")},
		{"A-059 iſs alone", strings.Replace(good, `"iss"`, `"i\u017fs"`, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u, err := verify.Peek(w.key.sign(t, w.key.header(), tt.payload))
			if u != nil {
				t.Fatalf("accepted with issuer %q", u.Issuer)
			}
			uniform(t, wantReason(t, nil, err, "format"))
		})
	}
	for name, raw := range map[string]string{"nothing": "", "A-047 JSON": `{"payload":""}`, "A-065 a prefix": "Bearer " + w.good(t)} {
		_, err := verify.Peek(raw)
		t.Log(name)
		uniform(t, wantReason(t, nil, err, "format"))
	}
}

func TestA062TheCapOnSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	// Not every length can be had from one header: base64 has no group of one.
	sized := func(size int) string {
		pad := (size - len(w.good(t))) * 3 / 4
		for i := pad - 20; i < pad+20; i++ {
			for _, space := range []string{"", " "} {
				payload := marshal(t, claims(t, map[string]any{"x": strings.Repeat("a", i)}))
				if token := w.key.sign(t, w.key.header()+space, payload); len(token) == size {
					return token
				}
			}
		}
		t.Fatalf("no token of %d bytes", size)
		return ""
	}
	token := sized(16 << 10)
	w.mustVerify(t, token)
	_, err := verify.Peek(token + "A")
	e := wantReason(t, nil, err, "size")
	if e.Kind != agentidp.TooLarge || e.Code != agentidp.CodePayloadTooLarge || len(e.Details) != 1 || e.Details[0].Field != "token" {
		t.Errorf("got %+v", e)
	}
}

// uniform checks that an error tells its caller no more than any other refusal.
func uniform(t testing.TB, e *agentidp.Error) {
	t.Helper()
	other := verify.UnknownIssuer("https://ci.example")
	if e.Kind != agentidp.Unauthenticated || e.Code != agentidp.CodeInvalidToken || e.Message != other.Message ||
		e.Reason != "" || e.Claims != nil || e.Details != nil || e.RetryAfter != 0 {
		t.Errorf("the error can be told from others: %+v", e)
	}
	if errors.Unwrap(e) == nil || strings.Contains(e.Error(), "eyJ") {
		t.Errorf("its private cause is missing or shows a token: %v", e)
	}
}

func TestVerifyRefusesBeforeTheSignatureIsProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	attacker := newKey(t, "k1", jose.ES256)
	payload := marshal(t, claims(t, nil))
	header := func(members string) string { return `{"alg":"ES256","kid":"k1"` + members + `}` }
	jwk := string(jwks(t, attacker)[len(`{"keys":[`):])
	jwk = jwk[:len(jwk)-2]
	type test struct{ name, token, reason string }
	tests := []test{
		{"A-001 alg none", w.key.sign(t, `{"alg":"none","kid":"k1"}`, payload), "algorithm"},
		{"A-015 alg of another key type", w.key.sign(t, `{"alg":"RS256","kid":"k1"}`, payload), "algorithm"},
		{"alg in lower case", w.key.sign(t, `{"alg":"es256","kid":"k1"}`, payload), "algorithm"},
		{"A-032 kid missing though there is one key", w.key.sign(t, `{"alg":"ES256"}`, payload), "unknown_key"},
		{"A-029 a kid that is a path", w.key.sign(t, `{"alg":"ES256","kid":"../../dev/null"}`, payload), "unknown_key"},
		{"another key under the same id", attacker.sign(t, header(""), payload), "signature"},
		{"A-026 the header brings its key", attacker.sign(t, header(`,"jwk":`+jwk), payload), "format"},
		{"A-027 the header names a key set", attacker.sign(t, header(`,"jku":"`+w.issuer.URL+`/evil"`), payload), "format"},
		{"A-028 the header names a chain", attacker.sign(t, header(`,"x5u":"`+w.issuer.URL+`/evil"`), payload), "format"},
	}
	for _, typ := range []string{"at+jwt", "logout+jwt", "dpop+jwt", "oauth-id-jag+jwt", "secevent+jwt", "JWE", "application/at+jwt", "jwt "} {
		tests = append(tests, test{"A-036 A-158 typ " + typ, w.key.sign(t, header(`,"typ":"`+typ+`"`), payload), "type"})
	}
	for name, iss := range map[string]string{
		"a trailing slash": "https://token.actions.githubusercontent.com/", "an upper-case host": "https://TOKEN.actions.githubusercontent.com",
		"http": "http://token.actions.githubusercontent.com", "a port": "https://token.actions.githubusercontent.com:443",
		"user information": "https://x@token.actions.githubusercontent.com", "a fragment": "https://token.actions.githubusercontent.com#",
		"an escape": "https://token.actions.githubusercontent%2ecom", "a Cyrillic o": "https://t\u043eken.actions.githubusercontent.com",
		"a suffix": "https://token.actions.githubusercontent.com.evil.example", "A-067 an enterprise slug": "https://token.actions.githubusercontent.com/acme",
		"A-068 another server": "https://ghes.example/_services/token",
	} {
		tests = append(tests, test{"A-066 iss with " + name, w.key.token(t, claims(t, map[string]any{"iss": iss})), "issuer"})
	}
	w.mustVerify(t, w.good(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := w.verify(t, tt.token)
			uniform(t, wantReason(t, c, err, tt.reason))
		})
	}
	t.Cleanup(func() {
		if n := w.issuer.requests.Load(); n != 1 {
			t.Errorf("%d requests to the issuer", n)
		}
	})
}

func TestA191WhatIsRefusedAtSightCausesNoNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	c, err := w.verify(t, w.key.token(t, claims(t, map[string]any{"iss": "https://evil.example"})))
	uniform(t, wantReason(t, c, err, "issuer"))
	uniform(t, wantReason(t, nil, verify.UnknownIssuer("https://ci.example"), "issuer"))
	c, err = w.verify(t, w.key.sign(t, `{"alg":"ES256"}`, marshal(t, claims(t, nil))))
	uniform(t, wantReason(t, c, err, "unknown_key"))
	if n := w.verifier.Stats().Fetches; n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestAnUnknownKindIsAFaultOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.provider.Kind = "nonesuch"
	c, err := w.verify(t, w.good(t))
	if e := wantReason(t, c, err, agentidp.CodeInternal); e.Kind != agentidp.Internal {
		t.Errorf("got %+v", e)
	}
}

func TestReplayKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	token := w.good(t)

	// the twin of the signature is valid, and the same token.
	i := strings.LastIndexByte(token, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(token[i:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	twin := token[:i] + base64.RawURLEncoding.EncodeToString(sig)
	if twin == token || w.mustVerify(t, token).ReplayKey != w.mustVerify(t, twin).ReplayKey {
		t.Error("the twin is another token")
	}

	// Where a kind requires no jti, the signing input identifies the token.
	lax := *w.config.Kinds["github"]
	lax.Required = []agentidp.Claim{agentidp.ClaimRepository}
	w.config.Kinds = map[string]*agentidp.ProviderKind{"github": &lax}
	w.restart(t)
	if got := w.mustVerify(t, token).ReplayKey; got != want.TokenID {
		t.Errorf("with a jti: %s", got)
	}
	seen := map[string]bool{}
	for _, change := range []map[string]any{{"jti": absent}, {"jti": ""}, {"jti": absent, "run_id": "1"}} {
		token := w.key.token(t, claims(t, change))
		key := w.mustVerify(t, token).ReplayKey
		if !strings.HasPrefix(key, "sha256:") || len(key) != 7+64 || seen[key] || key != w.mustVerify(t, token).ReplayKey {
			t.Errorf("without a jti: %s", key)
		}
		seen[key] = true
	}
}

// P1: whatever is changed in a token, it verifies to the same claims or not at all.
func TestNoMutationOfATokenChangesItsClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.EdDSA)
	token := w.good(t)
	for i := range len(token) {
		for _, c := range []byte{'A', '.', '_', '=', '\n', token[i] ^ 1} {
			mutated := token[:i] + string(c) + token[i+1:]
			if got, err := w.verify(t, mutated); err == nil && plain(got) != want {
				t.Fatalf("byte %d as %q: %+v", i, c, got)
			}
			if got, err := w.verify(t, token[:i]+string(c)+token[i:]); err == nil {
				t.Fatalf("%q before byte %d: %+v", c, i, got)
			}
		}
	}
	if got := w.verifier.Stats().Fetches; got != 1 {
		t.Errorf("%d fetches", got)
	}
}

func TestReasonsAreFew(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, name := range strings.Fields("size format issuer algorithm type unknown_key signature issuer_unreachable internal_error " +
		"audience_mismatch token_expired token_not_yet_valid token_too_old claim_invalid") {
		known[name] = true
	}
	for _, err := range []error{verify.UnknownIssuer("https://ci.example"), errors.New("x"), agentidp.NewError(agentidp.TooLarge, "", ""),
		fmt.Errorf("wrapped: %w", verify.UnknownIssuer("https://ci.example")), agentidp.NewError(agentidp.Unavailable, agentidp.CodeIssuerUnreachable, "")} {
		if !known[verify.Reason(err)] {
			t.Errorf("%v is of reason %q", err, verify.Reason(err))
		}
	}
}
