package jose

import (
	"errors"
	"fmt"
	"slices"
)

// Why ParseProof refuses a proof that is a JWS.
var (
	ErrProofType      = errors.New("its typ is another")
	ErrProofAlgorithm = errors.New("its algorithm is not on the list")
	ErrProofKey       = errors.New("its jwk is no public key that is fit for its algorithm")
)

// ParseProof reads a proof of possession: a compact JWS as Parse reads it, whose header
// carries the public key that it is signed with (jwk, RFC 7515 §4.1.3), and returns that
// key, bound to the algorithm of the header. Typ and algorithm must be the one that is
// given and one of allowed. That the sender has the key is proven by Verify, and nothing
// else is: the sender chose it. No token is read with this.
//
// With EdDSA on the list a header may also say Ed25519; the JWS then has EdDSA.
func ParseProof(compact, typ string, allowed []string) (*JWS, *Key, error) {
	j, header, err := split(compact)
	if err != nil {
		return nil, nil, err
	}
	var jwk []byte
	j.Header, err = readHeader(header, func(name string, value []byte) error {
		if name == "jwk" {
			jwk = value
			return nil
		}
		return refuseName(name, value)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the header: %w", err)
	}
	if j.Header.Typ != typ {
		return nil, nil, ErrProofType
	}
	j.Header.Alg = OneName(j.Header.Alg)
	if !slices.Contains(allowed, j.Header.Alg) {
		return nil, nil, ErrProofAlgorithm
	}
	key, err := proofKey(jwk, j.Header.Alg)
	if err != nil {
		return nil, nil, errors.Join(ErrProofKey, err)
	}
	return j, key, nil
}

func proofKey(jwk []byte, alg string) (*Key, error) {
	if jwk == nil {
		return nil, errors.New("it is missing")
	}
	members, err := jwkMembers(jwk)
	if err != nil {
		return nil, err
	}
	return usableKey(members, []string{alg})
}
