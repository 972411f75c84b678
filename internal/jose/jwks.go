package jose

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Bounds of a key set. Issuers publish a few keys in a few kilobytes.
const (
	MaxJWKS = 256 << 10
	maxKeys = 64
	// jwksDepth bounds the nesting of members that are ignored.
	jwksDepth = 16
)

// ParseJWKS reads a JWK set (RFC 7517 §5) and returns the keys that can verify
// signatures with one of the allowed algorithms, in the order of the set. Each is
// bound to its alg or, where it has none, to the algorithm that fits its type: the
// curve's, or the first RSA algorithm in allowed.
//
// Other keys are ignored: symmetric ones, private ones, weak ones, and those for
// encryption. Certificates (x5c, x5t) are never read. Where one kid stands for
// different keys, none of them is used (RFC 7517 §4.5). A set without a usable key
// is an error, which says what is wrong with the first few.
func ParseJWKS(data []byte, allowed []string) ([]*Key, error) {
	entries, err := InspectJWKS(data, allowed)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	var refused []error
	for i, e := range entries {
		switch {
		case e.Err == nil:
			keys = append(keys, e.Key)
		case !errors.Is(e.Err, errRepeated):
			refused = append(refused, fmt.Errorf("key %d: %w", i+1, e.Err))
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no usable key among %d in the key set: %w", len(entries), errors.Join(refused[:min(3, len(refused))]...))
	}
	return keys, nil
}

// privateNames are members that no published key has (RFC 7518 §6.2.2, §6.3.2,
// §6.4.1). A key that has one is compromised or symmetric.
var privateNames = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseJWK reads one key, or says why it is of no use. An element that is not an
// object is a key of no use, as RFC 7517 §5 wants.
func parseJWK(data []byte, allowed []string) Entry {
	members, err := jwkMembers(data)
	e := Entry{ID: shown(members["kid"]), Type: shown(members["kty"]), Algorithm: shown(members["alg"])}
	if e.Err = err; err != nil {
		return e
	}
	if e.Key, e.Err = usableKey(members, allowed); e.Err == nil {
		e.Algorithm = e.Key.Algorithm
	}
	return e
}

// jwkMembers returns the members of a key that are known and strings, also beside an
// error.
func jwkMembers(data []byte) (map[string]string, error) {
	members := map[string]string{}
	var fault error // the first; the others are read for what the key says of itself
	err := strictjson.Members(data, jwksDepth, func(name string, value []byte) error {
		if err := readMember(members, name, value); fault == nil {
			fault = err
		}
		return nil
	})
	return members, cmp.Or(err, fault)
}

func readMember(members map[string]string, name string, value []byte) (err error) {
	switch name {
	case "kty", "use", "alg", "kid", "crv", "n", "e", "x", "y":
		if members[name], err = strictjson.String(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	case "key_ops":
		return checkOperations(value)
	default:
		if slices.Contains(privateNames, name) {
			return fmt.Errorf("it has the private or symmetric member %s", name)
		}
	}
	return nil
}

// shown returns what may be printed, which a key id is.
func shown(s string) string {
	if isKeyID(s) {
		return s
	}
	return ""
}

// usableKey makes the key of a JWK's members.
func usableKey(members map[string]string, allowed []string) (*Key, error) {
	if use, ok := members["use"]; ok && use != "sig" {
		return nil, errOtherUse
	}
	id, ok := members["kid"]
	if ok && !isKeyID(id) {
		return nil, errKeyID
	}
	public, fits, err := publicKey(members)
	if err != nil {
		return nil, err
	}
	alg, ok := members["alg"]
	if !ok {
		i := slices.IndexFunc(allowed, func(a string) bool { return slices.Contains(fits, a) })
		if i < 0 {
			return nil, errors.New("no allowed algorithm fits its type")
		}
		alg = allowed[i]
	}
	alg = OneName(alg)
	if !slices.Contains(allowed, alg) {
		return nil, errors.New("its alg is not allowed")
	}
	return NewKey(id, alg, public)
}

func checkOperations(value []byte) error {
	verify := false
	err := strictjson.Elements(value, 1, func(op []byte) error {
		s, err := strictjson.String(op)
		verify = verify || s == "verify"
		return err
	})
	if err != nil {
		return fmt.Errorf("key_ops: %w", err)
	}
	if !verify {
		return errors.New("key_ops has no verify")
	}
	return nil
}

// publicKey builds the key of a JWK and names the algorithms that fit its type.
// NewKey checks the key itself.
func publicKey(members map[string]string) (key crypto.PublicKey, fits []string, err error) {
	kind := strings.TrimSuffix(members["kty"]+" "+members["crv"], " ")
	switch kind {
	case "RSA":
		key, err = rsaKey(members["n"], members["e"])
		return key, []string{RS256, RS384, RS512}, err
	case "EC P-256":
		key, err = ecKey(ES256, members["x"], members["y"])
		return key, []string{ES256}, err
	case "EC P-384":
		key, err = ecKey(ES384, members["x"], members["y"])
		return key, []string{ES384}, err
	case "OKP Ed25519":
		x, err := decode(members["x"])
		return ed25519.PublicKey(x), []string{EdDSA}, err
	}
	return nil, nil, errors.New("its type or curve is not supported")
}

func rsaKey(n, e string) (*rsa.PublicKey, error) {
	modulus, err := decode(n)
	if err != nil {
		return nil, err
	}
	exponent, err := decode(e)
	if err != nil {
		return nil, err
	}
	number := new(big.Int).SetBytes(exponent)
	if number.BitLen() > 31 {
		return nil, errors.New("the RSA exponent is over 2^31-1")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(number.Int64())}, nil
}

// ecKey takes coordinates of exactly the curve's size (RFC 7518 §6.2.1.2) and
// refuses points that are not on the curve.
func ecKey(alg, x, y string) (*ecdsa.PublicKey, error) {
	curve := curveOf(alg)
	size := (curve.Params().BitSize + 7) / 8
	xb, err := decode(x)
	if err != nil {
		return nil, err
	}
	yb, err := decode(y)
	if err != nil {
		return nil, err
	}
	if len(xb) != size || len(yb) != size {
		return nil, fmt.Errorf("a coordinate is not of %d bytes", size)
	}
	return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, xb, yb))
}

// decode is as strict as the segments of a token.
func decode(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a member is missing or malformed")
	}
	return b64.DecodeString(s)
}
