package jose_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
)

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, header string
		want         jose.Header
	}{
		{"alg alone", `{"alg":"ES256"}`, jose.Header{Alg: "ES256"}},
		{"what GitHub sends", `{"typ":"JWT","alg":"RS256","x5t":"Hyq4NATAjsnqC7mdrtAhhrCR2_Q","kid":"1F2A"}`, jose.Header{Alg: "RS256", Kid: "1F2A", Typ: "JWT"}},
		{"A-036 any typ, for the caller to judge", `{"alg":"ES256","typ":"at+jwt"}`, jose.Header{Alg: "ES256", Typ: "at+jwt"}},
		{"unknown names", `{"alg":"ES256","ver":2,"x":{"alg":"none"},"algo":"none"}`, jose.Header{Alg: "ES256"}},
		{"names and values with escapes", `{"\u0061lg":"\u0045S256"}`, jose.Header{Alg: "ES256"}},
		{"A-029 A-030 a kid that is a path or SQL: it is only compared", `{"alg":"ES256","kid":"../../dev/null' UNION SELECT 'k'--"}`, jose.Header{Alg: "ES256", Kid: "../../dev/null' UNION SELECT 'k'--"}},
		{"a kid of 256 characters", `{"alg":"ES256","kid":"` + strings.Repeat("k", 256) + `"}`, jose.Header{Alg: "ES256", Kid: strings.Repeat("k", 256)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j, err := jose.Parse(sign(t, tt.header, "payload"))
			if err != nil {
				t.Fatal(err)
			}
			if j.Header != tt.want || string(j.Payload) != "payload" {
				t.Errorf("got %+v %q", j.Header, j.Payload)
			}
			key, err := jose.NewKey("", jose.ES256, keyOf(t, jose.ES256).Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Verify(key); (err == nil) != (tt.want.Alg == jose.ES256) {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

// The tokens are correctly signed: nothing but the header is wrong.
func TestParseRefusesHeaders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, header string }{
		{"A-017 alg absent", `{"kid":"k"}`},
		{"A-017 alg null", `{"alg":null}`},
		{"A-017 alg a number", `{"alg":256}`},
		{"A-017 alg an array", `{"alg":["ES256"]}`},
		{"A-017 alg an object", `{"alg":{"ES256":1}}`},
		{"A-017 alg empty", `{"alg":""}`},
		{"A-026 jwk", `{"alg":"ES256","jwk":{"kty":"EC"}}`},
		{"A-027 jku", `{"alg":"ES256","jku":"https://evil.example/jwks"}`},
		{"A-028 x5u", `{"alg":"ES256","x5u":"https://evil.example/chain"}`},
		{"A-028 x5c", `{"alg":"ES256","x5c":["MII="]}`},
		{"A-031 kid with an escaped newline", `{"alg":"ES256","kid":"a\nb"}`},
		{"A-031 kid with an ANSI escape", `{"alg":"ES256","kid":"\u001b[31m"}`},
		{"A-031 kid with NUL", `{"alg":"ES256","kid":"a\u0000"}`},
		{"A-031 kid with an emoji", `{"alg":"ES256","kid":"😀"}`},
		{"A-031 kid with a right-to-left override", `{"alg":"ES256","kid":"a\u202eb"}`},
		{"A-031 kid of 257 characters", `{"alg":"ES256","kid":"` + strings.Repeat("k", 257) + `"}`},
		{"A-031 kid of 64 KiB", `{"alg":"ES256","kid":"` + strings.Repeat("k", 64<<10) + `"}`},
		{"A-033 kid a number", `{"alg":"ES256","kid":1}`},
		{"A-033 kid an array", `{"alg":"ES256","kid":["k"]}`},
		{"A-033 kid null", `{"alg":"ES256","kid":null}`},
		{"A-033 kid empty", `{"alg":"ES256","kid":""}`},
		{"A-035 b64 false", `{"alg":"ES256","b64":false}`},
		{"A-035 b64 true", `{"alg":"ES256","b64":true}`},
		{"A-035 b64 with crit", `{"alg":"ES256","b64":false,"crit":["b64"]}`},
		{"crit empty", `{"alg":"ES256","crit":[]}`},
		{"crit naming a claim", `{"alg":"ES256","crit":["exp"]}`},
		{"A-036 typ a number", `{"alg":"ES256","typ":1}`},
		{"A-037 cty", `{"alg":"ES256","cty":"JWT"}`},
		{"A-038 alg twice", `{"alg":"none","alg":"ES256"}`},
		{"A-038 alg twice, the other way", `{"alg":"ES256","alg":"none"}`},
		{"A-038 alg twice, once with an escape", `{"alg":"ES256","\u0061lg":"none"}`},
		{"A-038 kid twice", `{"alg":"ES256","kid":"a","kid":"b"}`},
		{"A-039 ALG", `{"alg":"ES256","ALG":"none"}`},
		{"A-039 Kid", `{"alg":"ES256","kid":"a","Kid":"b"}`},
		{"A-039 kid with KELVIN SIGN", `{"alg":"ES256","kid":"a","\u212aid":"b"}`},
		{"A-039 KELVIN SIGN without a kid", `{"alg":"ES256","Kid":"b"}`},
		{"A-039 JWK", `{"alg":"ES256","JWK":{}}`},
		{"A-039 Crit", `{"alg":"ES256","Crit":[]}`},
		{"A-040 null", `null`},
		{"A-040 an array", `[]`},
		{"A-040 a string", `"x"`},
		{"A-040 an empty object", `{}`},
		{"A-040 ten thousand deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)},
		{"A-041 zip", `{"alg":"ES256","zip":"DEF"}`},
		{"A-042 enc", `{"alg":"ES256","enc":"A256GCM"}`},
		{"A-045 p2c", `{"alg":"PBES2-HS256+A128KW","p2c":2147483648,"p2s":"AA"}`},
		{"members of encryption", `{"alg":"ES256","epk":{},"apu":"","apv":"","iv":"","tag":""}`},
		{"A-055 bytes that are not UTF-8", "{\"alg\":\"ES256\",\"x\":\"\xff\"}"},
		{"A-057 trailing bytes", `{"alg":"ES256"}{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if j, err := jose.Parse(sign(t, tt.header, "{}")); err == nil {
				t.Errorf("accepted as %+v", j.Header)
			}
		})
	}
}

func TestParseRefusesSpellings(t *testing.T) {
	t.Parallel()
	token := sign(t, `{"alg":"ES256"}`, `{"a":"b"}`)
	s := segments(token)
	type test struct{ name, token string }
	tests := []test{
		{"A-047 general JSON serialization", `{"payload":"` + s[1] + `","signatures":[{"protected":"` + s[0] + `","signature":"` + s[2] + `"}]}`},
		{"A-048 JSON that has two dots", `{"payload":"a.b.c"}`},
		{"A-049 nothing", ""},
		{"A-049 one segment", s[0]},
		{"A-049 two segments", s[0] + "." + s[1]},
		{"A-049 four segments", token + "." + s[2]},
		{"A-044 A-049 five segments", token + "." + s[1] + "." + s[2]},
		{"A-049 two dots alone", ".."},
		{"A-049 an empty header", "." + s[1] + "." + s[2]},
		{"A-049 an empty payload", s[0] + ".." + s[2]},
		{"A-003 A-049 an empty signature", s[0] + "." + s[1] + "."},
		{"A-049 a leading dot", "." + token},
		{"A-049 a trailing dot", token + "."},
		{"A-065 a Bearer prefix", "Bearer " + token},
		{"a segment of one character", s[0] + ".A." + s[2]},
		{"bytes beyond ASCII", s[0] + "." + s[1] + "é." + s[2]},
	}
	for _, space := range []string{"\n", "\r", "\r\n", "\t", " ", "\v", "\u00a0"} {
		for i, name := range []string{"header", "payload", "signature"} {
			spaced := segments(token)
			spaced[i] = spaced[i][:4] + space + spaced[i][4:]
			tests = append(tests, test{"A-051 white space in the " + name, strings.Join(spaced, ".")})
		}
		tests = append(tests, test{"A-051 leading white space", space + token}, test{"A-051 trailing white space", token + space})
	}
	for i, name := range []string{"header", "payload", "signature"} {
		padded, standard := segments(token), segments(token)
		padded[i] += "="
		standard[i] = standard[i][:3] + "+" + standard[i][4:]
		slash := segments(token)
		slash[i] = slash[i][:3] + "/" + slash[i][4:]
		tests = append(tests,
			test{"padding behind the " + name, strings.Join(padded, ".")},
			test{"A-053 plus in the " + name, strings.Join(standard, ".")},
			test{"A-053 slash in the " + name, strings.Join(slash, ".")})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := jose.Parse(tt.token); err == nil {
				t.Errorf("%q was accepted", tt.token)
			}
		})
	}
}

func TestA054NonCanonicalTrailingBitsAreRefused(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// One byte more or less gives each segment each number of stray bits.
	for _, header := range []string{`{"alg":"ES256"}`, `{"alg":"ES256" }`, `{"alg":"ES256"  }`} {
		for _, payload := range []string{"{}", "{ }", "{  }"} {
			token := sign(t, header, payload)
			for i := range 3 {
				s := segments(token)
				last := strings.IndexByte(alphabet, s[i][len(s[i])-1])
				if len(s[i])%4 == 0 {
					continue // no stray bits
				}
				s[i] = s[i][:len(s[i])-1] + string(alphabet[last+1])
				lenient, err := base64.RawURLEncoding.DecodeString(s[i])
				if err != nil || string(lenient) != string(unb64(t, segments(token)[i])) {
					t.Fatal("the test does not make a second spelling")
				}
				if _, err := jose.Parse(strings.Join(s, ".")); err == nil {
					t.Errorf("segment %d: a second spelling was accepted", i)
				}
			}
		}
	}
}

func TestA050AMillionDotsCostNothing(t *testing.T) {
	dots := strings.Repeat(".", 1_000_000)
	if n := testing.AllocsPerRun(10, func() { _, _ = jose.Parse(dots) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
