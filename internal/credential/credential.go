// Package credential says who an OAuth client is (RFC 6749 §2.3): an agent, which proves
// it with a secret or with an assertion that it signed (RFC 7523). It owns what a client
// secret looks like and what an assertion has to say.
//
// It does not own what a client may do (internal/grant), nor how credentials are made,
// listed and revoked (internal/registry), nor how they come over HTTP (internal/oauth).
package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
)

// The methods by which a client authenticates (RFC 7591 §2, OpenID Connect Core §9).
const (
	MethodSecretBasic   = "client_secret_basic"
	MethodSecretPost    = "client_secret_post"
	MethodPrivateKeyJWT = "private_key_jwt"
	MethodNone          = "none"
)

// Presented is what a request presents of its client. Secret and Assertion are never
// logged.
type Presented struct {
	ClientID  string // may be empty beside an assertion, which names it
	Secret    string
	Assertion string
	Method    string // MethodNone: nothing; it authenticates nobody
}

// Config is what an Authenticator works with.
type Config struct {
	DB    *store.DB
	Clock func() time.Time
	// RequestsPerMinute bounds the requests of one client, by whatever credential; 0: no
	// limit.
	RequestsPerMinute int
}

// Authenticator authenticates clients. It is safe for concurrent use.
type Authenticator struct {
	Config
	cache    *cache
	decoys   map[string]*jose.Key      // by algorithm
	requests *limit.Buckets[[2]string] // by organization and client
}

// New returns an Authenticator.
func New(cfg Config) *Authenticator {
	return &Authenticator{Config: cfg, cache: newCache(), decoys: newDecoys(), requests: newRequests(cfg.RequestsPerMinute)}
}

// Authenticate says which client it is, for whoever issues to it: what is returned may
// be as it was a while ago, so the commit has to compare the organization, the
// credential and the agent (store.Grant), and a refusal has to rest on Again. The agent
// may be one that is not active.
//
// Errors: Unauthenticated (invalid_client) in one and the same words whether there is no
// such client or it is not proven to be it; once it is, with what is wrong, which is
// never an old row's fault. TooMany, of requests that are proven to be the client's.
// Unavailable. An assertion is used up by it.
func (a *Authenticator) Authenticate(ctx context.Context, org *agentidp.Organization, p *Presented) (*agentidp.Client, error) {
	return a.authenticate(ctx, org, p)
}

// AuthenticateNow is Authenticate for whoever commits nothing that would compare: all
// of it is compared with the database, also an organization that was read a while ago,
// and an agent that is not active authenticates nobody. Beside the errors of
// Authenticate: NotFound, where the organization is closed.
func (a *Authenticator) AuthenticateNow(ctx context.Context, org *agentidp.Organization, p *Presented) (*agentidp.Client, error) {
	c, err := a.authenticate(ctx, org, p)
	if err != nil {
		return nil, err
	}
	if err := a.DB.ClientStands(ctx, org, c); errors.Is(err, store.ErrStale) {
		if c, err = a.asItIs(ctx, org, c); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, unavailable(err)
	}
	a.DB.CredentialUsed(org.ID, c.Credential.CredentialID, a.Clock())
	return c, nil
}

// asItIs reads what is not as it was seen, or says why it is no client.
func (a *Authenticator) asItIs(ctx context.Context, org *agentidp.Organization, seen *agentidp.Client) (*agentidp.Client, error) {
	_, err := a.DB.OrganizationRevision(ctx, org.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, agentidp.NoOrganization()
	}
	if err != nil {
		return nil, unavailable(err)
	}
	c, err := a.Again(ctx, org, seen)
	if err != nil {
		return nil, err
	}
	if c.Agent.Status != agentidp.AgentActive {
		return nil, invalid(fmt.Sprintf("The agent is %s; only an active one can use its credentials.", c.Agent.Status))
	}
	return c, nil
}

// Again returns an authenticated client as it is in the database now. Errors:
// Unauthenticated, where its credential has ended; Unavailable.
func (a *Authenticator) Again(ctx context.Context, org *agentidp.Organization, c *agentidp.Client) (*agentidp.Client, error) {
	cred, _, err := a.cache.credential(ctx, a.DB, org.ID, c.Credential.CredentialID, true)
	if err != nil {
		return nil, unavailable(err)
	}
	if cred == nil || cred.AgentID != c.Agent.AgentID {
		return nil, unproven(errNoCredential)
	}
	if err := ended(cred, a.Clock()); err != nil {
		return nil, err
	}
	now, err := a.client(ctx, org, cred, c.Method, true)
	if err != nil {
		return nil, err
	}
	now.RateLimit = c.RateLimit
	return now, nil
}

func (a *Authenticator) authenticate(ctx context.Context, org *agentidp.Organization, p *Presented) (*agentidp.Client, error) {
	var c *agentidp.Credential
	var err error
	switch p.Method {
	case MethodSecretBasic, MethodSecretPost:
		c, err = a.bySecret(ctx, org, p)
	case MethodPrivateKeyJWT:
		c, err = a.byAssertion(ctx, org, p)
	default:
		err = invalid("The client did not authenticate. Send client_id and client_secret, by Authorization: Basic or in the form, or a client_assertion with its client_assertion_type.").
			WithCause(errors.New("the request presents no client"))
	}
	if err != nil {
		return nil, err
	}
	used, err := a.count(org.ID, c.AgentID)
	if err != nil {
		return nil, err
	}
	client, err := a.client(ctx, org, c, p.Method, false)
	if err != nil {
		return nil, err
	}
	client.RateLimit = used
	return client, nil
}

// client adds the agent, which was there when the credential was made and is never
// deleted.
func (a *Authenticator) client(ctx context.Context, org *agentidp.Organization, c *agentidp.Credential, method string, afresh bool) (*agentidp.Client, error) {
	agent, err := a.cache.agent(ctx, a.DB, org.ID, c.AgentID, afresh)
	if err != nil {
		return nil, unavailable(err)
	}
	return &agentidp.Client{Agent: agent, Credential: c, Method: method}, nil
}

// ended says that a credential is no longer one, or nil.
func ended(c *agentidp.Credential, now time.Time) error {
	switch {
	case c.Live(now):
		return nil
	case c.RevokedAt != nil:
		return invalid("The credential was revoked at " + c.RevokedAt.UTC().Format(time.RFC3339) + ". Ask whoever manages the agent for another.")
	}
	return invalid("The credential expired at " + c.ExpiresAt.UTC().Format(time.RFC3339) + ". Ask whoever manages the agent for another.")
}

// invalid is for a client that is proven to be who it says, or says nothing.
func invalid(why string) *agentidp.Error {
	return agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidClient, why)
}

// unproven is the one answer to everybody else, whatever the cause, which is for the log.
func unproven(cause error) error {
	return invalid("The client is not authenticated: there is no such client, or what was presented is none of its credentials. " +
		"Send client_id and client_secret as they were shown, or an assertion that a key of the client signed (kid, if there is one, names it as it was registered).").WithCause(cause)
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "The client cannot be authenticated now. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
