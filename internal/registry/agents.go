package registry

import (
	"context"
	"errors"
	"reflect"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// CreateAgent registers an agent on behalf of an administrator or of an agent
// that may write agents. Errors: Invalid, Denied (insufficient_scope), Conflict
// (agent_name_taken), Unavailable.
func (r *Registry) CreateAgent(ctx context.Context, org *agentidp.Organization, c *Caller, spec agentidp.AgentSpec) (*agentidp.Agent, error) {
	normalizeAgent(&spec)
	if bad := validateAgent(&spec); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	if err := mayGrant(c, "capabilities", spec.Capabilities); err != nil {
		return nil, err
	}
	if err := mayReach(org, c, spec.Audiences); err != nil {
		return nil, err
	}
	if err := mayName(c, spec.MayDelegateTo); err != nil {
		return nil, err
	}
	a := r.newAgent(org, spec, agentidp.RegisteredBy{Subject: c.Subject})
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		if err := checkDelegates(ctx, tx, &agentidp.Agent{OrganizationID: org.ID}, spec.MayDelegateTo); err != nil {
			return err
		}
		if err := tx.CreateAgent(ctx, a); err != nil {
			return nameTaken(err)
		}
		return tx.Append(ctx, withData(r.agentEvent(c, agentidp.EventAgentRegistered, a), agentReach(&agentidp.AgentSpec{}, &a.AgentSpec)))
	})
	if err != nil {
		return nil, public(err, "agent")
	}
	return a, nil
}

func (r *Registry) newAgent(org *agentidp.Organization, spec agentidp.AgentSpec, by agentidp.RegisteredBy) *agentidp.Agent {
	now := r.Clock()
	return &agentidp.Agent{
		AgentID: agentidp.NewID(now), OrganizationID: org.ID, AgentSpec: spec, Status: agentidp.AgentActive,
		RegisteredBy: by, CreatedAt: now, UpdatedAt: now, Revision: 1,
	}
}

// Agent returns one agent.
func (r *Registry) Agent(ctx context.Context, org *agentidp.Organization, id string) (*agentidp.Agent, error) {
	if !agentidp.IsID(id) {
		return nil, notFound("agent")
	}
	a, err := r.DB.Agent(ctx, org.ID, id)
	return a, public(err, "agent")
}

// Agents returns a page of the agents that pass the filter, in the order of their
// registration, as Policies does.
func (r *Registry) Agents(ctx context.Context, org *agentidp.Organization, filter agentidp.AgentFilter, page agentidp.Page) (agents []agentidp.Agent, next string, err error) {
	if err := page.Check(CheckAgentFilter(filter)); err != nil {
		return nil, "", err
	}
	agents, err = r.DB.Agents(ctx, org.ID, &filter, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err, "agent")
	}
	agents, next = agentidp.CutPage(page, agents, func(a *agentidp.Agent) string { return a.AgentID })
	return agents, next, nil
}

// UpdateAgent applies a JSON merge patch (RFC 7396), already known to be strict
// JSON, to what can change about an agent. revision 0 skips the comparison. A
// patch that changes nothing leaves the revision as it is.
func (r *Registry) UpdateAgent(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64, patch []byte) (*agentidp.Agent, error) {
	return r.changeAgent(ctx, org, c, id, revision, agentidp.EventAgentUpdated, func(tx *store.Tx, a *agentidp.Agent) error {
		if a.Status == agentidp.AgentDecommissioned {
			return decommissioned("It cannot be changed any more.")
		}
		spec, err := mergeAgent(a.AgentSpec, patch)
		if err != nil {
			return err
		}
		if err := mayGrant(c, "capabilities", added(a.Capabilities, spec.Capabilities)); err != nil {
			return err
		}
		if err := mayOpen(org, c, &a.AgentSpec, &spec); err != nil {
			return err
		}
		if err := checkDelegates(ctx, tx, a, spec.MayDelegateTo); err != nil {
			return err
		}
		a.AgentSpec = spec
		return nil
	})
}

