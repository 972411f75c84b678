package jose_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/jose"
)

// FuzzParse checks that an accepted token is the only spelling of its parts. It begins
// with the attacks of docs/security-cases.md on what a token looks like.
func FuzzParse(f *testing.F) {
	token := sign(f, `{"alg":"ES256","kid":"k","typ":"JWT"}`, `{"iss":"x"}`)
	s := segments(token)
	for _, seed := range []string{
		token, "e30.e30.e30",
		s[0] + "." + s[1] + ".",
		`{"payload":"` + s[1] + `","signatures":[{"protected":"` + s[0] + `","signature":"` + s[2] + `"}]}`,
		`{"payload":"a.b.c"}`,
		token + "." + s[1] + "." + s[2],
		"...",
		token + "\n", "\r" + token, s[0] + "\t." + s[1] + "." + s[2],
		s[0] + ".+/." + s[2],
		s[0] + ".e31." + s[2],
		"Bearer " + token,
	} {
		f.Add(seed)
	}
	for _, header := range []string{
		`{"alg":"none"}`,
		`{"alg":null}`,
		`{"alg":"ES256","jwk":{"kty":"EC"}}`,
		`{"alg":"ES256","jku":"https://evil.example"}`,
		`{"alg":"ES256","x5c":["MIID"]}`,
		`{"alg":"ES256","kid":"../../dev/null"}`,
		`{"alg":"ES256","kid":"a\u0000\u001b[31m\u202e"}`,
		`{"alg":"ES256","kid":1}`,
		`{"alg":"ES256","b64":false,"crit":["b64"]}`,
		`{"alg":"ES256","cty":"JWT"}`,
		`{"alg":"none","\u0061lg":"ES256"}`,
		`{"alg":"ES256","\u212aid":"b"}`,
		strings.Repeat(`{"a":`, 20) + strings.Repeat("}", 20),
		`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`,
		`{"alg":"PBES2-HS256+A128KW","p2c":2147483648}`,
		"{\"alg\":\"ES256\",\"x\":\"\xff\"}",
	} {
		f.Add(b64(header) + "." + s[1] + "." + s[2])
	}
	f.Fuzz(func(t *testing.T, token string) {
		j, err := jose.Parse(token)
		if err != nil {
			return
		}
		s := segments(token)
		if len(s) != 3 || b64(string(j.Payload)) != s[1] || b64(string(unb64(t, s[0]))) != s[0] || b64(string(unb64(t, s[2]))) != s[2] {
			t.Fatalf("%q is not canonical", token)
		}
		if j.Header.Alg == "" {
			t.Fatal("alg is empty")
		}
		for _, c := range j.Header.Kid {
			if c < 0x20 || c > 0x7e {
				t.Fatalf("kid %q", j.Header.Kid)
			}
		}
	})
}

// FuzzParseJWKS reads what an issuer or a client publishes, whoever has come to write it.
// Of any document, each key that is used is of one algorithm that is allowed, under an id
// that no other has; go-jose calls it a good public key; and it is itself when it is
// published and read again.
func FuzzParseJWKS(f *testing.F) {
	github, err := os.ReadFile("testdata/github-jwks.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(github)
	for _, alg := range []string{jose.ES256, jose.ES384, jose.EdDSA} { // an RSA key takes every worker seconds to make
		f.Add(set(f, members(f, alg, "k"), members(f, alg, "k")))
		f.Add(set(f, members(f, jose.ES256, "k"), members(f, alg, "")))
	}
	for _, key := range []string{
		`{"kty":"oct","alg":"HS256","k":"AAAA"}`,
		`{"kty":"RSA","n":"AQAB","e":"AQAB","use":"enc"}`,
		`{"kty":"RSA","n":"` + rocaModulus + `","e":"AQ"}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"AA","key_ops":["sign"]}`,
		`{"kty":"RSA","d":"AQAB","x5c":["MIID"]}`,
		`null`, `[]`, `{"keys":[]}`,
	} {
		f.Add([]byte(`{"keys":[` + key + `]}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := jose.ParseJWKS(data, jose.Algorithms)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys and %v", len(keys), err)
		}
		ids := map[string]bool{}
		for _, k := range keys {
			if ids[k.ID] && k.ID != "" {
				t.Fatalf("two keys have the id %q", k.ID)
			}
			ids[k.ID] = true
			if err := sound(k); err != nil {
				t.Fatalf("key %q for %s: %v", k.ID, k.Algorithm, err)
			}
		}
	})
}

func sound(k *jose.Key) error {
	if !slices.Contains(jose.Algorithms, k.Algorithm) {
		return errors.New("its algorithm is not allowed")
	}
	published, err := k.JWK()
	if err != nil {
		return err
	}
	var other gojose.JSONWebKey
	if err := other.UnmarshalJSON(published); err != nil {
		return fmt.Errorf("go-jose cannot read it: %w", err)
	}
	if !other.IsPublic() || !other.Valid() {
		return errors.New("go-jose refuses it")
	}
	again, err := jose.ParseJWKS([]byte(`{"keys":[`+string(published)+`]}`), []string{k.Algorithm})
	if err != nil {
		return fmt.Errorf("it cannot be read again: %w", err)
	}
	if again[0].ID != k.ID || !again[0].Equal(k) {
		return errors.New("read again, it is another")
	}
	return nil
}
