package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"net/url"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

// proofs asserts that a proof with each algorithm that is named binds a token, that these
// are all that there are, and that a token which is bound can ask about others (S-046).
func (m *advertised) proofs(admin string) {
	m.t.Helper()
	named := m.list("dpop_signing_alg_values_supported")
	described := m.want(m.do("GET", "/.well-known/oauth-protected-resource", "", nil), 200).Body["dpop_signing_alg_values_supported"]
	if !slices.Equal(named, agentidp.ProofAlgorithms) || !slices.Equal(anys(named), described.([]any)) {
		m.t.Errorf("the server names %v, the API %v, and there are %v", named, described, agentidp.ProofAlgorithms)
	}
	at := m.url + tokenPath
	for _, alg := range named {
		key, sign := m.prover(alg)
		header := string(mustJSON(m.t, map[string]any{"typ": "dpop+jwt", "alg": alg, "jwk": key}))
		proof := compact(header, string(mustJSON(m.t, dpoptest.Claims("POST", at, "", m.clock.Now()))), sign)
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}}
		a := m.granted2xx(form, append(m.client.proves("client_secret_basic", form), "DPoP", proof))
		if a.str("token_type") != "DPoP" {
			m.t.Errorf("%s: %s", alg, a.Raw)
		}
	}

	holder, key := m.register(admin, "holder@ci.acme.example", "tokens:read"), dpoptest.NewKey()
	m.policy(admin, map[string]any{"agentId": holder, "branch": "main", "audiences": []string{m.url + "/api/v1"}})
	body := exchangeBody(m.subject(nil), holder)
	bound := m.want(m.do("POST", exchangePath, "", body, "DPoP", key.Proof("POST", m.url+exchangePath, "", m.clock.Now())), 200).str("access_token")
	form := url.Values{"token": {admin}}
	m.active("a bound token asks", m.do("POST", introspectionPath, "", form.Encode(), "Content-Type", formType,
		"Authorization", "DPoP "+bound, "DPoP", key.Proof("POST", m.url+introspectionPath, bound, m.clock.Now())), admin)
	if !slices.Contains(m.list("introspection_endpoint_auth_methods_supported"), "DPoP") {
		m.t.Error("and nobody is told that it can")
	}
}

// prover returns a public key, as a proof has it, and how its private one signs.
func (m *advertised) prover(alg string) (claims, signer) {
	m.t.Helper()
	bare := claims{"kid": nil, "use": nil, "alg": nil}
	switch alg {
	case "ES256":
		key := newECKey(m.t, elliptic.P256())
		return jwk(key.Public(), "", bare), es256(key)
	case "ES384":
		key := newECKey(m.t, elliptic.P384())
		return jwk(key.Public(), "", bare), func(input string) []byte {
			sum := sha512.Sum384([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
			if err != nil {
				m.t.Fatal(err)
			}
			return rs(r, s, 48)
		}
	case "RS256":
		key, _ := issuerKey().(*rsa.PrivateKey)
		return jwk(key.Public(), "", bare), pkcs1(key, crypto.SHA256)
	case "EdDSA", "Ed25519":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			m.t.Fatal(err)
		}
		return claims{"kty": "OKP", "crv": "Ed25519", "x": b64([]byte(public))}, func(input string) []byte { return ed25519.Sign(key, []byte(input)) }
	}
	m.t.Fatalf("this test cannot sign with %s", alg)
	return nil, nil
}
