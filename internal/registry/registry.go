// Package registry holds the stories of what an administrator keeps:
// organizations, providers, agents and trust policies. Each story is one function that
// checks the caller's authority, validates, and commits the change together with
// its audit event. It also answers what a change of a policy would be (LintPolicy) and
// would have done (Backtest), and writes nothing for it.
//
// It does not own who the caller is (internal/token), what a policy means
// (internal/policy), SQL (internal/store) or HTTP (internal/api).
package registry

import (
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Config is what a Registry works with.
type Config struct {
	DB        *store.DB
	Ring      *keys.Ring
	Kinds     map[string]*agentidp.ProviderKind
	Providers []*agentidp.Provider // of the configuration; every organization has them
	PublicURL string
	Clock     func() time.Time
	// KeepClaims is how long claims are kept with the decisions of policies: those that
	// the kind lists, and those of RecordClaims, by the provider's name.
	KeepClaims   time.Duration
	RecordClaims map[string][]string
	// ReplayTime is for how long a back-test replays exchanges; 0: five seconds.
	ReplayTime time.Duration
	// Verifier asks issuers for keys. Programs beside the server have none, and
	// register no providers.
	Verifier *verify.Verifier
}

// Registry tells the stories. It is safe for concurrent use.
type Registry struct {
	Config
	orgs organizations
}

// New returns a Registry.
func New(cfg Config) *Registry {
	return &Registry{Config: cfg, orgs: organizations{bySlug: map[string]known{}}}
}

// Caller is who asks for a change, and in which request.
type Caller struct {
	*agentidp.Principal
	RequestID string
}

// kind returns what is known about the provider that a policy names, or nil when
// the organization has none of that name.
func (r *Registry) kind(ctx context.Context, orgID, provider string) (*agentidp.ProviderKind, error) {
	if p := r.builtIn(provider); p != nil {
		return r.Kinds[p.Kind], nil
	}
	p, err := r.DB.Provider(ctx, orgID, provider)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unavailable(err)
	}
	return r.Kinds[p.Kind], nil
}

func (r *Registry) event(c *Caller, typ agentidp.EventType, data map[string]string) agentidp.Event {
	now := r.Clock()
	return agentidp.Event{
		ID: agentidp.NewID(now), OrganizationID: c.OrganizationID, At: now, Type: typ,
		Actor: c.Subject, RequestID: c.RequestID, Data: data,
	}
}

func stale(noun string) error {
	return agentidp.NewError(agentidp.Stale, agentidp.CodePreconditionFailed,
		"This "+noun+" was changed since it was read. Read it again, look at what changed, and repeat with its ETag in If-Match.")
}

func notFound(noun string) error {
	return agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "There is no such "+noun+" in this organization.")
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"Storage cannot be reached now. Try again; if this was a change, look first whether it was made.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}

// public turns what a transaction returned into what the caller sees: errors of
// the story pass, errors of storage become "not found" or "unavailable".
func public(err error, noun string) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*agentidp.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound(noun)
	case errors.Is(err, store.ErrStale):
		return stale(noun)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return unavailable(err)
}
