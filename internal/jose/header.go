package jose

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Header is what is read of a protected header. Its strings are as the token
// spells them; an absent member is empty.
type Header struct {
	Alg, Kid, Typ string
}

// headerDepth bounds the nesting of members that are ignored.
const headerDepth = 8

// maxHeader bounds a header, in bytes, and maxOther the parameters that are not read: those of
// CI tokens have some 150, and one. A token that proves nothing must cost less than one that
// does, and each name is compared with many.
const (
	maxHeader = 4 << 10
	maxOther  = 32
)

// maxKeyID bounds a key id, which appears in logs and is looked up in maps.
const maxKeyID = 256

// refusedNames are header parameters that would change how the token is read or
// where its key comes from: extensions (crit, b64: RFC 7797), keys that the sender
// chooses (jku, jwk, x5u, x5c), nesting (cty), and everything of encryption.
var refusedNames = []string{
	"crit", "b64", "jku", "jwk", "x5u", "x5c", "cty",
	"zip", "enc", "p2c", "p2s", "epk", "apu", "apv", "iv", "tag",
}

// readNames are the header parameters that are read.
var readNames = []string{"alg", "kid", "typ"}

var (
	errKeyID  = errors.New("kid is not 1 to 256 printable ASCII characters")
	errAlg    = errors.New("alg is missing or empty")
	errHeader = errors.New("the header is longer than 4096 bytes")
	errOther  = errors.New("there are more than 32 unknown header parameters")
	errFolded = errors.New("a name differs from a known one in case only")
)

// parseHeader reads a protected header. Names are compared exactly; one that
// equals a known name only under Unicode case folding ("ALG", "kid" with KELVIN
// SIGN) is refused, because another reader may take it for that name. Other unknown
// names, such as x5t, are ignored (RFC 7515 §4). One longer than maxHeader, or with
// more of them than maxOther, is refused.
func parseHeader(data []byte) (Header, error) {
	if len(data) > maxHeader {
		return Header{}, errHeader
	}
	return readHeader(data, refuseName)
}

// readHeader is parseHeader, but for what becomes of the names that it does not read.
func readHeader(data []byte, other func(name string, value []byte) error) (Header, error) {
	var h Header
	others := 0
	err := strictjson.Members(data, headerDepth, func(name string, value []byte) (err error) {
		switch name {
		case "alg":
			h.Alg, err = strictjson.String(value)
		case "typ":
			h.Typ, err = strictjson.String(value)
		case "kid":
			if h.Kid, err = strictjson.String(value); err == nil && !isKeyID(h.Kid) {
				err = errKeyID
			}
		default:
			if others++; others > maxOther {
				return errOther
			}
			return other(name, value)
		}
		return err
	})
	if err == nil && h.Alg == "" {
		err = errAlg
	}
	return h, err
}

func refuseName(name string, _ []byte) error {
	if slices.Contains(refusedNames, name) {
		return fmt.Errorf("the header parameter %s is not allowed", name)
	}
	folded := func(known string) bool { return strings.EqualFold(known, name) }
	if slices.ContainsFunc(readNames, folded) || slices.ContainsFunc(refusedNames, folded) {
		return errFolded
	}
	return nil
}

// isKeyID reports whether s can be a key id: a look-up key that is safe to log.
func isKeyID(s string) bool {
	if s == "" || len(s) > maxKeyID {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
