package registry

import (
	"context"
	"errors"
	"strconv"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// CreateProvider registers an issuer. Where its keys are, and nothing else, may be
// asked of it; if it does not answer as it should, nothing is saved. Exchanges of its
// tokens are looked at from then on, and granted once a policy names it. Errors:
// Invalid, Denied (insufficient_scope), Conflict (provider_exists), TooMany,
// Unavailable (issuer_unreachable where discovery failed).
func (r *Registry) CreateProvider(ctx context.Context, org *agentidp.Organization, c *Caller, spec agentidp.ProviderSpec) (*agentidp.RegisteredProvider, error) {
	if bad := r.CheckProvider(org, spec); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	if r.builtIn(spec.Name) != nil || r.configured(spec.Issuer) {
		return nil, providerExists()
	}
	p := r.newProvider(spec)
	if err := mayVouch(c, r.newProvider(agentidp.ProviderSpec{Kind: spec.Kind, Issuer: spec.Issuer}), p); err != nil {
		return nil, err
	}
	if err := r.locateKeys(ctx, p); err != nil {
		return nil, err
	}
	now := r.Clock()
	p.ID, p.OrganizationID, p.CreatedAt, p.UpdatedAt, p.Revision = agentidp.NewID(now), org.ID, now, now, 1
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.CreateProvider(ctx, p); err != nil {
			if errors.Is(err, store.ErrExists) {
				return providerExists()
			}
			return err
		}
		return tx.Append(ctx, r.providerEvent(c, agentidp.EventProviderCreated, p, said(p)))
	})
	if err != nil {
		return nil, public(err, "provider")
	}
	return shown(p, false), nil
}

// ReplaceProvider replaces a provider whole: a field that is left out returns to its
// default. revision is what the caller last read. No exchange that begins after it
// returned is granted or refused on what the provider said before. A replacement that
// changes nothing leaves the revision as it is. Errors are those of CreateProvider,
// NotFound, Stale, and Conflict (provider_built_in).
func (r *Registry) ReplaceProvider(ctx context.Context, org *agentidp.Organization, c *Caller, name string, revision int64, spec agentidp.ProviderSpec) (*agentidp.RegisteredProvider, error) {
	old, err := r.changeable(ctx, org, name)
	if err != nil {
		return nil, err
	}
	if old.Revision != revision {
		return nil, stale("provider")
	}
	if spec.Kind == "" {
		spec.Kind = old.Kind // it cannot change, and so need not be told
	}
	if bad := r.CheckReplacement(org, old, spec); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	p := r.newProvider(spec)
	if err := r.locateKeys(ctx, p); err != nil {
		return nil, err
	}
	if err := mayVouch(c, old, p); err != nil {
		return nil, err
	}
	p.ID, p.OrganizationID, p.CreatedAt, p.UpdatedAt, p.Revision = old.ID, org.ID, old.CreatedAt, r.Clock(), revision+1
	changes := changed(old, p)
	if len(changes) == 0 {
		return shown(old, false), nil
	}
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.ReplaceProvider(ctx, p); err != nil { // of this revision: it is old that was judged
			return err
		}
		return tx.Append(ctx, r.providerEvent(c, agentidp.EventProviderReplaced, p, changes))
	})
	if err != nil {
		return nil, public(err, "provider")
	}
	return shown(p, false), nil
}

// DeleteProvider forgets an issuer, and the identities to which its repositories are
// pinned. No exchange that begins after it returned is granted on its word; tokens that
// were granted live to their end. revision 0 deletes whatever the revision is. Errors:
// NotFound, Stale, Conflict (provider_in_use while a policy names it,
// provider_built_in), Unavailable.
func (r *Registry) DeleteProvider(ctx context.Context, org *agentidp.Organization, c *Caller, name string, revision int64) error {
	if _, err := r.changeable(ctx, org, name); err != nil {
		return err
	}
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.LockProvider(ctx, org.ID, name)
		if err != nil {
			return err
		}
		if revision != 0 && p.Revision != revision {
			return store.ErrStale
		}
		used, err := tx.ProviderInUse(ctx, org.ID, name)
		if err != nil {
			return err
		}
		if used {
			return agentidp.NewError(agentidp.Conflict, agentidp.CodeProviderInUse,
				"Trust policies name this provider. Delete them first; GET /api/v1/oidc/trust-policies?provider="+name+" lists them.")
		}
		if err := tx.DeleteProvider(ctx, p); err != nil {
			return err
		}
		return tx.Append(ctx, r.providerEvent(c, agentidp.EventProviderDeleted, p, said(p)))
	})
	return public(err, "provider")
}

