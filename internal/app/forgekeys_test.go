package app

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp/internal/certtest"
)

// ciKey is the private key of every world's CI issuer. Whoever holds it can say
// anything with a good signature.
func ciKey() *rsa.PrivateKey { return issuerKey().(*rsa.PrivateKey) }

// malloryKey is a key that nobody trusts.
var malloryKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signer signs the signing input of a JWS, in whatever way.
type signer func(input string) []byte

func rs256(input string) []byte { return pkcs1(ciKey(), crypto.SHA256)(input) }

func pkcs1(key *rsa.PrivateKey, hash crypto.Hash) signer {
	return func(input string) []byte {
		h := hash.New()
		h.Write([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, hash, h.Sum(nil))
		if err != nil {
			panic(err)
		}
		return signature
	}
}

// es256 hashes with SHA-256 whatever the key's curve is.
func es256(key *ecdsa.PrivateKey) signer {
	return func(input string) []byte {
		r, s := ecSign(key, input)
		return rs(r, s, (key.Params().BitSize+7)/8)
	}
}

func ecSign(key *ecdsa.PrivateKey, input string) (r, s *big.Int) {
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	return r, s
}

// rs writes two integers of size bytes one behind the other (RFC 7518 §3.4).
func rs(r, s *big.Int, size int) []byte {
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

// raw is a signer that does not look at its input.
func raw(signature []byte) signer { return func(string) []byte { return signature } }

// jwk describes a public key; a member that is nil is left out.
func jwk(pub crypto.PublicKey, kid string, members claims) claims {
	k := claims{"kid": kid, "use": "sig"}
	switch key := pub.(type) {
	case *rsa.PublicKey:
		k["kty"], k["alg"] = "RSA", "RS256"
		k["n"], k["e"] = b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		k["kty"], k["alg"], k["crv"] = "EC", map[string]string{"P-256": "ES256", "P-384": "ES384"}[key.Params().Name], key.Params().Name
		k["x"], k["y"] = b64(point[1:1+size]), b64(point[1+size:])
	}
	for name, value := range members {
		if k[name] = value; value == nil {
			delete(k, name)
		}
	}
	return k
}

// keySet is a JWK set of the given keys.
func keySet(keys ...claims) string {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(map[string]any{"keys": keys}); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func hs256(secret []byte) signer {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

// secret is what somebody may mistake for the key of an HMAC.
type secret struct {
	name string
	key  []byte
}

// publicSpellings returns the ways to write a public key down.
func publicSpellings(t *testing.T, pub crypto.PublicKey) []secret {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	members, err := json.Marshal(jwk(pub, "k", nil))
	if err != nil {
		t.Fatal(err)
	}
	all := []secret{
		{"SPKI DER", spki}, {"SPKI PEM", inPEM}, {"SPKI PEM behind a space", append([]byte(" "), inPEM...)},
		{"SPKI PEM with CRLF", bytes.ReplaceAll(inPEM, []byte("\n"), []byte("\r\n"))},
		{"SPKI PEM without its last line break", bytes.TrimSpace(inPEM)}, {"JWK", members},
	}
	switch key := pub.(type) {
	case *rsa.PublicKey:
		der := x509.MarshalPKCS1PublicKey(key)
		all = append(all, secret{"PKCS #1 DER", der}, secret{"the bytes of n", key.N.Bytes()},
			secret{"PKCS #1 PEM", pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der})})
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, secret{"the point", point}, secret{"x and y", point[1:]}, secret{"x", point[1:33]},
			secret{"the compressed point", elliptic.MarshalCompressed(elliptic.P256(), key.X, key.Y)}) //nolint:staticcheck // nothing else compresses
	}
	return all
}

// smallS makes a key that has signed this token with s = 5: with the nonce and s
// chosen first, only one key is left.
func smallS(t *testing.T, header, payload string) (pub *ecdsa.PublicKey, input string, signature []byte) {
	t.Helper()
	n, s := elliptic.P256().Params().N, big.NewInt(5)
	input = b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	nonce := newECKey(t, elliptic.P256())
	k, err := nonce.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := new(big.Int).Mod(nonce.X, n)
	d := new(big.Int).Mul(s, new(big.Int).SetBytes(k))
	d.Sub(d, new(big.Int).SetBytes(sum[:])).Mul(d, new(big.Int).ModInverse(r, n)).Mod(d, n)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey, input, rs(r, s, 32)
}

// rsaByHand signs where crypto/rsa refuses to.
type rsaByHand struct{ n, e, d *big.Int }

func newRSAByHand(t *testing.T, bits int) *rsaByHand {
	t.Helper()
	one, e := big.NewInt(1), big.NewInt(65537)
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			t.Fatal(err)
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(e, phi); d != nil && p.Cmp(q) != 0 {
			return &rsaByHand{new(big.Int).Mul(p, q), e, d}
		}
	}
}

// withExponent is the CI issuer's modulus with another exponent, if there is one
// that signs for it.
func withExponent(e *big.Int) *rsaByHand {
	key, one := ciKey(), big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(key.Primes[0], one), new(big.Int).Sub(key.Primes[1], one))
	d := new(big.Int).ModInverse(e, phi)
	if d == nil {
		d = big.NewInt(3)
	}
	return &rsaByHand{key.N, e, d}
}

var sha256Info = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

func (k *rsaByHand) sign(input string) []byte {
	sum := sha256.Sum256([]byte(input))
	size := (k.n.BitLen() + 7) / 8
	tail := append(append([]byte{0}, sha256Info...), sum[:]...)
	em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-2-len(tail))...)
	return k.exp(append(em, tail...))
}

func (k *rsaByHand) exp(message []byte) []byte {
	return new(big.Int).Exp(new(big.Int).SetBytes(message), k.d, k.n).FillBytes(make([]byte, (k.n.BitLen()+7)/8))
}

// privateRSA is the bare private operation of the CI issuer's key.
func privateRSA(message []byte) []byte {
	key, c := ciKey(), new(big.Int).SetBytes(message)
	p, q := key.Primes[0], key.Primes[1]
	m1, m2 := new(big.Int).Exp(c, key.Precomputed.Dp, p), new(big.Int).Exp(c, key.Precomputed.Dq, q)
	h := m1.Sub(m1, m2)
	h.Mul(h, key.Precomputed.Qinv).Mod(h, p)
	return m2.Add(m2, h.Mul(h, q)).FillBytes(make([]byte, key.Size()))
}

func pss(input string) []byte {
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPSS(rand.Reader, ciKey(), crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		panic(err)
	}
	return signature
}

// selfSigned returns a certificate that says mallory's key is the issuer's.
func selfSigned() []byte {
	return certtest.Of(malloryKey(), func(c *x509.Certificate) { c.Subject.CommonName = "token.actions.githubusercontent.com" }).Leaf.Raw
}
