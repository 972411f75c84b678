package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"strings"

	"github.com/sentryagent/agentidp"
)

// The parts of a secret:
//
//	agentidp_cs_ <id> _ <random> <checksum>
//
// The prefix is for whoever finds one where it should not be (scanners of
// repositories and logs); the id, a UUID without its hyphens, finds the credential
// without a search; 43 random base62 characters hold 256 bits; and the checksum, the
// CRC-32 of all before it, tells a typing error or a look-alike without a database.
const (
	prefix      = "agentidp_cs_"
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	idLen       = 32
	randomLen   = 43
	checksumLen = 6
	secretLen   = len(prefix) + idLen + 1 + randomLen + checksumLen
)

// NewSecret makes the secret of a credential, and the hash by which it is known later.
// The secret is shown once and never stored.
func NewSecret(credentialID string) (secret, hash string) {
	body := prefix + strings.ReplaceAll(credentialID, "-", "") + "_" + random(randomLen)
	secret = body + checksum(body)
	return secret, Hash(secret)
}

// Hash is what is stored of a secret: SHA-256, base64url. A secret has 256 random
// bits, so there is nothing to guess that a slow hash would slow down.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ValidSecret reports whether s has the form and the checksum of a secret. It proves
// nothing: anybody can compute a checksum.
func ValidSecret(s string) bool {
	_, ok := ID(s)
	return ok
}

// ID returns the id of the credential that a secret is of, if s is a ValidSecret.
func ID(s string) (id string, ok bool) {
	if len(s) != secretLen || !strings.HasPrefix(s, prefix) {
		return "", false
	}
	hex, rest := s[len(prefix):len(prefix)+idLen], s[len(prefix)+idLen:]
	id = hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]
	foreign := func(r rune) bool { return !strings.ContainsRune(base62, r) }
	if !agentidp.IsID(id) || rest[0] != '_' || strings.ContainsFunc(rest[1:], foreign) {
		return "", false
	}
	body := s[:secretLen-checksumLen]
	return id, s[len(body):] == checksum(body)
}

// random returns n base62 characters, each as likely as the others: a byte beyond the
// last multiple of 62 is thrown away.
func random(n int) string {
	const fair = 256 / len(base62) * len(base62)
	out := make([]byte, 0, n)
	for some := make([]byte, n); len(out) < n; {
		_, _ = rand.Read(some) // never fails: it ends the program instead
		for _, b := range some {
			if int(b) < fair && len(out) < n {
				out = append(out, base62[int(b)%len(base62)])
			}
		}
	}
	return string(out)
}

// checksum is the CRC-32 (IEEE) of s in base62, with leading zeros.
func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var out [checksumLen]byte
	for i := range out {
		out[checksumLen-1-i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}
	return string(out[:])
}
