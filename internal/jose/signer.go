package jose

import (
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

// Signer makes compact JWS with one private key. It is safe for concurrent use.
type Signer struct {
	public *Key
	key    crypto.Signer

	// headers holds the encoded protected header of each typ that was asked for.
	// There are a handful: typ is a constant of the calling code.
	headers sync.Map
}

// NewSigner binds a private key, which may live in a device, to an algorithm. The
// key's id is its thumbprint.
func NewSigner(alg string, key crypto.Signer) (*Signer, error) {
	id, err := Thumbprint(key.Public())
	if err != nil {
		return nil, err
	}
	public, err := NewKey(id, alg, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{public: public, key: key}, nil
}

// KeyID returns the kid: the thumbprint of the public key.
func (s *Signer) KeyID() string { return s.public.ID }

// Algorithm returns the JWS alg.
func (s *Signer) Algorithm() string { return s.public.Algorithm }

// Public returns the public key.
func (s *Signer) Public() *Key { return s.public }

// roomForSignature holds two dots and the signature of an RSA key of 2048 bits.
const roomForSignature = 2 + 342

// Sign returns the compact JWS of payload, whose header has alg, kid and typ. Typ
// says what kind of token it is (RFC 8725 §3.11) and must not come from a request.
func (s *Signer) Sign(typ string, payload []byte) (string, error) {
	header, err := s.header(typ)
	if err != nil {
		return "", err
	}
	token := make([]byte, 0, len(header)+b64.EncodedLen(len(payload))+roomForSignature)
	token = append(append(token, header...), '.')
	token = b64.AppendEncode(token, payload)
	signature, err := s.signature(token)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	token = append(token, '.')
	return string(b64.AppendEncode(token, signature)), nil
}

func (s *Signer) header(typ string) (string, error) {
	if header, ok := s.headers.Load(typ); ok {
		return header.(string), nil
	}
	if typ == "" {
		return "", errors.New("sign a token: typ is empty")
	}
	data, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}{s.Algorithm(), s.KeyID(), typ})
	if err != nil {
		return "", err
	}
	header := b64.EncodeToString(data)
	s.headers.Store(typ, header)
	return header, nil
}

func (s *Signer) signature(input []byte) ([]byte, error) {
	hash := hashOf(s.Algorithm())
	message := input
	if hash != 0 {
		message = digest(s.Algorithm(), input)
	}
	signature, err := s.key.Sign(rand.Reader, message, hash)
	if err != nil {
		return nil, err
	}
	if curve := curveOf(s.Algorithm()); curve != nil {
		return concatenated(signature, (curve.Params().BitSize+7)/8)
	}
	return signature, nil
}

// concatenated turns the DER form that crypto.Signer returns into r and s, one
// behind the other (RFC 7518 §3.4).
func concatenated(der []byte, size int) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil {
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	if len(rest) > 0 || sig.R.Sign() < 0 || sig.S.Sign() < 0 || sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size {
		return nil, errors.New("read the signature: out of range")
	}
	out := make([]byte, 2*size)
	sig.R.FillBytes(out[:size])
	sig.S.FillBytes(out[size:])
	return out, nil
}
