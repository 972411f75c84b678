package cli

import (
	"cmp"
	"context"
	"iter"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type agentCmd struct {
	List agentListCmd `cmd:"" help:"List agents, the oldest first."`
}

type agentListCmd struct {
	Managing `embed:""`
	Listing  `embed:""`

	Name                 string `help:"The agent of this whole name, in any case."`
	Status               string `enum:",active,suspended,decommissioned" default:"" help:"active, suspended or decommissioned."`
	RegisteredByPolicyID string `placeholder:"ID" help:"Agents that this bootstrap policy let a run register."`
}

// Help is shown by agent list --help.
func (*agentListCmd) Help() string {
	return `Filters combine: all of them must hold. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp agent list --status active --registered-by-policy-id 01890000-0000-7000-8000-000000000000`
}

var agentColumns = []column[agentidp.Agent]{
	{"AGENT", func(a *agentidp.Agent) string { return a.AgentID }},
	{"NAME", func(a *agentidp.Agent) string { return a.Name }},
	{"STATUS", func(a *agentidp.Agent) string { return string(a.Status) }},
	{"CREATED", func(a *agentidp.Agent) string { return instant(a.CreatedAt) }},
	{"REGISTERED-BY", func(a *agentidp.Agent) string { return cmp.Or(a.RegisteredBy.Repository, a.RegisteredBy.Subject) }},
}

// Run lists.
func (c *agentListCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return printList(std, &c.Listing, agentColumns, allAgents(ctx, cl, agentidp.AgentFilter{
		Name: c.Name, Status: agentidp.AgentStatus(c.Status), RegisteredByPolicyID: c.RegisteredByPolicyID,
	}))
}

func allAgents(ctx context.Context, cl *client.Client, filter agentidp.AgentFilter) iter.Seq2[*agentidp.Agent, error] {
	return all(func(o client.ListOptions) (*client.Page[agentidp.Agent], error) {
		return cl.ListAgents(ctx, filter, o)
	})
}
