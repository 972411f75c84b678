package registry

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/store"
)

// Limits of the credentials of an agent.
const (
	maxLiveCredentials = 20
	// maxEndedCredentials are remembered, the newest. Whoever looks after its own may make
	// and end them without end, and each is read whenever one authenticates by a key.
	maxEndedCredentials = 100
	maxGrace            = 30 * 24 * time.Hour
)

// CreateCredential gives an agent one more way to authenticate. A secret is in the
// answer and nowhere else. Errors: NotFound, Invalid, Denied (insufficient_scope),
// Conflict (agent_decommissioned, credential_limit_reached), Unavailable.
func (r *Registry) CreateCredential(ctx context.Context, org *agentidp.Organization, c *Caller, agentID string, spec agentidp.CredentialSpec) (*agentidp.CreatedCredential, error) {
	if !agentidp.IsID(agentID) {
		return nil, notFound("agent")
	}
	if bad := r.CheckCredential(spec); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	created := r.newCredential(org, c, agentID, spec)
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		a, err := r.lockClient(ctx, tx, org, c, agentID)
		if err != nil {
			return err
		}
		if created.Scopes, err = boundNew(c, a, spec.Scopes); err != nil {
			return err
		}
		if err := checkBeside(ctx, tx, &created.Credential); err != nil {
			return err
		}
		if err := r.addCredential(ctx, tx, &created.Credential); err != nil {
			return err
		}
		return tx.Append(ctx, r.credentialEvent(c, agentidp.EventCredentialCreated, &created.Credential))
	})
	if err != nil {
		return nil, public(err, "agent")
	}
	return created, nil
}

// newCredential makes a credential of a spec that was checked.
func (r *Registry) newCredential(org *agentidp.Organization, c *Caller, agentID string, spec agentidp.CredentialSpec) *agentidp.CreatedCredential {
	now := r.Clock()
	if spec.ExpiresAt != nil {
		spec.ExpiresAt = new(spec.ExpiresAt.UTC().Truncate(time.Microsecond)) // as it is stored
	}
	spec.JWKS = publicKeys(spec.JWKS)
	created := &agentidp.CreatedCredential{Credential: agentidp.Credential{
		CredentialID: agentidp.NewID(now), OrganizationID: org.ID, AgentID: agentID, ClientID: agentID, CredentialSpec: spec,
		CreatedBy: c.Subject, CreatedAt: now, Revision: 1,
	}}
	if spec.Type == agentidp.CredentialSecret {
		created.ClientSecret, created.SecretHash = credential.NewSecret(created.CredentialID)
	}
	return created
}

// lockClient keeps an agent as it is, for whoever adds to its credentials, and checks
// that the caller may. A suspended agent's can be made ready: they give nothing yet.
func (r *Registry) lockClient(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller, agentID string) (*agentidp.Agent, error) {
	a, err := tx.LockAgent(ctx, org.ID, agentID)
	if err != nil {
		return nil, err
	}
	if a.Status == agentidp.AgentDecommissioned {
		return nil, decommissioned("A credential of it could never get anything.")
	}
	return a, mayActAs(c, a)
}

// mayActAs checks that a caller may have or hand out what authenticates as an agent:
// whoever has it can do all that the agent can. An agent gives itself nothing that it
// has not, as long as the token it presents carries all of it: then management scopes
// need no admin.
func mayActAs(c *Caller, a *agentidp.Agent) error {
	if c.AgentID != a.AgentID || !c.Has(agentidp.ScopeCredentialsSelf) {
		return mayGrant(c, "A credential of this agent", a.Capabilities)
	}
	missing := c.Missing(a.Capabilities)
	if len(missing) == 0 {
		return nil
	}
	return insufficient(strings.Join(missing, " "),
		"A credential gives whatever the agent may do, and the token presented lacks "+strings.Join(missing, ", ")+": present one with all of the agent's capabilities.")
}

// addCredential inserts a credential if there is room, once lockClient has the agent, and
// forgets what ended long before others did; the audit log names it still.
func (r *Registry) addCredential(ctx context.Context, tx *store.Tx, c *agentidp.Credential) error {
	n, err := tx.CountLiveCredentials(ctx, c.OrganizationID, c.AgentID, c.CreatedAt)
	if err != nil {
		return err
	}
	if n >= maxLiveCredentials {
		return agentidp.NewError(agentidp.Conflict, agentidp.CodeCredentialLimitReached,
			fmt.Sprintf("The agent has %d live credentials, and it may not have more. Delete those that are not used any more: their lastUsedAt tells.", n))
	}
	if err := tx.ForgetEnded(ctx, c.OrganizationID, c.AgentID, c.CreatedAt, maxEndedCredentials); err != nil {
		return err
	}
	return tx.CreateCredential(ctx, c)
}

