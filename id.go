package agentidp

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// NewID returns a UUIDv7 (RFC 9562 §5.7) in its canonical lower-case form. Ids
// made later sort later: behind the milliseconds, 12 bits hold their fraction
// (§6.2, method 3), a quarter of a microsecond each. The remaining 62 bits are
// random.
func NewID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it ends the program instead.
	return uuidv7(now, b)
}

// FirstID returns the least id that NewID can make at t: what happened from t on
// has an id that is not less.
func FirstID(t time.Time) string { return uuidv7(t, [16]byte{}) }

// uuidv7 puts time, version and variant over random. Times before 1970 have the
// ids of that moment: no id is earlier.
func uuidv7(t time.Time, b [16]byte) string {
	if t.Before(time.Unix(0, 0)) {
		t = time.Unix(0, 0)
	}
	ms := t.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)) & 0xff)
	}
	fraction := t.Nanosecond() % 1e6 * 4096 / 1e6
	b[6] = byte(fraction>>8)&0x0f | 0x70
	b[7] = byte(fraction & 0xff)
	b[8] = b[8]&0x3f | 0x80

	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// IsID reports whether s is a UUID in the one spelling that AgentIdP accepts:
// lower-case hexadecimal with hyphens. Upper case, braces and the URN form are
// other spellings of the same number, and one name for one thing is safer.
func IsID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
