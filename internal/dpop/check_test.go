package dpop_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpop"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

const (
	here        = "https://idp.example.com/o/acme/oauth2/token"
	accessToken = "the.access.token"
)

var (
	now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	key = dpoptest.NewKey()
)

// proof changes one thing of a good proof for POST here, and signs it correctly.
func proof(change func(header, claims map[string]any)) string {
	header, claims := key.Header(), dpoptest.Claims("POST", here, accessToken, now)
	change(header, claims)
	return key.Sign(header, claims)
}

func good() string { return key.Proof("POST", here, accessToken, now) }

func claim(name string, value any) string {
	return proof(func(_, claims map[string]any) { claims[name] = value })
}

func without(name string) string {
	return proof(func(_, claims map[string]any) { delete(claims, name) })
}

func head(name string, value any) string {
	return proof(func(header, _ map[string]any) { header[name] = value })
}

func jwk(name string, value any) string {
	return proof(func(header, _ map[string]any) { header["jwk"].(map[string]any)[name] = value })
}

// S-068: the checks of RFC 9449 §4.3, in its order. Everything is correctly signed unless
// that is what the row is about. A-240.
func TestAProofIsRefused(t *testing.T) {
	t.Parallel()
	other := dpoptest.NewKey()
	tests := []struct {
		name   string
		proofs []string
		want   string // in the sentence that the caller reads
	}{
		{"no header", nil, "there is no DPoP header"},
		{"two headers", []string{good(), good()}, "there are 2 DPoP headers"},
		{"two proofs in one header", []string{good() + ", " + good()}, "not a JWS in compact form"},
		{"an empty header", []string{""}, "not a JWS in compact form"},
		{"longer than any proof", []string{strings.Repeat("a", 8<<10) + "." + good()}, "longer than 8192 bytes"},
		{"padding", []string{good() + "="}, "not a JWS in compact form"},
		{"a header that is extended", []string{head("crit", []string{"exp"})}, "not a JWS in compact form"},
		{"a key elsewhere", []string{head("jku", "https://evil.example/jwks")}, "not a JWS in compact form"},
		{"typ absent", []string{proof(func(h, _ map[string]any) { delete(h, "typ") })}, "typ in its header is not dpop+jwt"},
		{"typ of an ID token", []string{head("typ", "JWT")}, "typ in its header is not dpop+jwt"},
		{"typ of an access token", []string{head("typ", "at+jwt")}, "typ in its header is not dpop+jwt"},
		{"typ in upper case", []string{head("typ", "DPOP+JWT")}, "typ in its header is not dpop+jwt"},
		{"alg none", []string{head("alg", "none")}, "alg in its header is none of ES256 ES384 RS256 EdDSA Ed25519"},
		{"alg HS256", []string{head("alg", "HS256")}, "alg in its header is none of"},
		{"alg that is not on the list", []string{head("alg", "PS256")}, "alg in its header is none of"},
		{"alg of another curve", []string{head("alg", "ES384")}, "jwk in its header must be"},
		{"no jwk", []string{proof(func(h, _ map[string]any) { delete(h, "jwk") })}, "jwk in its header must be"},
		{"jwk null", []string{head("jwk", nil)}, "jwk in its header must be"},
		{"jwk a string", []string{head("jwk", "{}")}, "jwk in its header must be"},
		{"a private key", []string{jwk("d", "AAAA")}, "without private members"},
		{"a symmetric key", []string{head("jwk", map[string]any{"kty": "oct", "k": "AAAA"})}, "jwk in its header must be"},
		{"an RSA key of 1024 bits", []string{proof(func(h, _ map[string]any) {
			h["alg"], h["jwk"] = "RS256", map[string]any{"kty": "RSA", "n": b64([]byte(strings.Repeat("\xff", 128))), "e": "AQAB"}
		})}, "an RSA key of 2048 bits at least"},
		{"a key for encryption", []string{jwk("use", "enc")}, "jwk in its header must be"},
		{"a key for another algorithm", []string{jwk("alg", "ES384")}, "jwk in its header must be"},
		{"a point that is not on the curve", []string{jwk("x", strings.Repeat("A", 43))}, "jwk in its header must be"},
		{"signed by another key", []string{other.Sign(key.Header(), dpoptest.Claims("POST", here, accessToken, now))}, "its signature is not that of its jwk"},
		{"claims that were changed", []string{flip(good(), 1)}, "its signature is not that of its jwk"},
		{"claims that are no object", []string{key.Sign(key.Header(), nil)}, "its payload is not acceptable JSON"},
		{"htm absent", []string{without("htm")}, "htm is not POST"},
		{"htm of another method", []string{claim("htm", "GET")}, "htm is not POST"},
		{"htm in lower case", []string{claim("htm", "post")}, "htm is not POST"},
		{"htm not a string", []string{claim("htm", []string{"POST"})}, "htm is not a string"},
		{"htu absent", []string{without("htu")}, "htu is not " + here},
		{"htu of another server", []string{claim("htu", "https://evil.example/o/acme/oauth2/token")}, "htu is not " + here},
		{"htu of another organization", []string{claim("htu", "https://idp.example.com/oauth2/token")}, "htu is not " + here},
		{"iat absent", []string{without("iat")}, "iat is missing"},
		{"iat a string", []string{claim("iat", "1763812800")}, "iat is not a number"},
		{"iat negative", []string{claim("iat", -1)}, "iat is not a number"},
		{"iat beyond all dates", []string{claim("iat", 1e300)}, "iat is not a number"},
		{"iat 61 seconds ago", []string{claim("iat", now.Unix()-61)}, "iat is 2026-11-22T11:58:59Z, and this server's clock says 2026-11-22T12:00:00Z"},
		{"iat 61 seconds ahead", []string{claim("iat", now.Unix()+61)}, "more than 1m0s apart"},
		{"jti absent", []string{without("jti")}, "jti is not a string of 1 to 256 bytes"},
		{"jti empty", []string{claim("jti", "")}, "jti is not a string of 1 to 256 bytes"},
		{"jti of 257 bytes", []string{claim("jti", strings.Repeat("j", 257))}, "jti is not a string of 1 to 256 bytes"},
		{"jti a number", []string{claim("jti", 7)}, "jti is not a string"},
		{"ath absent", []string{without("ath")}, "ath is not the SHA-256"},
		{"ath of another token", []string{key.Proof("POST", here, "another.access.token", now)}, "ath is not the SHA-256"},
		{"the token itself as ath", []string{claim("ath", accessToken)}, "ath is not the SHA-256"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := dpop.Check(test.proofs, "POST", here, accessToken, now)
			e, ok := errors.AsType[*agentidp.Error](err)
			if !ok || e.Kind != agentidp.Invalid || e.Code != agentidp.CodeInvalidDPoPProof || !strings.Contains(e.Message, test.want) {
				t.Errorf("got %v, want %s with %q", err, agentidp.CodeInvalidDPoPProof, test.want)
			}
			for _, p := range test.proofs {
				if p != "" && err != nil && strings.Contains(err.Error(), p) {
					t.Error("the error repeats the proof")
				}
			}
		})
	}
}

