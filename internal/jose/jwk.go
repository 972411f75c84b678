package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
)

// jwk holds the public members of a key. The order of its fields is that of the
// names, so that marshaling only the required ones gives the input of RFC 7638
// §3.1.
type jwk struct {
	Alg string `json:"alg,omitempty"`
	Crv string `json:"crv,omitempty"`
	E   string `json:"e,omitempty"`
	Kid string `json:"kid,omitempty"`
	Kty string `json:"kty"`
	N   string `json:"n,omitempty"`
	Use string `json:"use,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// newJWK returns the members that RFC 7638 §3.2 requires for the key's type.
func newJWK(pub crypto.PublicKey) (*jwk, error) {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(key.E)).Bytes()
		return &jwk{Kty: "RSA", N: b64.EncodeToString(key.N.Bytes()), E: b64.EncodeToString(e)}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encode the point: %w", err)
		}
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		return &jwk{Kty: "EC", Crv: key.Params().Name, X: b64.EncodeToString(x), Y: b64.EncodeToString(y)}, nil
	case ed25519.PublicKey:
		return &jwk{Kty: "OKP", Crv: "Ed25519", X: b64.EncodeToString(key)}, nil
	}
	return nil, fmt.Errorf("keys of type %T are not supported", pub)
}

// JWK returns the key as a JSON Web Key: its type, use, algorithm and id, and the
// public members alone.
func (k *Key) JWK() ([]byte, error) {
	key, err := newJWK(k.public)
	if err != nil {
		return nil, err
	}
	key.Alg, key.Kid, key.Use = k.Algorithm, k.ID, "sig"
	return json.Marshal(key)
}

// Thumbprint returns the SHA-256 thumbprint of a public key in base64url (RFC
// 7638). It depends on the key alone, so a key never gets another's id.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	key, err := newJWK(pub)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return b64.EncodeToString(sum[:]), nil
}

// Thumbprint returns the thumbprint of the key.
func (k *Key) Thumbprint() (string, error) { return Thumbprint(k.public) }
