package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // SHA-384 and SHA-512
	"errors"
	"fmt"
)

// Key is a public key bound to one algorithm. It does not change once made.
type Key struct {
	ID        string // kid; may be empty
	Algorithm string // JWS alg

	public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// The algorithms.
const (
	RS256 = "RS256"
	RS384 = "RS384"
	RS512 = "RS512"
	ES256 = "ES256"
	ES384 = "ES384"
	EdDSA = "EdDSA"
)

// ed25519Name is what RFC 9864 calls EdDSA with an Ed25519 key, the one kind there is
// here.
const ed25519Name = "Ed25519"

// OneName returns the name by which an algorithm is known here: EdDSA has two. Whose
// algorithms are compared byte for byte does not ask.
func OneName(alg string) string {
	if alg == ed25519Name {
		return EdDSA
	}
	return alg
}

// Algorithms are all that this package signs and verifies with.
var Algorithms = []string{RS256, RS384, RS512, ES256, ES384, EdDSA}

// Bounds of an RSA modulus in bits. RFC 7518 §3.3 sets the lower; the upper keeps
// the cost of a verification bounded.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

func hashOf(alg string) crypto.Hash {
	switch alg {
	case RS256, ES256:
		return crypto.SHA256
	case RS384, ES384:
		return crypto.SHA384
	case RS512:
		return crypto.SHA512
	}
	return 0
}

func curveOf(alg string) elliptic.Curve {
	switch alg {
	case ES256:
		return elliptic.P256()
	case ES384:
		return elliptic.P384()
	}
	return nil
}

// NewKey binds a public key to an algorithm, or says why the key is not fit for
// it. id may be empty, or is 1 to 256 printable ASCII characters.
func NewKey(id, alg string, pub crypto.PublicKey) (*Key, error) {
	if id != "" && !isKeyID(id) {
		return nil, errKeyID
	}
	var err error
	switch alg {
	case RS256, RS384, RS512:
		err = checkRSA(pub)
	case ES256, ES384:
		key, ok := pub.(*ecdsa.PublicKey)
		if !ok || key.Curve != curveOf(alg) {
			err = fmt.Errorf("%s needs an elliptic curve key on %s", alg, curveOf(alg).Params().Name)
		} else if _, err = key.Bytes(); err != nil {
			err = errors.New("the point is not on the curve")
		}
	case EdDSA:
		if key, ok := pub.(ed25519.PublicKey); !ok || len(key) != ed25519.PublicKeySize {
			err = errors.New("EdDSA needs an Ed25519 key")
		}
	default:
		err = fmt.Errorf("the algorithm %q is not supported", alg)
	}
	if err != nil {
		return nil, err
	}
	return &Key{ID: id, Algorithm: alg, public: pub}, nil
}

func checkRSA(pub crypto.PublicKey) error {
	key, ok := pub.(*rsa.PublicKey)
	switch {
	case !ok || key.N == nil:
		return errors.New("an RSA algorithm needs an RSA key")
	case key.N.Sign() <= 0 || key.N.Bit(0) == 0:
		return errors.New("the RSA modulus is not odd and positive")
	case key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits:
		return fmt.Errorf("the RSA modulus has %d bits, not %d to %d", key.N.BitLen(), minRSABits, maxRSABits)
	case key.E < 3 || key.E&1 == 0 || int64(key.E) > 1<<31-1:
		return errors.New("the RSA exponent is not odd and from 3 to 2^31-1")
	case isROCA(key.N):
		return errors.New("the RSA modulus is one of ROCA (CVE-2017-15361): its private key can be computed; make another key with other hardware or software")
	}
	return nil
}

// Equal reports whether two keys are the same public key bound to the same
// algorithm, whatever their ids.
func (k *Key) Equal(other *Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Algorithm == other.Algorithm && public.Equal(other.public)
}

// GenerateKey makes a private key for an algorithm; RSA keys have 2048 bits.
func GenerateKey(alg string) (crypto.Signer, error) {
	switch alg {
	case RS256, RS384, RS512:
		return rsa.GenerateKey(rand.Reader, minRSABits)
	case ES256, ES384:
		return ecdsa.GenerateKey(curveOf(alg), rand.Reader)
	case EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("the algorithm %q is not supported", alg)
}
