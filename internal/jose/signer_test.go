package jose_test

import (
	"crypto"
	"io"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/jose"
)

var interop = []string{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.EdDSA}

func TestGoJoseVerifiesWhatWeSign(t *testing.T) {
	t.Parallel()
	for _, alg := range interop {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			signer := signerOf(t, alg)
			token, err := signer.Sign("at+jwt", []byte(`{"sub":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			data, err := signer.Public().JWK()
			if err != nil {
				t.Fatal(err)
			}
			var key gojose.JSONWebKey
			if err := key.UnmarshalJSON(data); err != nil {
				t.Fatal(err)
			}
			parsed, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := parsed.Verify(key); err != nil || string(payload) != `{"sub":"x"}` {
				t.Errorf("got %s, %v", payload, err)
			}
			header := parsed.Signatures[0].Protected
			if header.KeyID != signer.KeyID() || header.ExtraHeaders["typ"] != "at+jwt" {
				t.Errorf("header %+v", header)
			}
			if sum, err := key.Thumbprint(crypto.SHA256); err != nil || b64(string(sum)) != signer.KeyID() {
				t.Errorf("thumbprint %s, %v", b64(string(sum)), err)
			}
		})
	}
}

func TestWeVerifyWhatGoJoseSigns(t *testing.T) {
	t.Parallel()
	for _, alg := range interop {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			public := gojose.JSONWebKey{Key: keyOf(t, alg).Public(), KeyID: "k", Algorithm: alg, Use: "sig"}
			signer, err := gojose.NewSigner(
				gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: gojose.JSONWebKey{Key: keyOf(t, alg), KeyID: "k"}},
				(&gojose.SignerOptions{}).WithType("JWT"))
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign([]byte(`{"iss":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			token, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			keys, err := jose.ParseJWKS(set(t, public), []string{alg})
			if err != nil {
				t.Fatal(err)
			}
			j, err := jose.Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Verify(keys[0]); err != nil || j.Header != (jose.Header{Alg: alg, Kid: "k", Typ: "JWT"}) {
				t.Errorf("header %+v: %v", j.Header, err)
			}
		})
	}
}

// fixed is a signing device that answers the same whatever it is asked.
type fixed struct {
	crypto.Signer
	answer string
}

func (f fixed) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte(f.answer), nil
}

func TestSignRefusesABadAnswerOfTheDevice(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no DER":          "nonsense",
		"negative r":      "\x30\x06\x02\x01\xff\x02\x01\x01",
		"bytes behind":    "\x30\x06\x02\x01\x01\x02\x01\x01\x00",
		"r of 33 bytes":   "\x30\x26\x02\x21" + strings.Repeat("\x01", 33) + "\x02\x01\x01",
		"an empty answer": "",
	} {
		signer, err := jose.NewSigner(jose.ES256, fixed{keyOf(t, jose.ES256), answer})
		if err != nil {
			t.Fatal(err)
		}
		if token, err := signer.Sign("JWT", []byte("{}")); err == nil {
			t.Errorf("%s: signed %s", name, token)
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	if _, err := jose.NewSigner(jose.RS256, keyOf(t, jose.ES256)); err == nil {
		t.Error("an EC key for RS256 was accepted")
	}
	if _, err := signerOf(t, jose.ES256).Sign("", []byte("{}")); err == nil {
		t.Error("an empty typ was accepted")
	}
	if _, err := jose.GenerateKey("HS256"); err == nil {
		t.Error("a key for HS256 was generated")
	}
}

func BenchmarkSignES256(b *testing.B) {
	signer := signerOf(b, jose.ES256)
	payload := []byte(strings.Repeat("x", 700))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Sign("at+jwt", payload); err != nil {
			b.Fatal(err)
		}
	}
}
