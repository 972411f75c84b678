package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math/big"
)

// Why Verify refuses a token.
var (
	ErrAlgorithm = errors.New("the token's algorithm is not that of the key")
	ErrSignature = errors.New("the signature is not that of the key")
)

// Verify returns nil if key signed the token. The header's alg must be, byte for
// byte, the algorithm that the key is bound to (RFC 8725 §3.1).
func (j *JWS) Verify(key *Key) error {
	if j.Header.Alg != key.Algorithm {
		return ErrAlgorithm
	}
	ok := false
	switch public := key.public.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(public, hashOf(key.Algorithm), digest(key.Algorithm, j.signingInput), j.signature) == nil
	case *ecdsa.PublicKey:
		ok = j.verifyECDSA(public, key.Algorithm)
	case ed25519.PublicKey:
		ok = ed25519.Verify(public, j.signingInput, j.signature)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// digest hashes a signing input for an algorithm.
func digest(alg string, input []byte) []byte {
	switch alg {
	case RS384, ES384:
		sum := sha512.Sum384(input)
		return sum[:]
	case RS512:
		sum := sha512.Sum512(input)
		return sum[:]
	}
	sum := sha256.Sum256(input)
	return sum[:]
}

// verifyECDSA takes r and s as two integers of the curve's size, one behind the
// other (RFC 7518 §3.4), each in [1, n-1]. Both s and n-s are valid; see
// SigningInputSum.
func (j *JWS) verifyECDSA(public *ecdsa.PublicKey, alg string) bool {
	params := public.Params()
	size := (params.BitSize + 7) / 8
	if len(j.signature) != 2*size {
		return false
	}
	r := new(big.Int).SetBytes(j.signature[:size])
	s := new(big.Int).SetBytes(j.signature[size:])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(params.N) >= 0 || s.Cmp(params.N) >= 0 {
		return false
	}
	return ecdsa.Verify(public, digest(alg, j.signingInput), r, s)
}
