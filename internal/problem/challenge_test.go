package problem_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// RFC 9449 §7.2: both schemes where a credential is wanted, and what was wrong with the
// one that was used alone. S-070.
func TestChallenges(t *testing.T) {
	t.Parallel()
	const bearer, dpop = `Bearer`, `DPoP algs="ES256 ES384 RS256 EdDSA Ed25519"`
	for _, test := range []struct {
		name string
		err  agentidp.Error
		want []string
	}{
		{"nothing was presented", agentidp.Error{Kind: agentidp.Unauthenticated, Code: agentidp.CodeAuthenticationRequired}, []string{bearer, dpop}},
		{"a bearer token that is not good", agentidp.Error{Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidToken},
			[]string{`Bearer error="invalid_token"`, dpop}},
		{"a bound token that is not good", agentidp.Error{Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidToken, Scheme: agentidp.SchemeDPoP},
			[]string{`DPoP error="invalid_token", algs="ES256 ES384 RS256 EdDSA Ed25519"`, bearer}},
		{"a proof that is not good", agentidp.Error{Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidDPoPProof, Scheme: agentidp.SchemeDPoP},
			[]string{`DPoP error="invalid_dpop_proof", algs="ES256 ES384 RS256 EdDSA Ed25519"`, bearer}},
		{"a bound token without the right", agentidp.Error{Kind: agentidp.Denied, Code: agentidp.CodeInsufficientScope, Scope: "admin", Scheme: agentidp.SchemeDPoP},
			[]string{`DPoP error="insufficient_scope", scope="admin", algs="ES256 ES384 RS256 EdDSA Ed25519"`}},
		{"a proof with a request for a token, which is a bad request", agentidp.Error{Kind: agentidp.Invalid, Code: agentidp.CodeInvalidDPoPProof}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			problem.SetHeaders(h, &test.err)
			if got := h.Values("WWW-Authenticate"); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
