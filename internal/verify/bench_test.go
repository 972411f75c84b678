package verify_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

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

// BenchmarkDearTokens is what tokens cost that are made to be dear, and the share of that
// in what a good one costs, measured in turns.
func BenchmarkDearTokens(b *testing.B) {
	w := newWorld(b, jose.RS256)
	good := w.good(b)
	w.mustVerify(b, good)
	b64 := base64.RawURLEncoding.EncodeToString
	headed := func(member string) string {
		return w.key.sign(b, strings.TrimSuffix(w.key.header(), "}")+","+member+"}", marshal(b, claims(b, nil)))
	}
	nested := func(n int) string { return `"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) }
	names := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"%d":0`, i))
		}
		return strings.Join(all, ",")
	}
	for _, bad := range []struct{ name, token string }{
		{"A-040 a header nested 3000 deep", headed(nested(3000))},
		{"A-040 a header of 10 KiB", headed(`"x":"` + strings.Repeat("x", 7<<10) + `"`)},
		{"A-040 a header of as many members as it may have", headed(names(500))},
		{"A-045 a JWE of 2^31 rounds", b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"c2FsdA"}`)) + strings.Repeat(".eHh4eHh4eHh4eHh4eHh4eA", 4)},
		{"A-045 its first three segments", b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"c2FsdA"}`)) + strings.Repeat(".eHh4eHh4eHh4eHh4eHh4eA", 2)},
		{"A-050 as many dots as fit", strings.Repeat(".", 16<<10)},
		{"A-019 another signature", good[:strings.LastIndexByte(good, '.')+1] + b64(make([]byte, 256))},
	} {
		b.Run(bad.name, func(b *testing.B) {
			var spent time.Duration
			b.ReportAllocs()
			for b.Loop() {
				_, _ = w.verify(b, bad.token)
				b.StopTimer()
				began := time.Now()
				w.mustVerify(b, good)
				spent += time.Since(began)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(spent), "of-a-good-one")
		})
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
