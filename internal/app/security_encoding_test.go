package app

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp"
)

// encrypted returns a compact JWE for the CI issuer's key.
func encrypted(t *testing.T, plaintext string, options *gojose.EncrypterOptions) string {
	t.Helper()
	to := gojose.Recipient{Algorithm: gojose.RSA_OAEP, Key: &ciKey().PublicKey}
	e, err := gojose.NewEncrypter(gojose.A128GCM, to, options)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := e.Encrypt([]byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// countless asks for 2^31 rounds of PBKDF2.
func countless(segments int) string {
	parts := []string{
		b64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"c2FsdA"}`),
		b64(random(24)), b64(random(12)), b64(random(100)), b64(random(16)),
	}
	return strings.Join(parts[:segments], ".")
}

// bomb has nine MiB in it, which is as much as a token may have room for.
func bomb(t *testing.T) string {
	t.Helper()
	jwe := encrypted(t, strings.Repeat(" ", 9<<20), &gojose.EncrypterOptions{Compression: gojose.DEFLATE})
	if size := len(jwe); size > 16<<10 || size < 15<<10 {
		t.Fatalf("a token of %d bytes", size)
	}
	return jwe
}

// gigabyte is what deflate makes of 1 GiB of spaces: of one MiB, a thousand times.
func gigabyte(t *testing.T) string {
	t.Helper()
	var block bytes.Buffer
	w, err := flate.NewWriter(&block, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, flate.NewReader(io.MultiReader(bytes.NewReader(block.Bytes()), bytes.NewReader(block.Bytes()))))
	if n != 2<<20 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("twice makes %d bytes, %v", n, err)
	}
	return strings.Repeat(block.String(), 1<<10)
}

func TestSecuritySerializations(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	plain := b64(`{"alg":"none"}`) + "." + b64(f.payload()) + "."
	nested := (&gojose.EncrypterOptions{}).WithContentType("JWT")
	f.attacks([]attack{
		{"A-044 a JWE around an unsigned token", encrypted(t, plain, nested), "format"},
		{"A-044 a JWE around a good token", encrypted(t, f.signed(), nested), "format"},
		{"A-044 a JWE around claims", encrypted(t, f.payload(), nil), "format"},
		{"A-045 a JWE of 2^31 rounds", countless(5), "format"},
		{"A-045 its first three segments", countless(3), "format"},
		{"A-046 a zip bomb of 9 MiB", bomb(t), "format"},
		{"A-046 a zip bomb of 1 GiB", b64(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + ".." + b64(random(12)) + "." + b64(gigabyte(t)) + "." + b64(random(16)), "size"},
		{"A-065 Bearer in front", "Bearer " + f.signed(), "format"},
		{"A-065 bearer in front", "bearer " + f.signed(), "format"},
		{"A-065 DPoP in front", "DPoP " + f.signed(), "format"},
		{"A-065 a token in quotation marks", `"` + f.signed() + `"`, "format"},
	})

	s := strings.Split(f.signed(), ".")
	signature := fmt.Sprintf(`"protected":%q,"signature":%q`, s[0], s[2])
	forged := compact(header("none", f.kid), f.payload(), raw([]byte("x")))
	f.attacks([]attack{
		{"A-047 JSON serialization, flattened", fmt.Sprintf(`{"payload":%q,%s}`, s[1], signature), "format"},
		{"A-047 JSON serialization, general", fmt.Sprintf(`{"payload":%q,"signatures":[{%s}]}`, s[1], signature), "format"},
		{"A-047 JSON serialization, two dots in it", fmt.Sprintf(`{"payload":%q,%s,"x":"..","y":1}`, s[1], signature), "format"},
		{"A-048 JSON that falls into three segments", fmt.Sprintf(`{"payload":%q,%s,"x":%q}`, s[1], signature, forged), "format"},
		{"A-048 the token in the middle", fmt.Sprintf(`{"x":%q,"payload":%q,%s}`, strings.Join(s, "."), s[1], signature), "format"},
		{"A-049 nothing", "", agentidp.CodeInvalidRequest},
		{"A-049 one segment", s[0], "format"},
		{"A-049 two segments", s[0] + "." + s[1], "format"},
		{"A-049 four segments", strings.Join(s, ".") + "." + s[2], "format"},
		{"A-049 five segments", strings.Join(s, ".") + "." + s[1] + "." + s[2], "format"},
		{"A-049 six segments", strings.Join(s, ".") + "." + strings.Join(s, "."), "format"},
		{"A-049 no payload", s[0] + ".." + s[2], "format"},
		{"A-049 no payload, signed so", joined(s[0], "", rs256), "format"},
		{"A-049 no header", "." + s[1] + "." + s[2], "format"},
		{"A-049 a leading dot", "." + strings.Join(s, "."), "format"},
		{"A-049 a trailing dot", strings.Join(s, ".") + ".", "format"},
		{"A-049 two dots alone", "..", "format"},
		{"A-050 a million dots", strings.Repeat(".", 1_000_000), "size"},
		{"A-050 as many dots as a token may have bytes", strings.Repeat(".", 16<<10), "format"},
		{"A-050 a dot more", strings.Repeat(".", 16<<10+1), "size"},
		{"A-049 three segments", strings.Join(s, "."), "granted"},
	})
}

// insert puts something into the middle of a segment.
func insert(segment, s string) string { return segment[:len(segment)/2] + s + segment[len(segment)/2:] }

// nonCanonical sets the lowest of the bits that a segment's last character has
// and its bytes do not.
func nonCanonical(t *testing.T, segment string) string {
	t.Helper()
	if len(segment)%4 == 0 {
		t.Fatal("this segment has no spare bits")
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(segment) - 1
	return segment[:last] + string(alphabet[strings.IndexByte(alphabet, segment[last])+1])
}

// spare adds white space to JSON until its encoding satisfies ok.
func spare(t *testing.T, object string, ok func(encoded string) bool) string {
	t.Helper()
	for range 4 {
		if encoded := b64(object); ok(encoded) {
			return encoded
		}
		object = "{ " + object[1:]
	}
	t.Fatal("no such encoding")
	return ""
}

// TestSecuritySpellings: a token has one spelling. Those of altered header and
// payload segments are signed as they are spelled.
func TestSecuritySpellings(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	token := f.signed()
	s := strings.Split(token, ".")
	for _, c := range []struct{ name, s, fate string }{
		{"CR", "\r", "format"}, {"LF", "\n", "format"}, {"CRLF", "\r\n", "format"}, {"TAB", "\t", "format"}, {"a space", " ", "format"},
		{"a no-break space", "\u00a0", "format"}, {"a zero-width space", "\u200b", "format"},
		{"NUL", "\x00", agentidp.CodeInvalidRequest}, // which is in no string of a request
	} {
		f.attacks([]attack{
			{"A-051 " + c.name + " in front", c.s + token, c.fate},
			{"A-051 " + c.name + " behind", token + c.s, c.fate},
			{"A-051 " + c.name + " inside the header", insert(s[0], c.s) + "." + s[1] + "." + s[2], c.fate},
			{"A-051 " + c.name + " inside the payload", s[0] + "." + insert(s[1], c.s) + "." + s[2], c.fate},
			{"A-051 " + c.name + " inside the signature", s[0] + "." + s[1] + "." + insert(s[2], c.s), c.fate},
			{"A-051 " + c.name + " before a dot", s[0] + c.s + "." + s[1] + "." + s[2], c.fate},
			{"A-051 " + c.name + " inside the header, signed so", joined(insert(s[0], c.s), s[1], rs256), c.fate},
			{"A-051 " + c.name + " inside the payload, signed so", joined(s[0], insert(s[1], c.s), rs256), c.fate},
		})
	}

	url := func(encoded string) bool { return strings.ContainsAny(encoded, "-_") }
	loose := func(encoded string) bool { return len(encoded)%4 != 0 }
	standard := strings.NewReplacer("-", "+", "_", "/").Replace
	odd := `"x":"ÿþýüûúùø??>>~~"`
	h := spare(t, header("RS256", f.kid, odd), func(e string) bool { return url(e) && loose(e) })
	p := spare(t, appended(f.payload(), odd), func(e string) bool { return url(e) && loose(e) })
	good := joined(h, p, rs256)
	for !url(good[strings.LastIndexByte(good, '.'):]) {
		p = spare(t, appended(f.payload(), odd), func(e string) bool { return url(e) && loose(e) })
		good = joined(h, p, rs256)
	}
	signature := good[strings.LastIndexByte(good, '.')+1:]
	padded := func(encoded string) string { return encoded + strings.Repeat("=", 4-len(encoded)%4) }
	f.attacks([]attack{
		{"A-053 the header in standard base64", joined(standard(h), p, rs256), "format"},
		{"A-053 the payload in standard base64", joined(h, standard(p), rs256), "format"},
		{"A-053 the signature in standard base64", h + "." + p + "." + standard(signature), "format"},
		{"A-053 the header padded", joined(padded(h), p, rs256), "format"},
		{"A-053 the payload padded", joined(h, padded(p), rs256), "format"},
		{"A-053 the signature padded", h + "." + p + "." + padded(signature), "format"},
		{"A-053 the signature percent-encoded", h + "." + p + "." + strings.ReplaceAll(signature, "-", "%2D") + "%3D", "format"},
		{"A-054 stray bits behind the header", joined(nonCanonical(t, h), p, rs256), "format"},
		{"A-054 stray bits behind the payload", joined(h, nonCanonical(t, p), rs256), "format"},
		{"A-054 stray bits behind the signature", h + "." + p + "." + nonCanonical(t, signature), "format"},
		{"A-053 A-054 the one spelling", good, "granted"},
	})
}

func TestSecurityPayloads(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	replaced := func(old, replacement string) string {
		p := f.payload()
		if strings.Count(p, old) != 1 {
			t.Fatalf("%s is not once in %s", old, p)
		}
		return strings.Replace(p, old, replacement, 1)
	}
	with := func(members string) string { return f.spelled(appended(f.payload(), members)) }
	utf16Bytes := func(s string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
		return b.String()
	}
	f.attacks([]attack{
		{"A-055 a byte that is not UTF-8, in a claim that is read", f.spelled(replaced(`"actor":"octocat"`, `"actor":"octo`+"\xff"+`cat"`)), "format"},
		{"A-055 a byte that is not UTF-8, in another claim", with(`"x":"` + "\x80" + `"`), "format"},
		{"A-055 a byte that is not UTF-8, in a name", with(`"` + "\xfe" + `":1`), "format"},
		{"A-055 a byte order mark", f.spelled("\ufeff" + f.payload()), "format"},
		{"A-055 UTF-16", f.spelled(utf16Bytes(f.payload())), "format"},
		{"A-055 Latin-1", with(`"x":"` + "\xe9" + `t\u00e9"`), "format"},
	})
	for _, payload := range []string{"null", "[]", `"x"`, "1", "true", "", "{}", "[" + f.payload() + "]", quoted(f.payload())} {
		f.attacks([]attack{{"A-056 the payload is " + payload[:min(len(payload), 9)], f.spelled(payload), "format"}})
	}
	f.attacks([]attack{
		{"A-057 a brace more", f.spelled(f.payload() + "}"), "format"},
		{"A-057 a brace less", f.spelled(strings.TrimSuffix(f.payload(), "}")), "format"},
		{"A-057 a NUL behind", f.spelled(f.payload() + "\x00"), "format"},
		{"A-057 two objects", f.spelled(f.payload() + f.payload()), "format"},
		{"A-057 two objects, a line break between", f.spelled(f.payload() + "\n{}"), "format"},
		{"A-057 a comment", f.spelled("/* x */" + f.payload()), "format"},
		{"A-057 a comment at the end of the line", f.spelled(f.payload() + "// x"), "format"},
		{"A-057 a trailing comma", f.spelled(strings.TrimSuffix(f.payload(), "}") + ",}"), "format"},
		{"A-057 NaN", with(`"x":NaN`), "format"},
		{"A-057 Infinity", with(`"x":-Infinity`), "format"},
		{"A-057 a leading zero", with(`"x":01`), "format"},
		{"A-057 hexadecimal", with(`"x":0x1F`), "format"},
		{"A-057 single quotation marks", f.spelled(strings.ReplaceAll(f.payload(), `"`, `'`)), "format"},
		{"A-057 a line break in a string", with(`"x":"` + "\n" + `"`), "format"},
		{"A-057 nested 17 deep", with(`"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16)), "format"},
		{"A-057 nested 16 deep", with(`"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15)), "granted"},
		{"A-057 white space around", f.spelled("\t\r\n " + f.payload() + "\n"), "granted"},

		{"A-058 repository twice, ours first", with(`"repository":"mallory/deploy"`), "format"},
		{"A-058 repository twice, ours last", f.spelled(prepended(f.payload(), `"repository":"mallory/deploy"`)), "format"},
		{"A-058 repository twice, the same", with(`"repository":"acme/deploy"`), "format"},
		{"A-058 repository twice, once with an escape", with(`"repositor\u0079":"mallory/deploy"`), "format"},
		{"A-058 iss twice", with(`"iss":` + quoted(f.issuer)), "format"},
		{"A-058 jti twice", with(`"jti":"another"`), "format"},
		{"A-058 an unknown claim twice", with(`"x":1,"x":2`), "format"},
		{"A-060 a name twice within an unknown claim", with(`"x":{"a":1,"a":2}`), "format"},
		{"A-060 a name twice, three levels down", with(`"x":[{"y":{"a":1,"b":2,"a":3}}]`), "format"},
		{"A-060 a name twice, in two objects", with(`"x":[{"a":1},{"a":2}]`), "granted"},

		{"A-063 a lone surrogate", f.spelled(replaced(`"repository":"acme/deploy"`, `"repository":"acme/deploy\ud800"`)), "format"},
		{"A-063 a surrogate pair in the wrong order", with(`"x":"\udc00\ud800"`), "format"},
		{"A-063 a lone surrogate as UTF-8", with(`"x":"` + "\xed\xa0\x80" + `"`), "format"},
		{"A-063 an overlong slash", f.spelled(replaced(`"repository":"acme/deploy"`, `"repository":"acme`+"\xc0\xaf"+`deploy"`)), "format"},
		{"A-063 NUL inside repository", f.spelled(replaced(`"repository":"acme/deploy"`, `"repository":"acme/deploy\u0000"`)), "format"},
		{"A-063 NUL inside another claim", with(`"x":"\u0000"`), "format"},
		{"A-063 a line break inside repository", f.spelled(replaced(`"repository":"acme/deploy"`, `"repository":"acme/deploy\n"`)), agentidp.ReasonClaimInvalid},
		{"A-063 an escape that spells the same letter", f.spelled(replaced(`"repository":"acme/deploy"`, `"repository":"acme\/deplo\u0079"`)), "granted"},
	})
}

// TestSecurityLookAlikeClaims: encoding/json would let these override the real
// ones.
func TestSecurityLookAlikeClaims(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	evil := map[string]string{
		"Repository": "mallory/deploy", "REPOSITORY": "mallory/deploy", "repo\u017fitory": "mallory/deploy", "repository ": "mallory/deploy",
		"Repository_ID": "666", "repository\u005fiD": "666", "\u017fub": "mallory", "i\u017fs": "https://mallory.example", "ISS": "https://mallory.example",
		"aUd": "https://mallory.example", "Ref": "refs/heads/mallory", "Event_Name": "pull_request", "Jti": "mallory", "EXP": "0", "e\u0445p": "0",
		"\u212aid": "mallory", "iss\u200b": "https://mallory.example",
	}
	for name, value := range evil {
		member := quoted(name) + ":" + quoted(value)
		for where, spell := range map[string]func(object, members string) string{"behind": appended, "in front": prepended} {
			t.Run(fmt.Sprintf("A-059 %+q %s", name, where), func(t *testing.T) {
				a := f.in(t).becomes(f.spelled(spell(f.payload(), member)), "granted")
				workload := saidBy(t, a.str("access_token"))["workload"]
				if got := workload.(map[string]any)["repository"]; got != repository || strings.Contains(asJSON(workload), "mallory") {
					t.Errorf("the token is for %v", workload)
				}
			})
		}
	}
	mallory := func() string { return f.payload(claims{"repository": "mallory/deploy"}) }
	foreign := f.payload(claims{"iss": "https://mallory.example"})
	f.attacks([]attack{
		{"A-059 mallory's repository with Repository", f.spelled(appended(mallory(), `"Repository":"acme/deploy"`)), agentidp.CodeTrustPolicyViolation},
		{"A-059 mallory's repository with repoſitory", f.spelled(prepended(mallory(), `"repo`+"\u017f"+`itory":"acme/deploy"`)), agentidp.CodeTrustPolicyViolation},
		{"A-059 mallory's issuer with iſs", f.spelled(appended(foreign, `"i`+"\u017f"+`s":`+quoted(f.issuer))), "issuer"},
		{"A-059 Aud for aud", f.spelled(strings.Replace(f.payload(), `"aud":`, `"Aud":`, 1)), agentidp.ReasonAudienceMismatch},
		{"A-059 Exp for exp", f.spelled(strings.Replace(f.payload(), `"exp":`, `"Exp":`, 1)), agentidp.ReasonClaimInvalid},
	})
	for name, look := range map[string]string{
		"KELVIN SIGN": "ac\u212ae/deploy", "a Cyrillic a": "\u0430cme/deploy", "a full-width solidus": "acme\uff0fdeploy",
		"the replacement character": "acme/deploy\ufffd", "a combining accent": "acme/deploy\u0301", "a soft hyphen": "acme/de\u00adploy",
	} {
		f.attacks([]attack{{"A-063 a repository with " + name, f.subject(stranger(look)), agentidp.CodeTrustPolicyViolation}})
	}
}

// sized returns a good token of exactly n bytes.
func (f *forger) sized(n int) string {
	f.t.Helper()
	for h := header("RS256", f.kid); ; h = "{ " + h[1:] {
		encoded := n - len(b64(h)) - 2 - base64.RawURLEncoding.EncodedLen(256)
		size := base64.RawURLEncoding.DecodedLen(encoded)
		if base64.RawURLEncoding.EncodedLen(size) != encoded {
			continue
		}
		p := appended(f.payload(), `"repo_property_x":""`)
		p = p[:len(p)-2] + strings.Repeat("x", size-len(p)) + p[len(p)-2:]
		return compact(h, p, rs256)
	}
}

func TestSecurityA062TokenSize(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for _, size := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 17 << 10, 60 << 10, 64 << 10} {
		token, fate := f.sized(size), "granted"
		if len(token) != size {
			t.Fatalf("a token of %d bytes", len(token))
		}
		if size > 16<<10 {
			fate = "size"
		}
		f.attacks([]attack{{fmt.Sprintf("A-062 a token of %d bytes", size), token, fate}})
	}
}
