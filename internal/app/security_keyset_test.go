package app

import (
	"crypto/elliptic"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestSecurityA179BadAnswersKeepTheOldKeys(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	for name, bad := range map[string]struct {
		status int
		body   string
	}{
		"HTML":                 {200, "<!DOCTYPE html><title>Maintenance</title>"},
		"nothing":              {200, ""},
		"half a set":           {200, s.set2[:len(s.set2)/2]},
		"something behind it":  {200, s.set2 + "x"},
		"keys twice":           {200, strings.Replace(s.set2, "{", `{"keys":[],`, 1)},
		"keys null":            {200, `{"keys":null}`},
		"no keys":              {200, `{"keys":[]}`},
		"no member keys":       {200, `{}`},
		"a list":               {200, `[]`},
		"keys that are text":   {200, `{"keys":"k"}`},
		"a key that is text":   {200, `{"keys":["k"]}`},
		"keys without kid":     {200, strings.Replace(s.set2, `"kid"`, `"key"`, 1)},
		"too long":             {200, s.set2 + strings.Repeat(" ", 256<<10)},
		"204":                  {204, ""},
		"206":                  {206, s.set2},
		"304":                  {304, ""},
		"404":                  {404, s.set2},
		"500":                  {500, s.set2},
		"keys for encryption":  {200, strings.Replace(s.set2, `"sig"`, `"enc"`, 1)},
		"symmetric keys alone": {200, `{"keys":[{"kty":"oct","kid":"k2","alg":"HS256","k":"AAAA"}]}`},
	} {
		t.Run("A-179 "+name, func(t *testing.T) {
			f := s.in(t)
			s.keys.answer(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(bad.status)
				if bad.status != 204 && bad.status != 304 {
					_, _ = io.WriteString(w, bad.body)
				}
			})
			s.clock.advance(30 * time.Second)
			// Whether k2 is a key cannot be known, so it is not said that it is none.
			f.becomesAfter(1, s.by("k2", s.k2), agentidp.CodeIssuerUnreachable)
			f.becomes(s.by("k1", s.k1), "granted")
		})
	}
	s.keys.publish(s.set2)
	s.clock.advance(30 * time.Second)
	t.Run("A-179 a good answer", func(t *testing.T) { s.in(t).becomesAfter(1, s.by("k2", s.k2), "granted") })
}

func TestSecurityKeysThatAreIgnored(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	ec, other := newECKey(t, elliptic.P256()), newECKey(t, elliptic.P256())
	rsaKey, ecKey := ciKey().Public(), ec.Public()
	d := b64(random(32))
	bad := map[string]claims{
		"A-181 an RSA key whose alg is ES256":        jwk(rsaKey, "r1", claims{"alg": "ES256"}),
		"A-181 an RSA key whose alg is HS256":        jwk(rsaKey, "r2", claims{"alg": "HS256"}),
		"A-181 an RSA key whose kty is EC":           jwk(rsaKey, "r3", claims{"kty": "EC"}),
		"A-181 an RSA key whose kty is rsa":          jwk(rsaKey, "r4", claims{"kty": "rsa"}),
		"A-181 an RSA key for encryption":            jwk(rsaKey, "r5", claims{"use": "enc"}),
		"A-181 an RSA key with key_ops encrypt":      jwk(rsaKey, "r6", claims{"use": nil, "key_ops": []string{"encrypt"}}),
		"A-181 an RSA key with key_ops sign":         jwk(rsaKey, "r7", claims{"use": nil, "key_ops": []string{"sign"}}),
		"A-181 an RSA key with no key_ops at all":    jwk(rsaKey, "r8", claims{"use": nil, "key_ops": []string{}}),
		"A-181 an RSA key with its private exponent": jwk(rsaKey, "r9", claims{"d": d}),
		"A-181 an RSA key with a prime":              jwk(rsaKey, "r10", claims{"p": d}),
		"A-181 an RSA key as a certificate alone":    jwk(rsaKey, "r11", claims{"n": nil, "e": nil, "x5c": []string{b64(selfSigned())}}),
		"A-181 an RSA key with n twice as long":      jwk(rsaKey, "r12", claims{"n": strings.Repeat("AAAA", 100)}),
		"A-181 an EC key whose alg is RS256":         jwk(ecKey, "e1", claims{"alg": "RS256"}),
		"A-181 an EC key whose alg is ES384":         jwk(ecKey, "e2", claims{"alg": "ES384"}),
		"A-181 an EC key whose kty is OKP":           jwk(ecKey, "e3", claims{"kty": "OKP"}),
		"A-181 an EC key on P-384":                   jwk(ecKey, "e4", claims{"crv": "P-384"}),
		"A-181 an EC key on no curve":                jwk(ecKey, "e5", claims{"crv": nil}),
		"A-181 an EC key with its private part":      jwk(ecKey, "e6", claims{"d": d}),
		"A-181 an EC key for encryption":             jwk(ecKey, "e7", claims{"use": "enc"}),
	}
	keys := []claims{
		jwk(ecKey, "good", nil),
		jwk(ecKey, "twice", nil), jwk(other.Public(), "twice", nil), jwk(ecKey, "again", nil), jwk(ecKey, "again", nil),
		jwk(ecKey, "bound twice", nil), jwk(rsaKey, "bound twice", nil),
	}
	for _, k := range bad {
		keys = append(keys, k)
	}
	set := keySet(keys...)
	f.provider("static", "https://static.ci.example", set, "RS256", "ES256")
	f.provider("fetched", "https://fetched.ci.example", f.publisher(set).URL, "RS256", "ES256")
	for i, issuer := range []string{"https://static.ci.example", "https://fetched.ci.example"} {
		from := ", " + f.names[issuer]
		by := func(alg, kid string, sign signer) string {
			return compact(header(alg, kid), f.payload(claims{"iss": issuer}), sign)
		}
		f.becomesAfter(i, by("ES256", "good", es256(ec)), "granted")
		for name, k := range bad {
			kid := k["kid"].(string)
			alg, sign := "ES256", es256(ec)
			if kid[0] == 'r' {
				alg, sign = "RS256", signer(rs256)
			}
			f.attacks([]attack{{name + from, by(alg, kid, sign), "unknown_key"}})
		}
		f.attacks([]attack{
			{"A-180 one id for two keys, the first" + from, by("ES256", "twice", es256(ec)), "unknown_key"},
			{"A-180 one id for two keys, the second" + from, by("ES256", "twice", es256(other)), "unknown_key"},
			{"A-180 one id for two types of key, EC" + from, by("ES256", "bound twice", es256(ec)), "unknown_key"},
			{"A-180 one id for two types of key, RSA" + from, by("RS256", "bound twice", rs256), "unknown_key"},
			{"A-180 one key twice" + from, by("ES256", "again", es256(ec)), "granted"},
			{"A-180 the other key's id with this key" + from, by("ES256", "good", es256(other)), "signature"},
		})
	}
}

