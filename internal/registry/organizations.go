package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// organizationAge is how long a known organization is used without reading it
// again. An exchange does not depend on it: its commit compares the revision.
const organizationAge = time.Second

// organizations remembers those that exist, so it cannot outgrow the database.
type organizations struct {
	mu     sync.RWMutex
	bySlug map[string]known
}

type known struct {
	org  *agentidp.Organization
	read time.Time
}

// EnsureDefaultOrganization creates the default organization in a new database.
func (r *Registry) EnsureDefaultOrganization(ctx context.Context) error {
	_, err := r.DB.Organization(ctx, agentidp.DefaultOrganization)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	now := r.Clock()
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		return tx.CreateOrganization(ctx, &agentidp.Organization{
			ID: agentidp.NewID(now), Slug: agentidp.DefaultOrganization, Name: "Default",
			Status: agentidp.OrganizationActive, Revision: 1, CreatedAt: now,
		})
	})
	if errors.Is(err, store.ErrExists) { // another node was first
		return nil
	}
	return err
}

// Organization returns the active organization with this slug, at most a second
// old. It is what routes a request.
func (r *Registry) Organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	now := r.Clock()
	r.orgs.mu.RLock()
	k, ok := r.orgs.bySlug[slug]
	r.orgs.mu.RUnlock()
	if age := now.Sub(k.read); ok && age >= 0 && age < organizationAge {
		return k.org, nil
	}
	return r.ReadOrganization(ctx, slug)
}

// ReadOrganization returns the active organization with this slug as it is in
// the database now, its issuer filled in. Error: NotFound, also for a closed one.
func (r *Registry) ReadOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	now := r.Clock()
	org, err := r.DB.Organization(ctx, slug)
	if err == nil && org.Status != agentidp.OrganizationActive {
		err = store.ErrNotFound
	}
	r.orgs.mu.Lock()
	defer r.orgs.mu.Unlock()
	if err != nil {
		delete(r.orgs.bySlug, slug)
		if errors.Is(err, store.ErrNotFound) {
			return nil, agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "There is no such organization on this server.")
		}
		return nil, public(err, "organization")
	}
	org.Issuer = agentidp.IssuerURL(r.PublicURL, org.Slug)
	r.orgs.bySlug[slug] = known{org, now}
	return org, nil
}
