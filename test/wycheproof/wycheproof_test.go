package wycheproof_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
)

// The files of vectors. The third is older and has signatures, key sets and encryption.
const (
	signatures  = "json_web_signature_test.json"
	keySets     = "json_web_key_test.json"
	both        = "json_web_crypto_test.json"
	encryptions = "json_web_encryption_test.json"
)

// deviations are the vectors of which the verdict here is another than Wycheproof's. All
// of them are valid there and refused here: what is invalid there is refused.
var deviations = []struct {
	reason, refusal string // why, and what the refusal says
	vectors         map[string][]int
}{
	{
		"symmetric keys are never used: whoever can verify with one can sign (docs/decisions/0002)",
		"it has the private or symmetric member k",
		map[string][]int{signatures: {1, 348, 352, 357, 358, 359, 372, 373, 376, 377}, keySets: {2, 13, 14, 15}, both: {1, 48}},
	},
	{
		"RSASSA-PSS is not offered: nobody from whom tokens come signs with it",
		"its alg is not allowed",
		map[string][]int{signatures: {272, 273, 274, 275, 287, 288, 320, 321, 322, 323, 325, 326, 327, 328, 346, 350}},
	},
	{
		"P-521 is not offered either; the alg of these keys, ES521, is not even registered (RFC 7518 §3.1: ES512)",
		"its type or curve is not supported",
		map[string][]int{signatures: {347, 351}},
	},
	{
		"a JWS may have an empty payload, and a token with claims may not",
		"a segment is empty",
		map[string][]int{signatures: {259, 264, 268}},
	},
}

// verdicts count where the vectors of a file end, so that nobody takes a key that was
// never loaded for a signature that was looked at.
type verdicts struct{ accepted, badKey, badForm, badKeyID, badSignature, deviating int }

var wantVerdicts = map[string]verdicts{
	signatures: {accepted: 15, badKey: 121, badForm: 22, badKeyID: 2, badSignature: 241, deviating: 31},
	keySets:    {accepted: 1, badKey: 24, badKeyID: 1, deviating: 4},
	both:       {accepted: 2, badKey: 20, badForm: 19, badKeyID: 3, badSignature: 5, deviating: 2},
}

func TestWycheproof(t *testing.T) {
	for file, want := range wantVerdicts {
		t.Run(file, func(t *testing.T) {
			var got verdicts
			for _, v := range vectorsOf(t, file) {
				if v.encrypted {
					continue
				}
				err := got.verify(v)
				reason, refusal := deviation(v)
				switch {
				case err == nil && !v.valid:
					t.Errorf("tcId %d, %s: invalid, and accepted", v.id, v.comment)
				case (err == nil) == v.valid && reason != "":
					t.Errorf("tcId %d, %s: no deviation, and listed as one: %s", v.id, v.comment, reason)
				case err != nil && v.valid:
					got.deviating++
					if reason == "" || !strings.Contains(err.Error(), refusal) {
						t.Errorf("tcId %d, %s: valid, and refused: %v; listed as %q", v.id, v.comment, err, reason)
					}
				}
			}
			if got != want {
				t.Errorf("the verdicts are %+v, want %+v", got, want)
			}
		})
	}
}

// Nothing encrypted is read, be it valid or not: no stranger has a key decrypt, or a
// password hashed, or a text inflated (8725bis §3.13, §3.15).
func TestNothingEncryptedIsRead(t *testing.T) {
	for file, want := range map[string]int{encryptions: 139, both: 34} {
		n := 0
		for _, v := range vectorsOf(t, file) {
			if !v.encrypted {
				continue
			}
			n++
			if _, err := jose.Parse(v.token); err == nil {
				t.Errorf("%s, tcId %d, %s: read", file, v.id, v.comment)
			}
		}
		if n != want {
			t.Errorf("%s has %d encrypted vectors, want %d", file, n, want)
		}
	}
}

func deviation(v vector) (reason, refusal string) {
	for _, d := range deviations {
		if slices.Contains(d.vectors[v.file], v.id) {
			return d.reason, d.refusal
		}
	}
	return "", ""
}

// verify does with a token what internal/verify does: it reads the key set, then the
// token, looks the key up by its kid, and verifies. It counts where that ended.
func (n *verdicts) verify(v vector) error {
	keys, err := jose.ParseJWKS(v.keys, jose.Algorithms)
	if err != nil {
		n.badKey++
		return err
	}
	token, err := jose.Parse(v.token)
	if err != nil {
		n.badForm++
		return err
	}
	i := slices.IndexFunc(keys, func(k *jose.Key) bool { return k.ID == token.Header.Kid })
	if i < 0 {
		n.badKeyID++
		return errors.New("no key of the set has its kid")
	}
	if err := token.Verify(keys[i]); err != nil {
		n.badSignature++
		return err
	}
	n.accepted++
	return nil
}