func TestSecurityWhereKeysAreFetched(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	other := s.publisher(s.set1)
	const unreachable = agentidp.CodeIssuerUnreachable
	for _, status := range []int{301, 302, 303, 307, 308} {
		for where, to := range map[string]string{
			"another host": other.URL + "/jwks", "the same host": s.keys.URL + "/jwks", "an address of mallory's": s.trap.URL,
			"a file": "file:///etc/passwd", "the metadata service": "http://169.254.169.254/latest", "a host name": "https://mallory.example/jwks",
		} {
			t.Run("A-183 "+http.StatusText(status)+" to "+where, func(t *testing.T) {
				s.keys.answer(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/jwks" {
						_, _ = io.WriteString(w, s.set1)
						return
					}
					http.Redirect(w, r, to, status)
				})
				s.in(t).becomesAfter(1, s.by("k1", s.k1), unreachable)
				s.clock.advance(5 * time.Second)
			})
		}
	}

	// Rows that no API would have accepted: the address is checked where it is used.
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.trapped.Add(1) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	host := strings.TrimPrefix(s.trap.URL, "http://")
	for name, address := range map[string]string{
		"A-188 plain http":                   "http://keys.mallory.example/jwks",
		"A-188 plain http, loopback as part": "http://localhost.mallory.example/jwks",
		"A-188 plain http, private address":  "http://10.0.0.1/jwks",
		"A-188 plain http, metadata service": "http://169.254.169.254/latest",
		"A-188 user information":             "http://x@" + host + "/jwks",
		"A-188 a fragment":                   s.trap.URL + "/jwks#x",
		"A-188 a file":                       "file:///etc/passwd",
		"A-188 another scheme":               "ftp://" + host + "/jwks",
		"A-188 no scheme":                    "//" + host + "/jwks",
		"A-188 no host":                      "https:///jwks",
		"A-188 nothing":                      "",
		"A-188 an IP address":                "https://10.0.0.1/jwks",
		"A-188 another port":                 "https://keys.mallory.example:22/jwks",
		"A-188 a name of a local network":    "https://metadata.google.internal/jwks",
		"A-188 a name that is an address":    "https://127.0.0.1.nip.io/jwks",
		"A-188 a number for a host":          "https://2130706433/jwks",
		"A-190 a certificate of httptest's":  secure.URL + "/jwks",
		"A-190 no TLS behind https":          "https://" + host + "/jwks",
	} {
		t.Run(name, func(t *testing.T) {
			f := s.in(t)
			issuer := "https://" + agentidp.NewID(f.clock.Now()) + ".example"
			f.provider(issuer[8:44], issuer, address, "ES256")
			f.becomes(compact(header("ES256", "k1"), f.payload(claims{"iss": issuer}), s.k1), unreachable)
		})
	}
}
