package registry

import (
	"context"

	"github.com/sentryagent/agentidp"
)

type organizationKey struct{}

// WithOrganization attaches to a request the organization under whose prefix it
// came.
func WithOrganization(ctx context.Context, org *agentidp.Organization) context.Context {
	return context.WithValue(ctx, organizationKey{}, org)
}

// OrganizationFrom returns the organization of a request. The server attaches
// one before any handler runs, except to /healthz, which is of no organization.
func OrganizationFrom(ctx context.Context) *agentidp.Organization {
	org, _ := ctx.Value(organizationKey{}).(*agentidp.Organization)
	return org
}
