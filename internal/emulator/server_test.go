package emulator_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
)

// get requests a URL as it is spelled, with an Authorization header unless it is
// empty, and decodes the JSON that comes back.
func get(t *testing.T, target, authorization string, into any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if media := res.Header.Get("Content-Type"); !strings.HasPrefix(media, "application/json") {
		t.Errorf("%s: Content-Type %q", target, media)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v in %s", target, err, body)
	}
	return res
}

func TestDiscoveryLeadsToTheKeyThatSigns(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/acme", "/_services/token"} {
		e, server := serve(t, path, emulator.Run{Repository: "acme/deploy", Environment: "prod"})
		var doc struct {
			Issuer     string   `json:"issuer"`
			JWKSURI    string   `json:"jwks_uri"`
			Algorithms []string `json:"id_token_signing_alg_values_supported"`
			Claims     []string `json:"claims_supported"`
		}
		get(t, server.URL+path+"/.well-known/openid-configuration", "", &doc)
		if doc.Issuer != server.URL+path || doc.JWKSURI != server.URL+path+"/.well-known/jwks" || !slices.Equal(doc.Algorithms, []string{"RS256"}) {
			t.Fatalf("discovery: %+v", doc)
		}
		var set gojose.JSONWebKeySet
		get(t, doc.JWKSURI, "", &set)
		token, err := e.Mint(emulator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		jws, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		header := jws.Signatures[0].Protected
		keys := set.Key(header.KeyID)
		if header.KeyID == "" || len(keys) != 1 || !keys[0].IsPublic() || keys[0].Use != "sig" {
			t.Fatalf("kid %q names %d keys", header.KeyID, len(keys))
		}
		if typ := header.ExtraHeaders["typ"]; typ != "JWT" {
			t.Errorf("typ = %v, want JWT", typ)
		}
		payload, err := jws.Verify(keys[0])
		if err != nil {
			t.Fatalf("verify: %v", err)
		}
		var c map[string]any
		if err := json.Unmarshal(payload, &c); err != nil {
			t.Fatal(err)
		}
		if c["iss"] != doc.Issuer {
			t.Errorf("iss = %v, want %s", c["iss"], doc.Issuer)
		}
		if names := slices.Sorted(maps.Keys(c)); !slices.Equal(names, doc.Claims) {
			t.Errorf("claims %v\nare not claims_supported %v", names, doc.Claims)
		}
	}
}

func TestOurOwnParserTakesTheTokenAndTheKeys(t *testing.T) {
	t.Parallel()
	e, server := serve(t, "", emulator.Run{Repository: "acme/deploy"})
	var raw json.RawMessage
	get(t, server.URL+"/.well-known/jwks", "", &raw)
	keys, err := jose.ParseJWKS(raw, []string{jose.RS256})
	if err != nil || len(keys) != 1 {
		t.Fatalf("ParseJWKS: %d keys, %v", len(keys), err)
	}
	token, err := e.Mint(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.Parse(token)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if err := jws.Verify(keys[0]); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

// TestTheToolkitGetsItsToken sends what getIDToken of @actions/core 3.0.1 sends:
// the variable as it is, "&audience=" with encodeURIComponent's spelling, and
// "Bearer". test/actionscore does the same with the real one.
func TestTheToolkitGetsItsToken(t *testing.T) {
	t.Parallel()
	e, _ := serve(t, "", emulator.Run{Repository: "acme/deploy"})
	for _, test := range []struct{ name, suffix, scheme, want string }{
		{"an audience", "&audience=https%3A%2F%2Fidp.example.com%2Fo%2Facme", "Bearer", "https://idp.example.com/o/acme"},
		{"an audience with everything that needs encoding", "&audience=a%20b%26c%3Dd%2B%C3%BC%23", "Bearer", "a b&c=d+ü#"},
		{"no audience is GitHub's default", "", "Bearer", "https://github.com/acme"},
		{"an empty audience is none", "&audience=", "Bearer", "https://github.com/acme"},
		{"curl, as GitHub's documentation has it", "&audience=x", "bearer", "x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var answer struct {
				Count int    `json:"count"`
				Value string `json:"value"`
			}
			res := get(t, e.RequestURL()+test.suffix, test.scheme+" "+e.RequestToken(), &answer)
			if res.StatusCode != http.StatusOK || answer.Count != len(answer.Value) {
				t.Fatalf("status %d, count %d of %d", res.StatusCode, answer.Count, len(answer.Value))
			}
			if res.Header.Get("Cache-Control") != "no-store" {
				t.Error("a token may be cached")
			}
			if c := claims(t, answer.Value); c["aud"] != test.want {
				t.Errorf("aud = %v, want %s", c["aud"], test.want)
			}
		})
	}
}

func TestTheTokenEndpointRefuses(t *testing.T) {
	t.Parallel()
	e, server := serve(t, "", emulator.Run{Repository: "acme/deploy"})
	good := "Bearer " + e.RequestToken()
	for _, test := range []struct {
		name, url, authorization string
		status                   int
		message                  string
	}{
		{"no request token", e.RequestURL(), "", 401, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		{"another request token", e.RequestURL(), "Bearer x", 401, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		{"an empty request token", e.RequestURL(), "Bearer ", 401, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		{"another scheme", e.RequestURL(), "Basic " + e.RequestToken(), 401, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		{"more than the request token", e.RequestURL(), good + " x", 401, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
		{"no API version", server.URL + "/token", good, 400, "api-version"},
		{"a second question mark", e.RequestURL() + "?audience=" + url.QueryEscape(server.URL), good, 400, "&audience="},
		{"two audiences", e.RequestURL() + "&audience=a&audience=b", good, 400, "one audience"},
		{"an audience that is not UTF-8", e.RequestURL() + "&audience=%ff", good, 400, "UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var answer struct {
				Message string `json:"message"`
				Value   string `json:"value"`
			}
			res := get(t, test.url, test.authorization, &answer)
			if res.StatusCode != test.status || !strings.Contains(answer.Message, test.message) {
				t.Errorf("got %d %q, want %d and %q", res.StatusCode, answer.Message, test.status, test.message)
			}
			if answer.Value != "" || strings.Contains(answer.Message, e.RequestToken()) {
				t.Error("a secret left with a refusal")
			}
		})
	}
}

func TestRequestTokensAreNotShared(t *testing.T) {
	t.Parallel()
	a, b := newEmulator(t, emulator.Run{Repository: "acme/deploy"}), newEmulator(t, emulator.Run{Repository: "acme/deploy"})
	if a.RequestToken() == b.RequestToken() || len(a.RequestToken()) < 26 {
		t.Error("request tokens must be random and long")
	}
}
