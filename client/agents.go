package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/sentryagent/agentidp"
)

const agentsPath = "/agents"

// RegisterAgent registers an agent. With a bootstrap token, spec may hold Name,
// Description, AgentType and Version only, and the same name from the same
// repository returns the agent that is already there, unchanged. So the call is
// repeated: with another token, for which a name that is taken is
// agentidp.CodeAgentNameTaken, at most one agent can come of it too, and that refusal
// of a repetition has ErrOutcomeUnknown beside it.
func (c *Client) RegisterAgent(ctx context.Context, spec agentidp.AgentSpec) (*agentidp.Agent, error) {
	return c.agent(ctx, &call{verb: "register the agent", method: http.MethodPost, path: agentsPath, body: spec, idempotent: true})
}

// GetAgent returns one agent, or agentidp.CodeNotFound.
func (c *Client) GetAgent(ctx context.Context, id string) (*agentidp.Agent, error) {
	return c.agentByID(ctx, id, &call{verb: "get the agent", method: http.MethodGet})
}

// ListAgents returns one page of the agents that pass the filter, in the order of
// their registration.
func (c *Client) ListAgents(ctx context.Context, filter agentidp.AgentFilter, opts ListOptions) (*Page[agentidp.Agent], error) {
	q := opts.query()
	setText(q, "status", filter.Status)
	setText(q, "name", filter.Name)
	setText(q, "registeredByPolicyId", filter.RegisteredByPolicyID)
	var out Page[agentidp.Agent]
	err := c.do(ctx, &call{verb: "list agents", method: http.MethodGet, path: agentsPath, query: q, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllAgents goes through all agents that pass the filter, in the order of
// ListAgents, and reads pages as they are needed. An error ends it.
func (c *Client) AllAgents(ctx context.Context, filter agentidp.AgentFilter) iter.Seq2[*agentidp.Agent, error] {
	return all(func(opts ListOptions) (*Page[agentidp.Agent], error) { return c.ListAgents(ctx, filter, opts) })
}

// UpdateAgent applies a JSON merge patch (RFC 7396): the members in patch change,
// nil removes, all others stay.
func (c *Client) UpdateAgent(ctx context.Context, id string, patch map[string]any) (*agentidp.Agent, error) {
	return c.agentByID(ctx, id, &call{
		verb: "update the agent", method: http.MethodPatch, body: patch, media: "application/merge-patch+json",
	})
}

// SuspendAgent stops an agent: from then on it gets no token, until it is
// reactivated.
func (c *Client) SuspendAgent(ctx context.Context, id string) (*agentidp.Agent, error) {
	return c.agentByID(ctx, id, &call{verb: "suspend the agent", method: http.MethodPost, path: "/suspend", idempotent: true})
}

// ReactivateAgent undoes SuspendAgent.
func (c *Client) ReactivateAgent(ctx context.Context, id string) (*agentidp.Agent, error) {
	return c.agentByID(ctx, id, &call{verb: "reactivate the agent", method: http.MethodPost, path: "/reactivate"})
}

// DecommissionAgent ends an agent for good. Its record stays.
func (c *Client) DecommissionAgent(ctx context.Context, id string) error {
	if err := checkID("agent", id); err != nil {
		return err
	}
	return c.do(ctx, &call{verb: "decommission the agent", method: http.MethodDelete, path: agentsPath + "/" + id})
}

// agentByID makes a call whose path continues after the agent's id.
func (c *Client) agentByID(ctx context.Context, id string, k *call) (*agentidp.Agent, error) {
	if err := checkID("agent", id); err != nil {
		return nil, err
	}
	k.path = agentsPath + "/" + id + k.path
	return c.agent(ctx, k)
}

func (c *Client) agent(ctx context.Context, k *call) (*agentidp.Agent, error) {
	var out agentidp.Agent
	k.out = &out
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	return &out, nil
}