// flip changes a byte in the middle of a segment of a token.
func flip(token string, segment int) string {
	parts := strings.Split(token, ".")
	b := []byte(parts[segment])
	b[len(b)/2] ^= 1
	parts[segment] = string(b)
	return strings.Join(parts, ".")
}

func TestAProofIsAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, proof, token string }{
		{"as a client makes it", good(), accessToken},
		{"a minute old", claim("iat", now.Unix()-60), accessToken},
		{"a minute ahead", claim("iat", now.Unix()+60), accessToken},
		{"iat with a fraction", claim("iat", float64(now.Unix())+0.5), accessToken},
		{"a jti of 256 bytes", claim("jti", strings.Repeat("j", 256)), accessToken},
		{"claims that nobody reads", claim("nonce", "n"), accessToken},
		{"a jwk that says more of itself", jwk("kid", "mine"), accessToken},
		{"without ath, where no token is presented", without("ath"), ""},
		{"with ath, where no token is presented", good(), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := dpop.Check([]string{test.proof}, "POST", here, test.token, now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Thumbprint != key.Thumbprint() {
				t.Errorf("thumbprint %s, want %s", got.Thumbprint, key.Thumbprint())
			}
		})
	}
}

// A proof is known again for as long as it would pass, whatever else is in it.
func TestWhatASingleUseIsHeldAgainst(t *testing.T) {
	t.Parallel()
	check := func(proof string, at time.Time) *agentidp.Proof {
		t.Helper()
		got, err := dpop.Check([]string{proof}, "POST", here, accessToken, at)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := check(claim("jti", "one"), now)
	if again := check(claim("jti", "one"), now); *again != *first {
		t.Errorf("the same jti: %+v and %+v", first, again)
	}
	if second := check(claim("jti", "two"), now); second.ID == first.ID {
		t.Error("two ids are one")
	}
	if first.Until.Before(now.Add(time.Minute+time.Second)) || !check(claim("jti", "one"), now.Add(time.Minute)).Until.Equal(first.Until) {
		t.Errorf("kept until %s: it passes for longer", first.Until)
	}
}

// The signers are another implementation, and spell the algorithms as it does.
func TestEachAlgorithmAndNoWeakKey(t *testing.T) {
	t.Parallel()
	p256, p384 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsa2048 := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, private := range map[string]any{"ES256": p256, "ES384": p384, "RS256": rsa2048, "EdDSA": ed} {
		if p, err := dpop.Check([]string{signed(t, alg, private)}, "POST", here, accessToken, now); err != nil || len(p.Thumbprint) != 43 {
			t.Errorf("%s: %v", alg, err)
		}
	}
	for alg, private := range map[string]any{"RS512": rsa2048, "PS256": rsa2048} {
		if _, err := dpop.Check([]string{signed(t, alg, private)}, "POST", here, accessToken, now); err == nil {
			t.Errorf("%s is accepted", alg)
		}
	}
}

// RFC 9864 calls it Ed25519, and so do clients that follow it, in jwk and header.
func TestEd25519ByItsOtherName(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var thumbprints []string
	for _, names := range [][2]string{{"Ed25519", "Ed25519"}, {"Ed25519", "EdDSA"}, {"EdDSA", "Ed25519"}, {"Ed25519", ""}} {
		jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
		if names[1] != "" {
			jwk["alg"] = names[1]
		}
		input := b64(encoded(t, map[string]any{"typ": "dpop+jwt", "alg": names[0], "jwk": jwk})) + "." + b64(encoded(t, dpoptest.Claims("POST", here, "", now)))
		p, err := dpop.Check([]string{input + "." + b64(ed25519.Sign(private, []byte(input)))}, "POST", here, "", now)
		if err != nil {
			t.Fatalf("%v: %v", names, err)
		}
		thumbprints = append(thumbprints, p.Thumbprint)
	}
	for _, other := range thumbprints[1:] {
		if other != thumbprints[0] {
			t.Errorf("one key has the thumbprints %v", thumbprints)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(good(), here)
	f.Add(claim("htu", "HTTPS://IDP.example.com:443/o/%61cme/./oauth2/token?x#y"), here)
	f.Add(flip(good(), 0), here)
	for _, proof := range []string{ // A-240, and what a token is attacked with
		head("alg", "none"), head("jwk", nil), jwk("d", "AAAA"), jwk("kty", "oct"), head("typ", "at+jwt"), head("JWK", "x"), good() + ".", claim("HTM", "GET"), claim("iat", 1e300),
		claim("htm", "GET"), claim("jti", ""), claim("ath", accessToken), without("iat"),
	} {
		f.Add(proof, here)
	}
	f.Fuzz(func(t *testing.T, proof, url string) {
		p, err := dpop.Check([]string{proof}, "POST", url, accessToken, now)
		if err == nil && (len(p.Thumbprint) != 43 || len(p.ID) != 43 || p.Until.Before(now)) {
			t.Errorf("accepted as %+v", p)
		}
		if e, ok := errors.AsType[*agentidp.Error](err); err != nil && (!ok || e.Code != agentidp.CodeInvalidDPoPProof) {
			t.Errorf("refused with %v", err)
		}
	})
}

// signed makes a proof with go-jose.
func signed(t *testing.T, alg string, private any) string {
	t.Helper()
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: private}, options))
	return must(must(signer.Sign(encoded(t, dpoptest.Claims("POST", here, accessToken, now)))).CompactSerialize())
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