// Provider returns one provider, also one of the configuration.
func (r *Registry) Provider(ctx context.Context, org *agentidp.Organization, name string) (*agentidp.RegisteredProvider, error) {
	p, err := r.anyProvider(ctx, org, name)
	if err != nil {
		return nil, err
	}
	return shown(p, p.ID == ""), nil
}

// ListProviders returns a page of the providers, those of the configuration first and
// then the others in the order of their creation, as Policies does.
func (r *Registry) ListProviders(ctx context.Context, org *agentidp.Organization, page agentidp.Page) (all []agentidp.RegisteredProvider, next string, err error) {
	if err := page.Check(nil); err != nil {
		return nil, "", err
	}
	registered, err := r.DB.Providers(ctx, org.ID, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err, "provider")
	}
	if page.Cursor == "" {
		for _, p := range r.Providers {
			all = append(all, *shown(p, true))
		}
	}
	for i := range registered {
		all = append(all, *shown(&registered[i], false))
	}
	all, next = agentidp.CutPage(page, all, func(p *agentidp.RegisteredProvider) string {
		if p.BuiltIn {
			return beforeAll
		}
		return p.ID
	})
	return all, next, nil
}

// beforeAll is the cursor behind the providers of the configuration: less than any id.
const beforeAll = "00000000-0000-0000-0000-000000000000"

// anyProvider finds a provider by its name, in the configuration or registered.
func (r *Registry) anyProvider(ctx context.Context, org *agentidp.Organization, name string) (*agentidp.Provider, error) {
	if p := r.builtIn(name); p != nil {
		return p, nil
	}
	if !isSlug(name) {
		return nil, notFound("provider")
	}
	p, err := r.DB.Provider(ctx, org.ID, name)
	return p, public(err, "provider")
}

// changeable is anyProvider without those of the configuration.
func (r *Registry) changeable(ctx context.Context, org *agentidp.Organization, name string) (*agentidp.Provider, error) {
	if err := r.RefuseBuiltIn(name); err != nil {
		return nil, err
	}
	return r.anyProvider(ctx, org, name)
}

// RefuseBuiltIn returns the error for a change of a provider of the configuration, nil
// for any other name.
func (r *Registry) RefuseBuiltIn(name string) error {
	if r.builtIn(name) == nil {
		return nil
	}
	return agentidp.NewError(agentidp.Conflict, agentidp.CodeProviderBuiltIn,
		"The provider "+name+" comes from the server's configuration and is the same in every organization; it cannot be changed or deleted here. Other issuers of the same kind are registered under names of their own.")
}

// builtIn returns the provider of the configuration that has this name, or nil.
func (r *Registry) builtIn(name string) *agentidp.Provider {
	for _, p := range r.Providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// configured reports whether the issuer is that of a provider of the configuration,
// which would come first in every exchange.
func (r *Registry) configured(issuer string) bool {
	for _, p := range r.Providers {
		if p.Issuer == issuer {
			return true
		}
	}
	return false
}

func providerExists() error {
	return agentidp.NewError(agentidp.Conflict, agentidp.CodeProviderExists,
		"A provider with this name or this issuer exists already; GET /api/v1/oidc/providers lists them. One issuer is one provider.")
}

func (r *Registry) providerEvent(c *Caller, typ agentidp.EventType, p *agentidp.Provider, data map[string]string) agentidp.Event {
	data["provider"], data["kind"], data["issuer"] = p.Name, p.Kind, bounded(p.Issuer)
	data["revision"] = strconv.FormatInt(p.Revision, 10)
	return r.event(c, typ, data)
}
