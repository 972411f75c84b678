package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
)

// members returns the JWK of the test's key for alg, for a test to alter.
func members(t testing.TB, alg, kid string) map[string]any {
	t.Helper()
	key, err := jose.NewKey(kid, alg, keyOf(t, alg).Public())
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.JWK()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func set(t testing.TB, keys ...any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseJWKSReadsWhatGitHubPublishes(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/github-jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := jose.ParseJWKS(data, []string{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 || keys[0].ID != "1F2AB83404C08EC9EA0BB99DAED02186B091DBF4" || keys[0].Algorithm != jose.RS256 {
		t.Errorf("got %+v", keys)
	}
}

// rocaModulus is that of json_web_key_test.json, tcId 7.
const rocaModulus = "AanFpofbj7KjD4Lf-N2hVMKR7yewSyXhhbirIMTGpfYEhZ_lnt5UoK98DnKIgArXGTu3MaW_HhFw16HGaTDUHqPrId7fe4r11CqRw09yBFuW79V8sYIwHdzCaWflUI6auImYbVfoN9_nD5n8N8SY9DwXw7mwZM9wREPXoDPgOoIWl6q_MPsp7n0zs3Z5ZaiQWOOzl1S9OhwAfSiiOwz6efnXEaxuTEtPd7BjSx7NaFka8Dx9U7YqXy2RFj1O9PjyaDGuRh7YXsX3iMUSP_wSyHQg_c_qHRtKUsNSGCT7OZg0hzm2KphtjnayKJvC64vAbROBR4Ubg6Bxg9IQVZ-QYyE"

func TestParseJWKSIgnores(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n *big.Int) string { return b64(string(n.Bytes())) }
	rsaN := keyOf(t, jose.RS256).(*rsa.PrivateKey).N
	p256 := elliptic.P256().Params()
	type change map[string]any
	for _, tt := range []struct {
		name, alg string
		change    change
	}{
		{"A-011 RSA of 1024 bits", jose.RS256, change{"n": number(small.N)}},
		{"A-012 e = 1", jose.RS256, change{"e": "AQ"}},
		{"A-012 e = 2", jose.RS256, change{"e": "Ag"}},
		{"A-012 e even", jose.RS256, change{"e": number(big.NewInt(65536))}},
		{"A-012 e over 2^31-1", jose.RS256, change{"e": number(big.NewInt(1<<31 + 1))}},
		{"A-012 e of 40 bytes", jose.RS256, change{"e": b64(strings.Repeat("\x01", 40))}},
		{"A-012 n even", jose.RS256, change{"n": number(new(big.Int).Sub(rsaN, big.NewInt(1)))}},
		{"A-012 n = 0", jose.RS256, change{"n": "AA"}},
		{"A-013 RSA of 16384 bits", jose.RS256, change{"n": number(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 16383), big.NewInt(1)))}},
		{"RSA of a card with ROCA (Wycheproof)", jose.RS256, change{"n": rocaModulus}},
		{"A-018 alg not allowed", jose.RS256, change{"alg": "PS256"}},
		{"A-181 alg of another type", jose.RS256, change{"alg": jose.ES256}},
		{"A-022 alg of another curve", jose.ES384, change{"alg": jose.ES256}},
		{"alg none", jose.RS256, change{"alg": "none"}},
		{"alg null", jose.RS256, change{"alg": nil}},
		{"A-023 x of another point", jose.ES256, change{"x": number(p256.Gx)}},
		{"A-023 the point at infinity", jose.ES256, change{"x": b64(string(make([]byte, 32))), "y": b64(string(make([]byte, 32)))}},
		{"A-023 a coordinate over p", jose.ES256, change{"x": number(new(big.Int).Add(p256.P, big.NewInt(1)))}},
		{"A-023 a short coordinate", jose.ES256, change{"x": b64(string(make([]byte, 31)))}},
		{"A-023 a long coordinate", jose.ES256, change{"x": b64(string(make([]byte, 33)))}},
		{"an Ed25519 key of 31 bytes", jose.EdDSA, change{"x": b64(string(make([]byte, 31)))}},
		{"an X25519 key", jose.EdDSA, change{"crv": "X25519"}},
		{"an unknown curve", jose.ES256, change{"crv": "secp256k1"}},
		{"A-024 a symmetric key", jose.RS256, change{"kty": "oct", "k": "AAAA", "alg": "HS256"}},
		{"A-181 use enc", jose.RS256, change{"use": "enc"}},
		{"A-181 use a number", jose.RS256, change{"use": 1}},
		{"A-181 key_ops encrypt", jose.RS256, change{"key_ops": []string{"encrypt"}}},
		{"A-181 key_ops empty", jose.RS256, change{"key_ops": []string{}}},
		{"A-181 key_ops a string", jose.RS256, change{"key_ops": "verify"}},
		{"A-181 the private member d", jose.RS256, change{"d": "AQAB"}},
		{"A-181 the private member p", jose.RS256, change{"p": "AQAB"}},
		{"A-181 x5c without n and e", jose.RS256, change{"n": "", "e": "", "x5c": []string{"MIID"}}},
		{"kid a number", jose.RS256, change{"kid": 1}},
		{"kid empty", jose.RS256, change{"kid": ""}},
		{"kid with a newline", jose.RS256, change{"kid": "a\nb"}},
		{"kty absent", jose.RS256, change{"kty": ""}},
		{"n in plain base64", jose.RS256, change{"n": "+/" + number(rsaN)[2:]}},
		{"n with padding", jose.RS256, change{"n": number(rsaN) + "=="}},
		{"n with a line break", jose.RS256, change{"n": number(rsaN)[:10] + "\n" + number(rsaN)[10:]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bad := members(t, tt.alg, "bad")
			for name, value := range tt.change {
				bad[name] = value
			}
			if keys, err := jose.ParseJWKS(set(t, bad), jose.Algorithms); err == nil {
				t.Fatalf("used as %+v", keys[0])
			}
			keys, err := jose.ParseJWKS(set(t, bad, members(t, jose.ES256, "good")), jose.Algorithms)
			if err != nil || len(keys) != 1 || keys[0].ID != "good" {
				t.Errorf("beside a good key: %+v, %v", keys, err)
			}
		})
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	t.Parallel()
	good := members(t, jose.ES256, "good")
	many := slices.Repeat([]any{good}, 65)
	for name, data := range map[string][]byte{
		"A-179 no JSON":                []byte("<html>"),
		"A-179 nothing":                nil,
		"A-179 keys null":              []byte(`{"keys":null}`),
		"A-179 keys empty":             []byte(`{"keys":[]}`),
		"A-179 keys absent":            []byte(`{}`),
		"keys twice":                   []byte(`{"keys":[],"keys":[]}`),
		"Keys":                         bytes.Replace(set(t, good), []byte("keys"), []byte("Keys"), 1),
		"an array":                     []byte(`[]`),
		"elements that are no objects": []byte(`{"keys":[1,"x",null,[]]}`),
		"65 keys":                      set(t, many...),
		"over 256 KiB":                 append(set(t, good), bytes.Repeat([]byte(" "), jose.MaxJWKS)...),
	} {
		if keys, err := jose.ParseJWKS(data, jose.Algorithms); err == nil {
			t.Errorf("%s: got %d keys", name, len(keys))
		}
	}
	if keys, err := jose.ParseJWKS(set(t, good), []string{jose.RS256}); err == nil {
		t.Errorf("an algorithm that is not allowed: %+v", keys[0])
	}
	if _, err := jose.ParseJWKS(set(t, many[:64]...), jose.Algorithms); err != nil {
		t.Errorf("64 keys: %v", err)
	}
}

func TestParseJWKSSaysWhyNoKeyIsUsable(t *testing.T) {
	t.Parallel()
	key := members(t, jose.RS256, "k")
	key["use"] = "enc"
	_, err := jose.ParseJWKS(set(t, key), jose.Algorithms)
	if want := "no usable key among 1 in the key set: key 1: use is not sig"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestA180OneKidForDifferentKeys(t *testing.T) {
	t.Parallel()
	keys, err := jose.ParseJWKS(set(t,
		members(t, jose.ES256, "twice"), members(t, jose.RS256, "good"), members(t, jose.EdDSA, "twice"),
		members(t, jose.RS256, "good"),
	), jose.Algorithms)
	if err != nil || len(keys) != 1 || keys[0].ID != "good" {
		t.Errorf("got %+v, %v", keys, err)
	}
}

func TestParseJWKSBindsKeysWithoutAlg(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    string
		allowed []string
		want    string
	}{
		{jose.RS256, []string{jose.RS256}, jose.RS256},
		{jose.RS256, []string{jose.ES256, jose.RS512, jose.RS256}, jose.RS512},
		{jose.RS256, []string{jose.ES256}, ""},
		{jose.ES256, []string{jose.RS256, jose.ES384, jose.ES256}, jose.ES256},
		{jose.ES384, jose.Algorithms, jose.ES384},
		{jose.ES384, []string{jose.ES256}, ""},
		{jose.EdDSA, []string{jose.EdDSA}, jose.EdDSA},
	} {
		key := members(t, tt.kind, "k")
		delete(key, "alg")
		delete(key, "use")
		keys, err := jose.ParseJWKS(set(t, key), tt.allowed)
		got := ""
		if err == nil {
			got = keys[0].Algorithm
		}
		if got != tt.want {
			t.Errorf("a key for %s with %q allowed: got %q, %v", tt.kind, tt.allowed, got, err)
		}
	}
}

func TestJWKShowsPublicMembersOnly(t *testing.T) {
	t.Parallel()
	for alg, want := range map[string]string{
		jose.RS256: "alg e kid kty n use",
		jose.ES256: "alg crv kid kty use x y",
		jose.ES384: "alg crv kid kty use x y",
		jose.EdDSA: "alg crv kid kty use x",
	} {
		m := members(t, alg, `a"b\c`)
		var names []string
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s", alg, got)
		}
		keys, err := jose.ParseJWKS(set(t, m), jose.Algorithms)
		if err != nil || keys[0].ID != `a"b\c` || !keys[0].Equal(signerOf(t, alg).Public()) {
			t.Errorf("%s does not come back: %v", alg, err)
		}
	}
}

// Coordinates keep their leading zeros (RFC 7518 §6.2.1.2).
func TestJWKOfASmallCoordinate(t *testing.T) {
	t.Parallel()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if point[1] != 0 {
			continue
		}
		k, err := jose.NewKey("k", jose.ES256, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		data, err := k.JWK()
		if err != nil {
			t.Fatal(err)
		}
		keys, err := jose.ParseJWKS(fmt.Appendf(nil, `{"keys":[%s]}`, data), jose.Algorithms)
		if err != nil || !keys[0].Equal(k) {
			t.Errorf("%s does not come back: %v", data, err)
		}
		return
	}
}

// a key's id is what the key is, so no other key has it.
func TestThumbprintOfRFC7638(t *testing.T) {
	t.Parallel()
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(unb64(t, n)), E: 65537}
	got, err := jose.Thumbprint(key)
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestNewKeyRefuses(t *testing.T) {
	t.Parallel()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id, alg string
		public        any
	}{
		{"an unknown algorithm", "k", "HS256", []byte("secret")},
		{"no key", "k", jose.RS256, nil},
		{"an EC key for RSA", "k", jose.RS256, keyOf(t, jose.ES256).Public()},
		{"an RSA key for EC", "k", jose.ES256, keyOf(t, jose.RS256).Public()},
		{"another curve", "k", jose.ES256, keyOf(t, jose.ES384).Public()},
		{"a curve that is not supported", "k", jose.ES256, p224.Public()},
		{"an EC key for EdDSA", "k", jose.EdDSA, keyOf(t, jose.ES256).Public()},
		{"a private key", "k", jose.ES256, keyOf(t, jose.ES256)},
		{"an id that is not printable", "\n", jose.ES256, keyOf(t, jose.ES256).Public()},
	} {
		if _, err := jose.NewKey(tt.id, tt.alg, tt.public); err == nil {
			t.Errorf("%s was accepted", tt.name)
		}
	}
}
