package registry

import (
	"context"
	"errors"
	"strings"
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
// old, or as it was last known while storage cannot be reached. It is what routes a
// request.
func (r *Registry) Organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	now := r.Clock()
	r.orgs.mu.RLock()
	k, ok := r.orgs.bySlug[slug]
	r.orgs.mu.RUnlock()
	if age := now.Sub(k.read); ok && age >= 0 && age < organizationAge {
		return k.org, nil
	}
	org, err := r.ReadOrganization(ctx, slug)
	if e, ours := errors.AsType[*agentidp.Error](err); ok && ours && e.Kind == agentidp.Unavailable {
		return k.org, nil // keys and health are served without storage; what needs it finds out by itself
	}
	return org, err
}

// isSlug reports whether s can be the slug of an organization, so that nothing
// else is looked up.
func isSlug(s string) bool {
	return s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// ReadOrganization returns the active organization with this slug as it is in
// the database now, its issuer filled in. Error: NotFound, also for a closed one.
func (r *Registry) ReadOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	if !isSlug(slug) {
		return nil, noOrganization()
	}
	now := r.Clock()
	org, err := r.DB.Organization(ctx, slug)
	if err == nil && org.Status != agentidp.OrganizationActive {
		err = store.ErrNotFound
	}
	r.orgs.mu.Lock()
	defer r.orgs.mu.Unlock()
	if errors.Is(err, store.ErrNotFound) {
		delete(r.orgs.bySlug, slug)
		return nil, noOrganization()
	}
	if err != nil {
		return nil, public(err, "organization")
	}
	org.Issuer = agentidp.IssuerURL(r.PublicURL, org.Slug)
	r.orgs.bySlug[slug] = known{org, now}
	return org, nil
}

func noOrganization() error {
	return agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "There is no such organization on this server.")
}
