package agentidp

import (
	"strings"
	"time"
)

// DefaultOrganization is the slug of the organization whose issuer is the public
// URL itself. No other organization may take it.
const DefaultOrganization = "default"

// Organization is a tenant: an issuer URL, signing keys, providers, policies and
// agents of its own. Nothing is shared between two.
type Organization struct {
	ID        string             `json:"id"`
	Slug      string             `json:"slug"`
	Name      string             `json:"name"`
	Status    OrganizationStatus `json:"status"`
	Revision  int64              `json:"revision"`
	CreatedAt time.Time          `json:"createdAt"`

	// RestoredAt is when the database was last put back to an earlier state. Which
	// subject tokens were used before is not known since, so none of them is taken.
	RestoredAt time.Time `json:"restoredAt,omitzero"`

	// Issuer is the issuer URL, derived from the server's public URL when the
	// organization is loaded; it is not stored.
	Issuer string `json:"issuer"`
}

// OrganizationStatus is active or closed. A closed organization issues nothing.
type OrganizationStatus string

// The states of an organization.
const (
	OrganizationActive OrganizationStatus = "active"
	OrganizationClosed OrganizationStatus = "closed"
)

// IssuerURL returns the issuer of the organization with this slug under a
// public URL that has no trailing slash.
func IssuerURL(publicURL, slug string) string {
	if slug == DefaultOrganization {
		return publicURL
	}
	return publicURL + "/o/" + slug
}

// NoOrganization is the error for an organization that is not there, or closed.
func NoOrganization() *Error {
	return NewError(NotFound, CodeNotFound, "There is no such organization on this server.")
}

// ManagementAudience is the only audience that the management API accepts.
func (o *Organization) ManagementAudience() string { return o.Issuer + "/api/v1" }

// TokenEndpoint is where the organization issues tokens (RFC 6749 §3.2). RFC 7523 §3 lets
// whoever signs an assertion mean the authorization server by it.
func (o *Organization) TokenEndpoint() string { return o.Issuer + "/oauth2/token" }

// ResourceMetadataPath is where an organization describes its management API as a
// protected resource (RFC 9728).
const ResourceMetadataPath = "/.well-known/oauth-protected-resource"

// ResourceMetadataURL is where clients look for that description (RFC 9728 §3.1): the
// well-known path stands between the host and the path of the API.
func (o *Organization) ResourceMetadataURL() string {
	api := o.ManagementAudience()
	host := strings.Index(api, "://") + len("://")
	path := host + strings.IndexByte(api[host:], '/')
	return api[:path] + ResourceMetadataPath + api[path:]
}
