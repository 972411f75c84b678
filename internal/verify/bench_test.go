package verify_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

// BenchmarkVerify is the cost of a GitHub token of 2 KB whose key is known.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b, jose.RS256)
	raw := w.good(b)
	w.mustVerify(b, raw)
	b.ReportMetric(float64(len(raw)), "token-bytes")
	b.ReportAllocs()
	for b.Loop() {
		u, err := verify.Peek(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.verifier.Verify(b.Context(), w.org, w.provider, u); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPeek is what a token costs whose issuer is not registered.
func BenchmarkPeek(b *testing.B) {
	w := newWorld(b, jose.RS256)
	raw := w.good(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verify.Peek(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRSAVerify is the least that any verifier needs: hash and RSA.
func BenchmarkRSAVerify(b *testing.B) {
	w := newWorld(b, jose.RS256)
	raw := w.good(b)
	i := strings.LastIndexByte(raw, '.')
	input := []byte(raw[:i])
	private := w.key.private.(*rsa.PrivateKey)
	sum := sha256.Sum256(input)
	sig, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(input)
		if err := rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGoJose parses, verifies and decodes the same token with go-jose, and
// checks none of the rest.
func BenchmarkGoJose(b *testing.B) {
	w := newWorld(b, jose.RS256)
	raw := w.good(b)
	public := w.key.private.Public()
	b.ReportAllocs()
	for b.Loop() {
		parsed, err := gojose.ParseSignedCompact(raw, []gojose.SignatureAlgorithm{gojose.RS256})
		if err != nil {
			b.Fatal(err)
		}
		payload, err := parsed.Verify(public)
		if err != nil {
			b.Fatal(err)
		}
		var c struct {
			Issuer, Audience, Repository, Ref, Environment, Actor, JTI string
			RepositoryID                                               string `json:"repository_id"`
			RepositoryOwnerID                                          string `json:"repository_owner_id"`
			RefType                                                    string `json:"ref_type"`
			Event                                                      string `json:"event_name"`
			Exp, Iat, Nbf                                              int64
		}
		if err := json.Unmarshal(payload, &c); err != nil {
			b.Fatal(err)
		}
	}
}