// SuspendAgent stops an agent: no exchange that begins afterwards gets a token
// for it, and its tokens stop working on the management API.
func (r *Registry) SuspendAgent(ctx context.Context, org *agentidp.Organization, c *Caller, id string) (*agentidp.Agent, error) {
	return r.changeAgent(ctx, org, c, id, 0, agentidp.EventAgentSuspended, setStatus(agentidp.AgentSuspended))
}

// ReactivateAgent lets a suspended agent work again. It gives authority back, so
// the caller must hold what the agent may do.
func (r *Registry) ReactivateAgent(ctx context.Context, org *agentidp.Organization, c *Caller, id string) (*agentidp.Agent, error) {
	return r.changeAgent(ctx, org, c, id, 0, agentidp.EventAgentReactivated, func(tx *store.Tx, a *agentidp.Agent) error {
		if err := mayGrant(c, "capabilities", a.Capabilities); err != nil {
			return err
		}
		return setStatus(agentidp.AgentActive)(tx, a)
	})
}

// DecommissionAgent ends an agent for good. Its name stays taken, so that no
// later agent can be mistaken for it. Its credentials end with it.
func (r *Registry) DecommissionAgent(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64) error {
	_, err := r.changeAgent(ctx, org, c, id, revision, agentidp.EventAgentDecommissioned, func(tx *store.Tx, a *agentidp.Agent) error {
		a.Status = agentidp.AgentDecommissioned
		return r.endCredentials(ctx, tx, org, c, id)
	})
	return err
}

func setStatus(status agentidp.AgentStatus) func(*store.Tx, *agentidp.Agent) error {
	return func(_ *store.Tx, a *agentidp.Agent) error {
		if a.Status == agentidp.AgentDecommissioned {
			return decommissioned("That is final.")
		}
		a.Status = status
		return nil
	}
}

// changeAgent is the frame of every change: lock, compare, change, and commit
// with its event. A change that changes nothing writes nothing.
func (r *Registry) changeAgent(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64, typ agentidp.EventType, change func(*store.Tx, *agentidp.Agent) error) (*agentidp.Agent, error) {
	if !agentidp.IsID(id) {
		return nil, notFound("agent")
	}
	var a *agentidp.Agent
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		var err error
		if a, err = tx.LockAgent(ctx, org.ID, id); err != nil {
			return err
		}
		if revision != 0 && a.Revision != revision {
			return store.ErrStale
		}
		before := *a
		if err := change(tx, a); err != nil {
			return err
		}
		if reflect.DeepEqual(before, *a) {
			return nil
		}
		a.Revision, a.UpdatedAt = a.Revision+1, r.Clock()
		if err := tx.UpdateAgent(ctx, a); err != nil {
			return err
		}
		return tx.Append(ctx, withData(r.agentEvent(c, typ, a), agentChanges(&before.AgentSpec, &a.AgentSpec)))
	})
	if err != nil {
		return nil, public(err, "agent")
	}
	return a, nil
}

func nameTaken(err error) error {
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	return agentidp.NewError(agentidp.Conflict, agentidp.CodeAgentNameTaken, "An agent of this name exists already; names are unique regardless of case. Choose another.")
}

func decommissioned(consequence string) error {
	return agentidp.NewError(agentidp.Conflict, agentidp.CodeAgentDecommissioned, "This agent is decommissioned. "+consequence)
}

func (r *Registry) agentEvent(c *Caller, typ agentidp.EventType, a *agentidp.Agent) agentidp.Event {
	e := r.event(c, typ, map[string]string{"name": a.Name, "status": string(a.Status)})
	e.AgentID = a.AgentID
	if c.PolicyID != "" {
		e.PolicyID = c.PolicyID
		if c.Workload.Subject != "" {
			e.Data["subject"] = c.Workload.Subject
		} else {
			e.Data[agentidp.DataRepository] = c.Workload.Repository
		}
	}
	return e
}