// Credentials returns a page of the credentials of an agent, ended ones too, in the
// order of their creation, as Policies does.
func (r *Registry) Credentials(ctx context.Context, org *agentidp.Organization, agentID string, page agentidp.Page) (all []agentidp.Credential, next string, err error) {
	if err := page.Check(nil); err != nil {
		return nil, "", err
	}
	if _, err := r.Agent(ctx, org, agentID); err != nil {
		return nil, "", err
	}
	all, err = r.DB.Credentials(ctx, org.ID, agentID, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err, "agent")
	}
	all, next = agentidp.CutPage(page, all, func(c *agentidp.Credential) string { return c.CredentialID })
	return all, next, nil
}

// Credential returns one credential of an agent, ended or not: another agent's is not
// found. Errors: NotFound, Unavailable.
func (r *Registry) Credential(ctx context.Context, org *agentidp.Organization, agentID, id string) (*agentidp.Credential, error) {
	if err := credentialIDs(agentID, id); err != nil {
		return nil, err
	}
	c, err := r.DB.Credential(ctx, org.ID, id)
	if c, err = ofAgent(agentID, c, err); err != nil {
		return nil, public(err, "credential")
	}
	return c, nil
}

// RotateCredential replaces a secret by a new one, which has the same description and
// will live as long as the old one was to live. The old one ends at once, or works
// beside the new one for the time of grace. Errors: those of CreateCredential.
func (r *Registry) RotateCredential(ctx context.Context, org *agentidp.Organization, c *Caller, agentID, id string, grace time.Duration) (*agentidp.CreatedCredential, error) {
	if bad := checkGrace(grace); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	var created *agentidp.CreatedCredential
	err := r.onCredential(ctx, agentID, id, func(tx *store.Tx) error {
		a, err := r.lockClient(ctx, tx, org, c, agentID)
		if err != nil {
			return err
		}
		old, err := lockCredential(ctx, tx, org, agentID, id)
		if err != nil {
			return err
		}
		now := r.Clock()
		if err := rotatable(old, now); err != nil {
			return err
		}
		spec := agentidp.CredentialSpec{Type: old.Type, Description: old.Description, Scopes: boundAgain(c, a, old)}
		if old.ExpiresAt != nil {
			spec.ExpiresAt = new(now.Add(old.ExpiresAt.Sub(old.CreatedAt)))
		}
		created = r.newCredential(org, c, agentID, spec)
		if err := r.endCredential(ctx, tx, old, now, grace); err != nil {
			return err
		}
		if err := r.addCredential(ctx, tx, &created.Credential); err != nil {
			return err
		}
		e := r.credentialEvent(c, agentidp.EventCredentialRotated, old)
		e.Data["replacedBy"], e.Data["graceSeconds"] = created.CredentialID, strconv.Itoa(int(grace/time.Second))
		return tx.Append(ctx, e)
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// rotatable refuses what has no secret, and what is over: its agent authenticates with
// something else by now.
func rotatable(old *agentidp.Credential, now time.Time) error {
	refuse := func(reason string) error {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "credentialId", Reason: reason})
	}
	switch {
	case old.Type != agentidp.CredentialSecret:
		return refuse("is of type " + string(old.Type) + ", of which the server has no secret to replace: create a credential with the new keys, have the agent sign with them, and delete this one")
	case !old.Live(now):
		return refuse("has ended, and cannot be replaced any more: create another")
	}
	return nil
}

// onCredential is the frame of a change of one credential.
func (r *Registry) onCredential(ctx context.Context, agentID, id string, change func(*store.Tx) error) error {
	if err := credentialIDs(agentID, id); err != nil {
		return err
	}
	return public(r.DB.Write(ctx, change), "credential")
}

// credentialIDs says of what is no id that there is nothing of that name.
func credentialIDs(agentID, id string) error {
	if !agentidp.IsID(agentID) {
		return notFound("agent")
	}
	if !agentidp.IsID(id) {
		return notFound("credential")
	}
	return nil
}

// lockCredential locks a credential of this agent: another agent's is not found.
func lockCredential(ctx context.Context, tx *store.Tx, org *agentidp.Organization, agentID, id string) (*agentidp.Credential, error) {
	old, err := tx.LockCredential(ctx, org.ID, id)
	return ofAgent(agentID, old, err)
}

// ofAgent passes on what was read of a credential if it is this agent's.
func ofAgent(agentID string, c *agentidp.Credential, err error) (*agentidp.Credential, error) {
	if err == nil && c.AgentID != agentID {
		return nil, store.ErrNotFound
	}
	return c, err
}

// credentialEvent says what was done to which credential, and never with what secret.
func (r *Registry) credentialEvent(c *Caller, typ agentidp.EventType, of *agentidp.Credential) agentidp.Event {
	e := r.event(c, typ, map[string]string{"credentialId": of.CredentialID, "type": string(of.Type)})
	if of.ExpiresAt != nil {
		e.Data["expiresAt"] = of.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if of.Scopes != nil {
		e.Data["scopes"] = strings.Join(of.Scopes, " ")
	}
	e.AgentID = of.AgentID
	return e
}
