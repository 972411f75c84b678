package verify_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp/internal/jose"
)

// mutate changes a token somewhere, as a thing that is spelled and as one of three parts.
func mutate(t *rapid.T, token, other string) string {
	const alphabet = "ABCabcXYZxyz0189-_+/=.%{}\" \r\n\t\x00\xff"
	at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0: // another character
		return token[:at] + string(alphabet[rapid.IntRange(0, len(alphabet)-1).Draw(t, "c")]) + token[at+1:]
	case 1: // one more
		return token[:at] + string(alphabet[rapid.IntRange(0, len(alphabet)-1).Draw(t, "c")]) + token[at:]
	case 2: // one less
		return token[:at] + token[at+1:]
	case 3: // a bit of one
		return token[:at] + string([]byte{token[at] ^ 1<<rapid.IntRange(0, 7).Draw(t, "bit")}) + token[at+1:]
	case 4: // the end is missing, or comes twice
		return token[:at] + strings.Repeat(token[at:], rapid.IntRange(0, 2).Draw(t, "times"))
	case 5: // a piece of it moved
		to := rapid.IntRange(at, len(token)-1).Draw(t, "to")
		return token[to:] + token[at:to] + token[:at]
	case 6: // two parts exchanged
		parts := strings.Split(token, ".")
		i, j := rapid.IntRange(0, 2).Draw(t, "i"), rapid.IntRange(0, 2).Draw(t, "j")
		parts[i], parts[j] = parts[j], parts[i]
		return strings.Join(parts, ".")
	default: // a part of another token of the same key
		parts := strings.Split(token, ".")
		i := rapid.IntRange(0, 2).Draw(t, "i")
		parts[i] = strings.Split(other, ".")[i]
		return strings.Join(parts, ".")
	}
}

// a token that was changed on its way is refused, or says what it said: whatever is
// changed, and however often.
func TestAChangedTokenSaysTheSameOrNothing(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{jose.ES256, jose.RS256, jose.EdDSA} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alg)
			token := w.good(t)
			other := w.key.token(t, claims(t, map[string]any{"repository": "mallory/deploy", "jti": "other"}))
			want, theirs := plain(w.mustVerify(t, token)), plain(w.mustVerify(t, other))
			refused := 0
			rapid.Check(t, func(r *rapid.T) {
				changed := token
				for range rapid.IntRange(1, 3).Draw(r, "changes") {
					if changed != "" {
						changed = mutate(r, changed, other)
					}
					if strings.Count(changed, ".") != 2 {
						break // what has other parts is no token to change on
					}
				}
				w.Advance(1) // an issuer is asked for a new key only now and then, and the answer is the same
				c, err := w.verify(t, changed)
				if err != nil {
					refused++
					return
				}
				said := want
				if changed == other { // all three parts of it
					said = theirs
				}
				if got := plain(c); !reflect.DeepEqual(got, said) {
					r.Fatalf("it says %+v, and said %+v", got, said)
				}
			})
			if refused < 50 {
				t.Errorf("only %d were refused: nothing is changed", refused)
			}
		})
	}
}
