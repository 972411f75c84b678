package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
)

// rawSignature signs without the help of the package under test.
func rawSignature(t testing.TB, alg, input string) []byte {
	t.Helper()
	key := keyOf(t, alg)
	var sig []byte
	var err error
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return rs(r, s)
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	default:
		sig, err = key.Sign(nil, []byte(input), crypto.Hash(0))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func rs(r, s *big.Int) []byte {
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig
}

// verify parses a token and verifies it with the public key of alg.
func verify(t testing.TB, alg, token string) error {
	t.Helper()
	j, err := jose.Parse(token)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	key, err := jose.NewKey("", alg, keyOf(t, alg).Public())
	if err != nil {
		t.Fatal(err)
	}
	return j.Verify(key)
}

func TestSignThenVerify(t *testing.T) {
	t.Parallel()
	for _, alg := range jose.Algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			signer := signerOf(t, alg)
			token, err := signer.Sign("at+jwt", []byte(`{"sub":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			j, err := jose.Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			if want := (jose.Header{Alg: alg, Kid: signer.KeyID(), Typ: "at+jwt"}); j.Header != want {
				t.Errorf("header %+v", j.Header)
			}
			if err := j.Verify(signer.Public()); err != nil {
				t.Error(err)
			}
			other, err := jose.GenerateKey(alg)
			if err != nil {
				t.Fatal(err)
			}
			key, err := jose.NewKey(signer.KeyID(), alg, other.Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Verify(key); !errors.Is(err, jose.ErrSignature) {
				t.Errorf("another key with the same id: %v", err)
			}
		})
	}
}

// The tokens have a good signature of the provider's key, or an HMAC that a
// confused verifier would accept.
func TestVerifyRefusesAnAlgorithmThatIsNotTheKeys(t *testing.T) {
	t.Parallel()
	type test struct{ name, keyAlg, headerAlg, signature string }
	var tests []test
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", "es256", "ES256 ", "ES384", "HS256", "RS256", "Ed25519"} {
		tests = append(tests, test{"A-001 A-002 A-003 header " + alg, jose.ES256, alg, ""})
	}
	for _, alg := range []string{"RS384", "RS512", "PS256", "ES256", "EdDSA"} {
		tests = append(tests, test{"A-015 A-018 RS256 key, header " + alg, jose.RS256, alg, ""})
	}
	for _, alg := range []string{jose.RS256, jose.ES256} {
		der, err := x509.MarshalPKIXPublicKey(keyOf(t, alg).Public())
		if err != nil {
			t.Fatal(err)
		}
		spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for name, secret := range map[string][]byte{
			"DER": der, "PEM": spki, "PEM behind a space": append([]byte(" "), spki...),
			"PEM with CRLF": bytes.ReplaceAll(spki, []byte("\n"), []byte("\r\n")), "nothing": nil, "null": []byte("null"),
		} {
			tests = append(tests, test{"A-004 A-005 A-006 HMAC with " + alg + " key as " + name, alg, "HS256", string(secret)})
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			input := b64(fmt.Sprintf(`{"alg":%q}`, tt.headerAlg)) + "." + b64("{}")
			signature := rawSignature(t, tt.keyAlg, input)
			if tt.headerAlg == "HS256" {
				mac := hmac.New(sha256.New, []byte(tt.signature))
				mac.Write([]byte(input))
				signature = mac.Sum(nil)
			}
			if err := verify(t, tt.keyAlg, input+"."+b64(string(signature))); !errors.Is(err, jose.ErrAlgorithm) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestA008SpecialValuesOfRAndS(t *testing.T) {
	t.Parallel()
	n := elliptic.P256().Params().N
	input := b64(`{"alg":"ES256"}`) + "." + b64("{}")
	special := []*big.Int{big.NewInt(0), big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1)), n}
	for _, r := range special {
		for _, s := range special {
			if err := verify(t, jose.ES256, input+"."+b64(string(rs(r, s)))); !errors.Is(err, jose.ErrSignature) {
				t.Errorf("r %x, s %x: %v", r, s, err)
			}
		}
	}
}

func TestECDSASignatureForms(t *testing.T) {
	t.Parallel()
	input := b64(`{"alg":"ES256"}`) + "." + b64("{}")
	good := rawSignature(t, jose.ES256, input)
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	zeros := make([]byte, 32)
	for _, tt := range []struct {
		name      string
		signature []byte
		ok        bool
	}{
		{"r and s", good, true},
		{"A-010 the high-s twin", rs(r, new(big.Int).Sub(n, s)), true},
		{"A-009 DER", der, false},
		{"A-009 63 bytes", good[:63], false},
		{"A-009 63 bytes, the first stripped", good[1:], false},
		{"A-009 65 bytes", append([]byte{0}, good...), false},
		{"A-009 66 bytes", bytes.Join([][]byte{{0}, good[:32], {0}, good[32:]}, nil), false},
		{"A-009 128 bytes", bytes.Join([][]byte{zeros, good[:32], zeros, good[32:]}, nil), false},
		{"s and r", append(bytes.Clone(good[32:]), good[:32]...), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := verify(t, jose.ES256, input+"."+b64(string(tt.signature))); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Each encoded message is one that a lenient parser takes for PKCS #1 v1.5.
func TestA014PaddingMutations(t *testing.T) {
	t.Parallel()
	key := keyOf(t, jose.RS256).(*rsa.PrivateKey)
	input := b64(`{"alg":"RS256"}`) + "." + b64("{}")
	sum, sum1 := sha256.Sum256([]byte(input)), sha512.Sum512([]byte(input))
	oid := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	withoutNull := []byte{0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20}
	otherOID := bytes.Clone(oid)
	otherOID[14] = 3
	encode := func(first, second, fill byte, padding int, parts ...[]byte) []byte {
		em := []byte{first, second}
		em = append(em, bytes.Repeat([]byte{fill}, padding)...)
		em = append(em, 0)
		em = append(em, bytes.Join(parts, nil)...)
		return append(em, make([]byte, max(0, key.Size()-len(em)))...)
	}
	full := key.Size() - 3 - len(oid) - len(sum)
	for _, tt := range []struct {
		name string
		em   []byte
		ok   bool
	}{
		{"as RFC 8017 says", encode(0, 1, 0xff, full, oid, sum[:]), true},
		{"the first byte 1", encode(1, 1, 0xff, full, oid, sum[:]), false},
		{"block type 0", encode(0, 0, 0xff, full, oid, sum[:]), false},
		{"block type 2", encode(0, 2, 0xff, full, oid, sum[:]), false},
		{"padding of zeros", encode(0, 1, 0, full, oid, sum[:]), false},
		{"eight bytes of padding, garbage behind", encode(0, 1, 0xff, 8, oid, sum[:]), false},
		{"no padding", encode(0, 1, 0xff, 0, oid, sum[:]), false},
		{"one byte of padding less", encode(0, 1, 0xff, full-1, oid, sum[:]), false},
		{"no NULL parameter", encode(0, 1, 0xff, full+2, withoutNull, sum[:]), false},
		{"no digest info", encode(0, 1, 0xff, full+len(oid), sum[:]), false},
		{"another hash's OID", encode(0, 1, 0xff, full, otherOID, sum[:]), false},
		{"another hash", encode(0, 1, 0xff, full, oid, sum1[:32]), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := new(big.Int).SetBytes(tt.em)
			sig := m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
			if err := verify(t, jose.RS256, input+"."+b64(string(sig))); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRSASignatureForms(t *testing.T) {
	t.Parallel()
	key := keyOf(t, jose.RS256).(*rsa.PrivateKey)
	input := b64(`{"alg":"RS256"}`) + "." + b64("{}")
	good := rawSignature(t, jose.RS256, input)
	plusN := new(big.Int).Add(new(big.Int).SetBytes(good), key.N)
	sum := sha256.Sum256([]byte(input))
	pss, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string][]byte{
		"one byte more": append([]byte{0}, good...), "one byte less": good[:255], "zeros": make([]byte, 256),
		"the signature plus n": plusN.FillBytes(make([]byte, 257)), "PSS": pss,
	} {
		if err := verify(t, jose.RS256, input+"."+b64(string(sig))); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyRefusesAlteredTokens(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{jose.RS256, jose.ES256, jose.EdDSA} {
		token, err := signerOf(t, alg).Sign("JWT", []byte(`{"a":"b"}`))
		if err != nil {
			t.Fatal(err)
		}
		other, err := signerOf(t, alg).Sign("JWT", []byte(`{"a":"c"}`))
		if err != nil {
			t.Fatal(err)
		}
		s, o := segments(token), segments(other)
		for name, altered := range map[string]string{
			"A-019 the signature of another token": s[0] + "." + s[1] + "." + o[2],
			"A-019 the payload of another token":   s[0] + "." + o[1] + "." + s[2],
			"A-021 another typ":                    b64(strings.Replace(string(unb64(t, s[0])), "JWT", "jwt", 1)) + "." + s[1] + "." + s[2],
			"A-021 another kid":                    b64(fmt.Sprintf(`{"alg":%q,"kid":"x"}`, alg)) + "." + s[1] + "." + s[2],
		} {
			if err := verify(t, alg, altered); !errors.Is(err, jose.ErrSignature) {
				t.Errorf("%s: %s: %v", alg, name, err)
			}
		}
	}
}

func TestA020NoBitMatters(t *testing.T) {
	t.Parallel()
	token, err := signerOf(t, jose.EdDSA).Sign("JWT", []byte(`{"a":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	public := signerOf(t, jose.EdDSA).Public()
	for i := range len(token) {
		for bit := range 8 {
			flipped := []byte(token)
			flipped[i] ^= 1 << bit
			j, err := jose.Parse(string(flipped))
			if err == nil && j.Verify(public) == nil {
				t.Errorf("bit %d of byte %d does not matter", bit, i)
			}
		}
	}
}

func TestSigningInputSum(t *testing.T) {
	t.Parallel()
	token := sign(t, `{"alg":"ES256"}`, "{}")
	j, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')])); j.SigningInputSum() != want {
		t.Errorf("got %x", j.SigningInputSum())
	}
}
