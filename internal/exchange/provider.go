package exchange

import (
	"context"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// provider finds the provider that an organization trusts for an issuer, and says
// whether it is as it is now. The configuration's providers come first, never change
// and cannot be shadowed.
func (x *Exchanger) provider(ctx context.Context, org *agentidp.Organization, issuer string, afresh bool) (*agentidp.Provider, bool, error) {
	for _, p := range x.Providers {
		if p.Issuer == issuer {
			return p, true, nil
		}
	}
	p, read, err := x.cache.provider(ctx, x.DB, org.ID, issuer, afresh)
	switch {
	case err != nil:
		return nil, false, unavailable(err)
	case p == nil:
		return nil, false, verify.UnknownIssuer(issuer)
	}
	return p, read, nil
}

// compare returns store.ErrStale where a remembered provider was changed or deleted
// since, so that what it gives reason to refuse is decided again. A grant needs no such
// look: its commit has one.
func (x *Exchanger) compare(ctx context.Context, seen *agentidp.Provider, read bool) error {
	if read {
		return nil
	}
	p, _, err := x.cache.provider(ctx, x.DB, seen.OrganizationID, seen.Issuer, true)
	switch {
	case err != nil:
		return unavailable(err)
	case p == nil || p.ID != seen.ID || p.Revision != seen.Revision:
		return store.ErrStale
	}
	return nil
}
