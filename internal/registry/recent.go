package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// organizationAge is how old an organization may be that an exchange begins with.
const organizationAge = time.Second

// organizationPatience is how long storage may take to say what an organization is
// now.
const organizationPatience = time.Second

// organizations remembers those that exist, so it cannot outgrow the database.
type organizations struct {
	mu     sync.RWMutex
	bySlug map[string]known
}

type known struct {
	org  *agentidp.Organization
	read time.Time
}

func (o *organizations) get(slug string) (known, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	k, ok := o.bySlug[slug]
	return k, ok
}

// forget has organizations read again before anything begins with them; it drops those
// that are closed. What is known of the others stays, for KnownOrganization.
func (o *organizations) forget(which func(id string) bool, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for slug, k := range o.bySlug {
		switch {
		case !which(k.org.ID):
		case closed:
			delete(o.bySlug, slug)
		default:
			o.bySlug[slug] = known{org: k.org}
		}
	}
}

// Forget has an organization read again that an event has changed, and drops one that it
// closed, with its keys. Nothing depends on it: it spares exchanges a second round.
func (r *Registry) Forget(e *agentidp.Event) {
	its := func(id string) bool { return id == e.OrganizationID }
	switch e.Type {
	case agentidp.EventOrganizationClosed:
		r.orgs.forget(its, true)
		r.Ring.Forget(e.OrganizationID)
	case agentidp.EventSigningKeyCreated, agentidp.EventSigningKeyCompromised, agentidp.EventDatabaseRestored:
		r.orgs.forget(its, false)
	}
}

// ForgetAll has all organizations read again, where nobody knows what has changed.
func (r *Registry) ForgetAll() {
	r.orgs.forget(func(string) bool { return true }, false)
}

// KnownOrganization returns the active organization with this slug as it is now, or
// as it was last known while storage cannot be reached or hangs. It is for documents
// that anybody may read, such as the key set, and for nothing that authorizes or
// changes: an organization may have been closed since, or a key given up. Errors are
// those of ReadOrganization.
func (r *Registry) KnownOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	patient, cancel := context.WithTimeout(ctx, organizationPatience)
	defer cancel()
	org, err := r.ReadOrganization(patient, slug)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = unavailable(err)
	}
	if e, ours := errors.AsType[*agentidp.Error](err); ours && e.Kind == agentidp.Unavailable {
		if k, ok := r.orgs.get(slug); ok {
			return k.org, nil
		}
	}
	return org, err
}

// RecentOrganization is ReadOrganization as it was at most a second ago. It is for what
// compares the organization's revision with the database itself: exchanges and other
// grants in their commit, and before they deny; introspection with the token's record.
// So nothing is decided on an old one.
func (r *Registry) RecentOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	k, ok := r.orgs.get(slug)
	if age := r.Clock().Sub(k.read); ok && age >= 0 && age < organizationAge {
		return k.org, nil
	}
	return r.ReadOrganization(ctx, slug)
}

// ReadOrganization returns the active organization with this slug as it is in
// the database now, its issuer filled in. Errors: NotFound, also for a closed one,
// and Unavailable.
func (r *Registry) ReadOrganization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	if !isSlug(slug) {
		return nil, agentidp.NoOrganization()
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
		return nil, agentidp.NoOrganization()
	}
	if err != nil {
		return nil, public(err, "organization")
	}
	org.Issuer = agentidp.IssuerURL(r.PublicURL, org.Slug)
	r.orgs.bySlug[slug] = known{org, now}
	return org, nil
}
