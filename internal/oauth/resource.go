package oauth

import (
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

// resourceMetadata describes an organization's management API as a protected resource (RFC
// 9728 §2). It signs no answers, so it has no keys of its own to name; those of the
// tokens are the authorization server's.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	Name                 string   `json:"resource_name"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	DPoPAlgs             []string `json:"dpop_signing_alg_values_supported"`
	Documentation        string   `json:"resource_documentation"`
}

func (s *server) resource(w http.ResponseWriter, r *http.Request) {
	org := registry.OrganizationFrom(r.Context())
	serveJSON(w, r, resourceMetadata{
		Resource: org.ManagementAudience(), Name: "AgentIdP management API", AuthorizationServers: []string{org.Issuer},
		ScopesSupported: agentidp.ManagementScopes, BearerMethods: []string{"header"}, DPoPAlgs: agentidp.ProofAlgorithms,
		Documentation: org.Issuer + "/api/v1/docs",
	})
}
