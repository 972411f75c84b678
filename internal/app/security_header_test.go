package app

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
)

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestSecurityKeysThatATokenNames: where a key comes from is the provider's
// business alone (RFC 8725 §3.10).
func TestSecurityKeysThatATokenNames(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	mallorys := pkcs1(malloryKey(), crypto.SHA256)
	key := asJSON(jwk(malloryKey().Public(), "mallory", nil))
	named := `"jwk":` + key
	by := func(header string, sign signer) string { return compact(header, f.payload(), sign) }
	thumbprint, err := jose.Thumbprint(malloryKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	f.attacks([]attack{
		{"A-026 jwk, signed by it", by(header("RS256", "mallory", named), mallorys), "format"},
		{"A-026 jwk under the kid of a real key", by(header("RS256", f.kid, named), mallorys), "format"},
		{"A-026 jwk and no kid", by(`{"alg":"RS256",`+named+`}`, mallorys), "format"},
		{"A-026 jwk, signed by the real key", by(header("RS256", f.kid, named), rs256), "format"},
		{"A-026 jwk null, signed by the real key", by(header("RS256", f.kid, `"jwk":null`), rs256), "format"},
		{"A-026 no jwk, the thumbprint as kid", by(header("RS256", thumbprint), mallorys), "unknown_key"},
		{"A-026 no jwk and no kid", by(`{"alg":"RS256"}`, mallorys), "unknown_key"},
		{"A-026 no jwk, the kid of the real key", by(header("RS256", f.kid), mallorys), "signature"},
	})
	host := strings.TrimPrefix(f.issuer, "http://")
	for name, url := range map[string]string{
		"an address of mallory's":              f.trap.URL + "/jwks",
		"an open redirect of the issuer":       f.issuer + "/login?next=" + f.trap.URL,
		"the issuer as user information":       "http://" + host + "@" + strings.TrimPrefix(f.trap.URL, "http://") + "/",
		"another path of the issuer":           f.issuer + "/pages/mallory/jwks",
		"a host name":                          "https://keys.mallory.example/jwks",
		"the very address of the issuer's set": f.issuer + "/.well-known/jwks",
	} {
		f.attacks([]attack{
			{"A-027 jku: " + name, by(header("RS256", f.kid, `"jku":`+quoted(url)), mallorys), "format"},
			{"A-027 jku: " + name + ", signed by the real key", by(header("RS256", f.kid, `"jku":`+quoted(url)), rs256), "format"},
			{"A-028 x5u: " + name, by(header("RS256", f.kid, `"x5u":`+quoted(url)), mallorys), "format"},
		})
	}
	certificate := selfSigned()
	sum := sha1.Sum(certificate)
	chain := `"x5c":["` + base64.StdEncoding.EncodeToString(certificate) + `"]`
	x5t := `"x5t":"` + b64(sum[:]) + `"`
	f.attacks([]attack{
		{"A-028 x5c", by(header("RS256", f.kid, chain), mallorys), "format"},
		{"A-028 x5c and no kid", by(`{"alg":"RS256",`+chain+`}`, mallorys), "format"},
		{"A-028 x5c and x5t", by(header("RS256", f.kid, chain, x5t), mallorys), "format"},
		{"A-028 x5t of mallory's certificate, no kid", by(`{"alg":"RS256",`+x5t+`}`, mallorys), "unknown_key"},
		{"A-028 x5t of mallory's certificate, the real kid", by(header("RS256", f.kid, x5t), mallorys), "signature"},
		{"A-028 x5t means nothing, as in GitHub's own tokens", by(header("RS256", f.kid, x5t), rs256), "granted"},
	})
}

func TestSecurityKeyIDs(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	none := `{"alg":"RS256","typ":"JWT"}`
	other := newECKey(t, elliptic.P256())
	f.provider("one-key", "https://one.ci.example", keySet(jwk(ciKey().Public(), f.kid, nil)), "RS256")
	f.provider("two-keys", "https://two.ci.example", keySet(jwk(ciKey().Public(), f.kid, nil), jwk(other.Public(), "other", nil)), "RS256", "ES256")
	f.provider("no-ids", "https://none.ci.example", keySet(jwk(ciKey().Public(), "", claims{"kid": nil})), "RS256")
	without := func(issuer string) string { return compact(none, f.payload(claims{"iss": issuer}), rs256) }
	f.attacks([]attack{
		{"A-032 no kid", f.headed(none), "unknown_key"},
		{"A-032 no kid, and the set has one key", without("https://one.ci.example"), "unknown_key"},
		{"A-032 no kid, and the set has several", without("https://two.ci.example"), "unknown_key"},
		{"A-032 no kid, and the key has none either", without("https://none.ci.example"), "unknown_key"},
		{"A-032 the right kid, and the set has several", f.signed(claims{"iss": "https://two.ci.example"}), "granted"},
	})
	for _, kid := range []string{"1", `["` + f.kid + `"]`, "null", `""`, `{"kid":"` + f.kid + `"}`, "true"} {
		f.attacks([]attack{{"A-033 kid " + strings.ReplaceAll(kid, f.kid, "x"), f.headed(fmt.Sprintf(`{"alg":"RS256","kid":%s}`, kid)), "format"}})
	}
	for _, kid := range []string{"../../../../dev/null", "/proc/self/environ", "file:///dev/null", `C:\nul`, "|cat /etc/passwd", "$(id)"} {
		f.attacks([]attack{{"A-029 kid " + kid, f.headed(header("RS256", kid)), "unknown_key"}})
	}
	for _, kid := range []string{"x' UNION SELECT 'k'--", "' OR '1'='1", `"; DROP TABLE key_sets; --`, f.kid + "' --", f.kid + " ", " " + f.kid, strings.ToUpper(f.kid)} {
		f.attacks([]attack{{"A-030 kid " + strings.ReplaceAll(kid, f.kid, "x"), f.headed(header("RS256", kid)), "unknown_key"}})
	}
	for name, kid := range map[string][2]string{
		"with NUL":             {"marked\u0000kid", "format"},
		"with a line break":    {"marked\n{\"level\":\"INFO\",\"msg\":\"all is well\"}", "format"},
		"with ANSI escapes":    {"marked\x1b[2J\x1b[31m", "format"},
		"of 257 characters":    {"marked" + strings.Repeat("k", 251), "format"},
		"of 64 KiB":            {"marked" + strings.Repeat("k", 64<<10), "size"},
		"with an emoji":        {"marked🔑", "format"},
		"with an RTL override": {"marked\u202ekid", "format"},
		"of 256 characters":    {"marked" + strings.Repeat("k", 250), "unknown_key"},
	} {
		f.clock.advance(time.Second) // so that the sample in the log is of this one
		f.attacks([]attack{{"A-031 kid " + name, f.headed(header("RS256", kid[0])), kid[1]}})
	}
	if strings.Contains(f.logs.String(), "marked") || !strings.Contains(f.logs.String(), "subject token refused") {
		t.Error("A-031 the log must have a sample of the refusals, and never a kid")
	}
	if counters := f.refusals(); len(counters) > 8 {
		t.Errorf("A-031 a counter for each kid: %v", counters)
	}
	f.clock.advance(30 * time.Second) // an unknown kid would have keys fetched again
	f.attacks([]attack{{"A-032 no kid is no reason to fetch keys", f.headed(none), "unknown_key"}})
}

func TestSecurityHeaderParameters(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	with := func(members ...string) string { return f.headed(header("RS256", f.kid, members...)) }
	unencoded := func(header string) string { return joined(b64(header), f.payload(), rs256) }
	flat := func(header string) string { // without the dots of numbers and addresses
		return joined(b64(header), strings.ReplaceAll(f.payload(), ".", "_"), rs256)
	}
	f.attacks([]attack{
		{"A-035 b64 false, the payload as it is", unencoded(header("RS256", f.kid, `"b64":false`)), "format"},
		{"A-035 b64 false and critical, the payload as it is", unencoded(header("RS256", f.kid, `"b64":false`, `"crit":["b64"]`)), "format"},
		{"A-035 b64 false and critical, a payload without dots", flat(header("RS256", f.kid, `"b64":false`, `"crit":["b64"]`)), "format"},
		{"A-035 b64 false, the payload encoded", with(`"b64":false`), "format"},
		{"A-035 b64 false and critical, the payload encoded", with(`"b64":false`, `"crit":["b64"]`), "format"},
		{"A-035 b64 true", with(`"b64":true`), "format"},
		{"A-035 crit with a claim's name", with(`"crit":["exp"]`), "format"},
		{"A-035 crit with an unknown name", with(`"crit":["x"]`, `"x":1`), "format"},
		{"A-035 crit empty", with(`"crit":[]`), "format"},
		{"A-035 crit null", with(`"crit":null`), "format"},
		{"A-037 cty JWT, the payload a JWT", compact(header("RS256", f.kid, `"cty":"JWT"`), f.signed(), rs256), "format"},
		{"A-037 no cty, the payload a JWT", compact(header("RS256", f.kid), f.signed(), rs256), "format"},
		{"A-037 cty JWT, the payload claims", with(`"cty":"JWT"`), "format"},
		{"A-041 zip", with(`"zip":"DEF"`), "format"},
		{"A-042 enc in three segments", with(`"enc":"A128GCM"`), "format"},
		{"A-042 epk, p2c and the like", with(`"p2c":1000`), "format"},
		{"A-042 a parameter that nobody knows", with(`"x":{"y":[1]}`), "granted"},
	})
	typed := func(typ string) string { return f.headed(fmt.Sprintf(`{"alg":"RS256","kid":%q,"typ":%s}`, f.kid, typ)) }
	for _, typ := range []string{"at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", "oauth-id-jag+jwt", "wit+jwt", "secevent+jwt", "JWE", "JOSE", "JWT ", "application/application/jwt", "+jwt", "ＪＷＴ"} {
		f.attacks([]attack{{"A-036 typ " + typ, typed(quoted(typ)), "type"}})
	}
	for _, typ := range []string{"JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT"} {
		f.attacks([]attack{{"A-036 typ " + typ + " is an ID token's", typed(quoted(typ)), "granted"}})
	}
	f.attacks([]attack{
		{"A-036 no typ", f.headed(fmt.Sprintf(`{"alg":"RS256","kid":%q}`, f.kid)), "granted"},
		{"A-036 typ null", typed("null"), "format"},
		{"A-036 typ a list", typed(`["JWT"]`), "format"},
	})
	spell := func(members string) string { return f.headed(`{` + strings.ReplaceAll(members, "KID", f.kid) + `}`) }
	f.attacks([]attack{
		{"A-038 alg twice, the right one last", spell(`"alg":"none","alg":"RS256","kid":"KID"`), "format"},
		{"A-038 alg twice, the right one first", spell(`"alg":"RS256","alg":"none","kid":"KID"`), "format"},
		{"A-038 alg twice, the same", spell(`"alg":"RS256","kid":"KID","alg":"RS256"`), "format"},
		{"A-038 alg twice, once with an escape", spell(`"alg":"RS256","kid":"KID","\u0061lg":"none"`), "format"},
		{"A-038 kid twice, the right one last", spell(`"alg":"RS256","kid":"other","kid":"KID"`), "format"},
		{"A-038 kid twice, the right one first", spell(`"alg":"RS256","kid":"KID","kid":"other"`), "format"},
		{"A-038 an unknown member twice", spell(`"alg":"RS256","kid":"KID","x":1,"x":2`), "format"},
		{"A-039 ALG for alg", spell(`"ALG":"RS256","kid":"KID"`), "format"},
		{"A-039 ALG beside alg", spell(`"alg":"RS256","ALG":"none","kid":"KID"`), "format"},
		{"A-039 Kid for kid", spell(`"alg":"RS256","Kid":"KID"`), "format"},
		{"A-039 Kid beside kid", spell(`"alg":"RS256","kid":"KID","Kid":"other"`), "format"},
		{"A-039 kid with KELVIN SIGN beside kid", spell(`"alg":"RS256","kid":"KID","` + "\u212a" + `id":"other"`), "format"},
		{"A-039 kid with KELVIN SIGN, escaped", spell(`"alg":"RS256","kid":"KID","\u212aid":"other"`), "format"},
		{"A-039 CRIT", spell(`"alg":"RS256","kid":"KID","CRIT":["x"]`), "format"},
		{"A-039 alg spelled with an escape is alg", spell(`"\u0061lg":"RS256","kid":"KID"`), "granted"},
	})
	for _, header := range []string{"null", "[]", `"x"`, "1", "{}", "{", " ", "{}{}", `{"alg":"RS256"`, `[{"alg":"RS256"}]`} {
		f.attacks([]attack{{"A-040 the header is " + header, f.headed(header), "format"}})
	}
	deep := func(n int) string { return `"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) }
	unknown := func(n int) (members []string) {
		for i := range n {
			members = append(members, fmt.Sprintf(`"x%d":0`, i))
		}
		return members
	}
	sized := func(n int) string {
		return with(`"x":` + quoted(strings.Repeat("x", n-len(header("RS256", f.kid, `"x":""`)))))
	}
	f.attacks([]attack{
		{"A-040 a header of 1 MiB", with(`"x":` + quoted(strings.Repeat("x", 1<<20))), "size"},
		{"A-040 a header of 20 KiB", with(`"x":` + quoted(strings.Repeat("x", 20<<10))), "size"},
		{"A-040 a header nested 10000 deep", with(deep(10000)), "size"},
		{"A-040 a header nested 3000 deep", with(deep(3000)), "format"},
		{"A-040 a header of 4 KiB", sized(4 << 10), "granted"},
		{"A-040 a header of a byte more", sized(4<<10 + 1), "format"},
		{"A-040 a header of 32 unknown parameters", with(unknown(32)...), "granted"},
		{"A-040 a header of 33 unknown parameters", with(unknown(33)...), "format"},
		{"A-040 a header nested nine deep", with(deep(8)), "format"},
		{"A-040 a header nested eight deep", with(deep(7)), "granted"},
	})
}
