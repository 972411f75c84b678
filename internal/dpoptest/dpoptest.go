// Package dpoptest makes DPoP proofs (RFC 9449) as a client does, good ones and others,
// for the tests of several packages. It shares no code with what judges them.
package dpoptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Key is a client's key, for ES256.
type Key struct {
	private *ecdsa.PrivateKey
	jwk     map[string]any
}

// NewKey makes a key.
func NewKey() *Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	point, err := private.PublicKey.Bytes()
	must(err)
	return &Key{private, map[string]any{"crv": "P-256", "kty": "EC", "x": encode(point[1:33]), "y": encode(point[33:])}}
}

// Thumbprint returns the RFC 7638 thumbprint of the key, which is what cnf.jkt holds.
func (k *Key) Thumbprint() string { return hash(string(marshal(k.jwk))) }

// JWK returns the public key.
func (k *Key) JWK() map[string]any { return maps.Clone(k.jwk) }

// Proof returns a fresh proof for a request at an instant. accessToken is empty where
// the request presents none.
func (k *Key) Proof(method, url, accessToken string, at time.Time) string {
	return k.Sign(k.Header(), Claims(method, url, accessToken, at))
}

// Header returns the header of a proof, to be changed.
func (k *Key) Header() map[string]any {
	return map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": k.JWK()}
}

// Claims returns the claims of a proof, to be changed.
func Claims(method, url, accessToken string, at time.Time) map[string]any {
	c := map[string]any{"htm": method, "htu": url, "iat": at.Unix(), "jti": rand.Text()}
	if accessToken != "" {
		c["ath"] = hash(accessToken)
	}
	return c
}

// Sign returns a JWS, correctly signed with ES256 whatever its header says.
func (k *Key) Sign(header, claims map[string]any) string {
	input := encode(marshal(header)) + "." + encode(marshal(claims))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	must(err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + encode(signature)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return encode(sum[:])
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("make a DPoP proof: %v", err))
	}
}
