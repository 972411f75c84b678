package oauth

import (
	"maps"
	"net/http"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/registry"
)

// metadata is an organization's description of its authorization server (RFC 8414 §2).
// What it names is there, and what is there it names. There is no authorization
// endpoint, so the list of response types is empty, which RFC 8414 wants to be said.
type metadata struct {
	Issuer             string   `json:"issuer"`
	JWKSURI            string   `json:"jwks_uri"`
	ScopesSupported    []string `json:"scopes_supported"`
	ResponseTypes      []string `json:"response_types_supported"`
	GrantTypes         []string `json:"grant_types_supported"`
	TokenEndpoint      string   `json:"token_endpoint"`
	TokenMethods       []string `json:"token_endpoint_auth_methods_supported"`
	TokenAlgs          []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Introspection      string   `json:"introspection_endpoint"`
	IntrospectMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectAlgs     []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	Revocation         string   `json:"revocation_endpoint"`
	RevokeMethods      []string `json:"revocation_endpoint_auth_methods_supported"`
	RevokeAlgs         []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	DPoPAlgs           []string `json:"dpop_signing_alg_values_supported"`
	ProtectedResources []string `json:"protected_resources"`
	Documentation      string   `json:"service_documentation"`
	ExchangeEndpoint   string   `json:"agentidp_exchange_endpoint"`
}

// discovery is the same in the form of OpenID Connect Discovery (§3), for libraries
// that look there. They read the algorithm of access tokens where that of ID tokens
// stands; there are none of those. docs/standards.md says what else it is not.
type discovery struct {
	metadata
	SubjectTypes       []string `json:"subject_types_supported"`
	IDTokenSigningAlgs []string `json:"id_token_signing_alg_values_supported"`
}

const documentationPath = "/api/v1/docs"

// clientMethods are how clients authenticate, at every endpoint (RFC 6749 §2.3, RFC
// 7523 §2.2); none is for who presents what is proof enough: a CI token, or the token
// that is asked about.
var clientMethods = []string{credential.MethodSecretBasic, credential.MethodSecretPost, credential.MethodPrivateKeyJWT, credential.MethodNone}

// introspectionMethods has the types of access token too, as RFC 8414 §2 wants of this
// endpoint, and of this alone.
var introspectionMethods = append(clientMethods[:len(clientMethods):len(clientMethods)], agentidp.SchemeBearer, agentidp.SchemeDPoP)

func (s *server) describe(org *agentidp.Organization) metadata {
	at := func(path string) string { return org.Issuer + path }
	return metadata{
		Issuer: org.Issuer, JWKSURI: at(keysPath), ScopesSupported: agentidp.ManagementScopes, ResponseTypes: []string{},
		GrantTypes:    slices.Sorted(maps.Keys(grants)),
		TokenEndpoint: org.TokenEndpoint(), TokenMethods: clientMethods, TokenAlgs: credential.Algorithms,
		Introspection: at(IntrospectionPath), IntrospectMethods: introspectionMethods, IntrospectAlgs: credential.Algorithms,
		Revocation: at(revocationPath), RevokeMethods: clientMethods, RevokeAlgs: credential.Algorithms,
		DPoPAlgs: agentidp.ProofAlgorithms, ProtectedResources: []string{org.ManagementAudience()},
		Documentation: at(documentationPath), ExchangeEndpoint: at("/api/v1/oidc/token"),
	}
}

func (s *server) metadata(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, s.describe(registry.OrganizationFrom(r.Context())))
}

func (s *server) discovery(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, discovery{s.describe(registry.OrganizationFrom(r.Context())), []string{"public"}, []string{s.SigningAlg}})
}
