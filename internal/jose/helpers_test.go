package jose_test

import (
	"crypto"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp/internal/jose"
)

// keyOf returns the test's one private key for an algorithm; RSA keys are slow to
// make.
func keyOf(t testing.TB, alg string) crypto.Signer {
	t.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	if keys[alg] == nil {
		key, err := jose.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		keys[alg] = key
	}
	return keys[alg]
}

var (
	keysMu sync.Mutex
	keys   = map[string]crypto.Signer{}
)

func signerOf(t testing.TB, alg string) *jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(alg, keyOf(t, alg))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign makes a token with any header, correctly signed with the ES256 key.
func sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(string(rawSignature(t, jose.ES256, input)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// segments returns the three parts of a token.
func segments(token string) []string { return strings.Split(token, ".") }
