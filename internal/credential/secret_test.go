package credential

import (
	"math"
	"strings"
	"testing"
)

const credentialID = "019a0000-0000-7000-8000-00000000000a"

func TestASecretNamesItsCredentialAndIsKnownByItsHash(t *testing.T) {
	secret, hash := NewSecret(credentialID)
	if id, ok := ID(secret); !ok || id != credentialID {
		t.Errorf("it is of %q, %v", id, ok)
	}
	if !ValidSecret(secret) {
		t.Error("it is not valid")
	}
	if hash != Hash(secret) || len(hash) != 43 || strings.Contains(secret, hash) {
		t.Errorf("its hash is %q", hash)
	}
	if again, other := NewSecret(credentialID); again == secret || other == hash {
		t.Error("two secrets of one credential are the same")
	}
}

// The form is what scanners look for, so it may never change.
func TestTheFormOfASecret(t *testing.T) {
	secret, _ := NewSecret(credentialID)
	body := secret[:len(secret)-checksumLen]
	if !strings.HasPrefix(body, "agentidp_cs_019a000000007000800000000000000a_") || len(secret) != 94 {
		t.Errorf("%d characters, which begin with %.45s", len(secret), secret)
	}
	// Of nothing secret; the checksum was computed by another program.
	const made = "agentidp_cs_019a000000007000800000000000000a_" + "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
	if got := checksum(made); got != "1h3evD" {
		t.Errorf("the checksum is %s", got)
	}
	if bits := randomLen * math.Log2(float64(len(base62))); bits < 256 {
		t.Errorf("%.1f random bits", bits)
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	secret, _ := NewSecret(credentialID)
	end := len(secret) - checksumLen
	reseal := func(body string) string { return body + checksum(body) }
	flipped := byte('a')
	if secret[60] == 'a' {
		flipped = 'b'
	}
	for name, s := range map[string]string{
		"nothing":                       "",
		"the prefix alone":              prefix,
		"one character short":           secret[:len(secret)-1],
		"one character more":            secret + "0",
		"a character changed":           secret[:60] + string(flipped) + secret[61:],
		"white space around it":         " " + secret[:len(secret)-1],
		"another prefix":                reseal("agentidp_ct_" + secret[len(prefix):end]),
		"an id in upper case":           reseal(strings.Replace(secret[:end], "0a_", "0A_", 1)),
		"no underscore behind the id":   reseal(strings.Replace(secret[:end], "0a_", "0aa", 1)),
		"a character that is not in it": reseal(secret[:60] + "-" + secret[61:end]),
		"half a letter beyond ASCII":    reseal(secret[:60] + "\xc3" + secret[61:end]),
	} {
		if ValidSecret(s) {
			t.Errorf("%s passes", name)
		}
	}
}

// A byte that was taken modulo 62 would favour the first characters.
func TestEveryCharacterIsAsLikely(t *testing.T) {
	counts := map[rune]int{}
	const n = 62 * 2000
	for _, r := range random(n) {
		counts[r]++
	}
	var chi float64
	for _, r := range base62 {
		d := float64(counts[r] - 2000)
		chi += d * d / 2000
	}
	// 61 degrees of freedom: 61 ± 11. Modulo 62 would give some 800.
	if chi > 61+11*12 || len(counts) != 62 {
		t.Errorf("chi² is %.0f over %d characters", chi, len(counts))
	}
}
