package jose

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// JWS is a parsed compact JWS. Until Verify has returned nil, nothing in it is
// proven.
type JWS struct {
	Header  Header
	Payload []byte

	signingInput []byte
	signature    []byte
}

// b64 refuses padding, the alphabet of plain base64 and trailing bits that are
// not zero, but skips CR and LF even so; segment refuses those.
var b64 = base64.RawURLEncoding.Strict()

var (
	errDots    = errors.New("not three segments separated by dots")
	errEmpty   = errors.New("a segment is empty")
	errNewline = errors.New("a line break within the token")
)

// Parse reads a compact JWS. Only the canonical spelling is accepted: three
// non-empty segments of base64url without padding, white space or stray bits (RFC
// 7515 §7.1, §2), and a header as parseHeader describes it. The payload may be any
// bytes. Parse bounds neither the size of the token nor that of its parts: its
// caller does, and the work is linear in the size.
func Parse(compact string) (*JWS, error) {
	j, header, err := split(compact)
	if err != nil {
		return nil, err
	}
	if j.Header, err = parseHeader(header); err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	return j, nil
}

// split decodes the segments of a compact JWS.
func split(compact string) (j *JWS, header []byte, err error) {
	// Counting comes before splitting and decoding: a token of a million dots
	// must not cost a million segments.
	if strings.Count(compact, ".") != 2 {
		return nil, nil, errDots
	}
	if strings.IndexByte(compact, '\n') >= 0 || strings.IndexByte(compact, '\r') >= 0 {
		return nil, nil, errNewline
	}
	first, last := strings.IndexByte(compact, '.'), strings.LastIndexByte(compact, '.')
	// One buffer holds the token, for hashing, and behind it what is decoded.
	buf := make([]byte, 0, len(compact)+b64.DecodedLen(len(compact)))
	buf = append(buf, compact...)
	segment := func(name string, from, to int) ([]byte, error) {
		if from == to {
			return nil, errEmpty
		}
		start := len(buf)
		var err error
		if buf, err = b64.AppendDecode(buf, buf[from:to]); err != nil {
			return nil, fmt.Errorf("decode the %s: %w", name, err)
		}
		return buf[start:len(buf):len(buf)], nil
	}
	if header, err = segment("header", 0, first); err != nil {
		return nil, nil, err
	}
	payload, err := segment("payload", first+1, last)
	if err != nil {
		return nil, nil, err
	}
	signature, err := segment("signature", last+1, len(compact))
	if err != nil {
		return nil, nil, err
	}
	return &JWS{Payload: payload, signingInput: buf[:last:last], signature: signature}, header, nil
}

// SigningInputSum returns SHA-256 of the signing input: the header and payload
// segments. Unlike the whole token, they have one spelling, so the sum identifies
// the token; an ECDSA signature has a second valid one.
func (j *JWS) SigningInputSum() [32]byte { return sha256.Sum256(j.signingInput) }
