package agentidp

import (
	"slices"
	"strings"
)

// PrincipalKind is who can present an access token to the management API.
type PrincipalKind string

// The kinds of principal.
const (
	PrincipalAdmin     PrincipalKind = "admin"
	PrincipalAgent     PrincipalKind = "agent"
	PrincipalBootstrap PrincipalKind = "bootstrap"
)

// Principal is an authenticated caller of the management API.
type Principal struct {
	Kind           PrincipalKind
	OrganizationID string
	Subject        string
	TokenID        string
	Scopes         []string
	AgentID        string    // for PrincipalAgent
	PolicyID       string    // for PrincipalBootstrap
	CredentialID   string    // for PrincipalAgent, where the token was got with a credential
	Workload       *Workload // for tokens that came from an exchange
	RateLimit      RateLimit // of the requests with this token
}

// Has reports whether the principal holds a scope. The scope admin holds all.
func (p *Principal) Has(scope string) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, ScopeAdmin)
}

// Missing returns those of the scopes that the principal does not hold.
func (p *Principal) Missing(scopes []string) []string {
	var missing []string
	for _, s := range scopes {
		if !p.Has(s) {
			missing = append(missing, s)
		}
	}
	return missing
}

// Management scopes. They are reserved: only a principal that holds admin may
// put one into an agent's capabilities or a policy's scopes.
const (
	ScopeAgentsRead      = "agents:read"
	ScopeAgentsWrite     = "agents:write"
	ScopePoliciesRead    = "policies:read"
	ScopePoliciesWrite   = "policies:write"
	ScopeProvidersRead   = "providers:read"
	ScopeProvidersWrite  = "providers:write"
	ScopeTokensRead      = "tokens:read"
	ScopeTokensRevoke    = "tokens:revoke"
	ScopeAuditRead       = "audit:read"
	ScopeCredentialsSelf = "credentials:self"
	ScopeAdmin           = "admin"
)

// ManagementScopes are the reserved scopes.
var ManagementScopes = []string{
	ScopeAgentsRead, ScopeAgentsWrite, ScopePoliciesRead, ScopePoliciesWrite,
	ScopeProvidersRead, ScopeProvidersWrite, ScopeTokensRead, ScopeTokensRevoke,
	ScopeAuditRead, ScopeCredentialsSelf, ScopeAdmin,
}

// IsManagementScope reports whether a scope is reserved.
func IsManagementScope(scope string) bool { return slices.Contains(ManagementScopes, scope) }

// IsCapability reports whether s can be a capability of an agent or a scope of a
// policy: resource:action, or admin, which makes an administrator of an agent.
func IsCapability(s string) bool {
	resource, action, ok := strings.Cut(s, ":")
	return IsScopeToken(s) && (s == ScopeAdmin || ok && resource != "" && action != "")
}

// ParseScope splits a scope parameter (RFC 6749 §3.3). Scopes are separated by
// single spaces, each of the RFC's characters, none twice; ok is false for
// anything else. The empty string is no scope.
func ParseScope(s string) (scopes []string, ok bool) {
	if s == "" {
		return nil, true
	}
	scopes = strings.Split(s, " ")
	for _, scope := range scopes {
		if !IsScopeToken(scope) {
			return nil, false
		}
	}
	if len(scopes) > 1 { // sorted, so that a long list, which anybody can send, costs little
		sorted := slices.Sorted(slices.Values(scopes))
		if len(slices.Compact(sorted)) < len(scopes) {
			return nil, false
		}
	}
	return scopes, true
}

// IsScopeToken reports whether s is one scope of RFC 6749 §3.3, at most 128
// bytes long.
func IsScopeToken(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
