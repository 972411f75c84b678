package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// EnsureDefaultOrganization creates the default organization in a new database.
func (r *Registry) EnsureDefaultOrganization(ctx context.Context) error {
	_, err := r.DB.Organization(ctx, agentidp.DefaultOrganization)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	org := newOrganization(agentidp.DefaultOrganization, "Default", r.Clock())
	err = r.DB.Write(ctx, func(tx *store.Tx) error { return tx.CreateOrganization(ctx, org) })
	if errors.Is(err, store.ErrExists) { // another node was first
		return nil
	}
	return err
}

func newOrganization(slug, name string, now time.Time) *agentidp.Organization {
	return &agentidp.Organization{
		ID: agentidp.NewID(now), Slug: slug, Name: name, Status: agentidp.OrganizationActive, Revision: 1, CreatedAt: now,
	}
}

// CreateOrganization makes an organization together with its first signing key, for
// whoever has direct access to the database and the master key. Every node serves
// it from its next request on. An empty name becomes the slug. Errors: Invalid,
// Conflict (organization_exists, also where the one that has the slug is closed),
// Unavailable.
func (r *Registry) CreateOrganization(ctx context.Context, slug, name string) (*agentidp.Organization, error) {
	if bad := validateOrganization(slug, name); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	if name == "" {
		name = slug
	}
	org := newOrganization(slug, name, r.Clock())
	key, err := r.Ring.Prepare(org.ID)
	if err != nil {
		return nil, err
	}
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.CreateOrganization(ctx, org); err != nil {
			return slugTaken(err, slug)
		}
		if err := key.Record(ctx, tx, agentidp.ActorOperator); err != nil {
			return err
		}
		return tx.Append(ctx, organizationEvent(agentidp.EventOrganizationCreated, org, org.CreatedAt))
	})
	if err != nil {
		return nil, public(err, "organization")
	}
	org.Issuer = agentidp.IssuerURL(r.PublicURL, org.Slug)
	return org, nil
}

// Organizations returns all organizations, closed ones too, the oldest first.
func (r *Registry) Organizations(ctx context.Context) ([]agentidp.Organization, error) {
	all, err := r.DB.Organizations(ctx)
	if err != nil {
		return nil, public(err, "organization")
	}
	for i := range all {
		all[i].Issuer = agentidp.IssuerURL(r.PublicURL, all[i].Slug)
	}
	return all, nil
}

// CloseOrganization ends an organization for good, and says whether it was open. When
// it returns, no exchange that begins is granted by any node, and nothing under its
// prefix answers any more. Its slug stays taken, so that nobody can ever be the same
// issuer. Errors: Invalid (the default one), NotFound, Unavailable.
func (r *Registry) CloseOrganization(ctx context.Context, slug string) (org *agentidp.Organization, closed bool, err error) {
	if slug == agentidp.DefaultOrganization {
		return nil, false, agentidp.InvalidFields(agentidp.FieldError{Field: "slug", Reason: "is the default organization, which cannot be closed; stop the server instead"})
	}
	if !isSlug(slug) {
		return nil, false, agentidp.NoOrganization()
	}
	if org, err = r.DB.Organization(ctx, slug); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = agentidp.NoOrganization()
		}
		return nil, false, public(err, "organization")
	}
	id := org.ID
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		var err error
		if org, err = tx.LockOrganization(ctx, id); err != nil {
			return err
		}
		if closed = org.Status != agentidp.OrganizationClosed; !closed {
			return nil
		}
		org.Status, org.Revision = agentidp.OrganizationClosed, org.Revision+1
		if err := tx.UpdateOrganization(ctx, org); err != nil {
			return err
		}
		return tx.Append(ctx, organizationEvent(agentidp.EventOrganizationClosed, org, r.Clock()))
	})
	if err != nil {
		return nil, false, public(err, "organization")
	}
	org.Issuer = agentidp.IssuerURL(r.PublicURL, org.Slug)
	return org, closed, nil
}

// Restored marks every organization of a database that was put back to an earlier
// state, and returns those that are open. From then on no node takes a subject token
// that was issued before at, because what was exchanged since that state is not
// remembered. Repeating it harms nothing but those issued in between. Error: Unavailable.
func (r *Registry) Restored(ctx context.Context, at time.Time) ([]agentidp.Organization, error) {
	all, err := r.Organizations(ctx)
	if err != nil {
		return nil, err
	}
	open := []agentidp.Organization{}
	for i := range all {
		err := r.DB.Write(ctx, func(tx *store.Tx) error {
			org, err := tx.RestoredOrganization(ctx, all[i].ID, at)
			if err != nil {
				return err
			}
			all[i].RestoredAt, all[i].Revision = org.RestoredAt, org.Revision
			return tx.Append(ctx, organizationEvent(agentidp.EventDatabaseRestored, org, at))
		})
		if err != nil {
			return nil, public(err, "organization")
		}
		if all[i].Status == agentidp.OrganizationActive {
			open = append(open, all[i])
		}
	}
	return open, nil
}

// validateOrganization names every bad field of a new organization.
func validateOrganization(slug, name string) []agentidp.FieldError {
	var bad []agentidp.FieldError
	if !isSlug(slug) {
		bad = append(bad, agentidp.FieldError{Field: "slug", Reason: fmt.Sprintf("must be lower-case letters, digits and inner hyphens, %d at most, such as acme or acme-labs", maxSlug)})
	} else if slug == agentidp.DefaultOrganization {
		bad = append(bad, agentidp.FieldError{Field: "slug", Reason: "is the default organization's; choose another"})
	}
	if !isText(name, maxName) || strings.ContainsAny(name, "\n\t") {
		bad = append(bad, agentidp.FieldError{Field: "name", Reason: fmt.Sprintf("must be text of at most %d characters on one line without control characters", maxName)})
	}
	return bad
}

// maxSlug is also the longest label of a host name, should slugs become one.
const maxSlug = 63

// isSlug reports whether s can be the slug of an organization, so that nothing
// else is looked up.
func isSlug(s string) bool {
	return s != "" && len(s) <= maxSlug && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func slugTaken(err error, slug string) error {
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	return agentidp.NewError(agentidp.Conflict, agentidp.CodeOrganizationExists,
		"The slug "+slug+" is taken, or was by an organization that is closed: a slug is given once, because it names an issuer. Choose another.")
}

func organizationEvent(typ agentidp.EventType, org *agentidp.Organization, at time.Time) agentidp.Event {
	return agentidp.Event{
		ID: agentidp.NewID(at), OrganizationID: org.ID, At: at, Type: typ, Actor: agentidp.ActorOperator,
		Data: map[string]string{"slug": org.Slug, "name": org.Name},
	}
}
