package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type agentCmd struct {
	Create       agentCreateCmd       `cmd:"" help:"Register an agent."`
	List         agentListCmd         `cmd:"" help:"List agents, the oldest first."`
	Get          agentGetCmd          `cmd:"" help:"Show an agent."`
	Update       agentUpdateCmd       `cmd:"" help:"Change what is said of an agent."`
	Suspend      agentSuspendCmd      `cmd:"" help:"Stop an agent, until it is reactivated."`
	Reactivate   agentReactivateCmd   `cmd:"" help:"Let a suspended agent go on."`
	Decommission agentDecommissionCmd `cmd:"" help:"End an agent for good."`
}

type agentListCmd struct {
	Managing `embed:""`
	Listing  `embed:""`

	Name                 string `help:"The agent of this whole name, in any case."`
	Status               string `enum:",active,suspended,decommissioned" default:"" placeholder:"STATUS" help:"active, suspended or decommissioned."`
	RegisteredByPolicyID string `type:"uuid" placeholder:"ID" help:"Agents that this bootstrap policy let a run register."`
}

// Help is shown by agent list --help.
func (*agentListCmd) Help() string {
	return `Filters combine: all of them must hold. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp agent list --status active \
    --registered-by-policy-id 01890000-0000-7000-8000-000000000000`
}

var agentColumns = []column[agentidp.Agent]{
	{"AGENT", func(a *agentidp.Agent) string { return a.AgentID }},
	{"NAME", func(a *agentidp.Agent) string { return a.Name }},
	{"STATUS", func(a *agentidp.Agent) string { return string(a.Status) }},
	{"CREATED", func(a *agentidp.Agent) string { return instant(a.CreatedAt) }},
	{"REGISTERED-BY", func(a *agentidp.Agent) string {
		return cmp.Or(a.RegisteredBy.Repository, a.RegisteredBy.WorkloadSubject, a.RegisteredBy.Subject)
	}},
}

// Run lists.
func (c *agentListCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return printList(std, &c.Listing, agentColumns, cl.AllAgents(ctx, agentidp.AgentFilter{
		Name: c.Name, Status: agentidp.AgentStatus(c.Status), RegisteredByPolicyID: c.RegisteredByPolicyID,
	}))
}

type agentSuspendCmd struct {
	Managing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of the agent."`
}

// Help is shown by agent suspend --help.
func (*agentSuspendCmd) Help() string {
	return `When the command has returned, the agent gets no token, and the server itself refuses
those that it has; a service that verifies tokens on its own accepts them until they
expire. Its policies stay. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp agent suspend 01890000-0000-7000-8000-000000000000`
}

// Run suspends.
func (c *agentSuspendCmd) Run(ctx context.Context, std *IO) error {
	return changeAgent(std, &c.Managing, func(cl *client.Client) (*agentidp.Agent, error) { return cl.SuspendAgent(ctx, c.ID) })
}

type agentReactivateCmd struct {
	Managing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of the agent."`
}

// Help is shown by agent reactivate --help.
func (*agentReactivateCmd) Help() string {
	return `Undoes agent suspend: the agent's policies grant again, and tokens of it that have
neither expired nor been revoked are good again. AGENTIDP_TOKEN holds the access
token.

Example:
  agentidp agent reactivate 01890000-0000-7000-8000-000000000000`
}

// Run reactivates.
func (c *agentReactivateCmd) Run(ctx context.Context, std *IO) error {
	return changeAgent(std, &c.Managing, func(cl *client.Client) (*agentidp.Agent, error) { return cl.ReactivateAgent(ctx, c.ID) })
}

type agentDecommissionCmd struct {
	Managing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of the agent."`
}

// Help is shown by agent decommission --help.
func (*agentDecommissionCmd) Help() string {
	return `It is final, and nothing is asked before: the agent never gets a token again, and
nothing brings it back. Its record stays, and its name stays taken. To stop an agent
for the time being, suspend it. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp agent decommission 01890000-0000-7000-8000-000000000000`
}

// Run decommissions.
func (c *agentDecommissionCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := cl.DecommissionAgent(ctx, c.ID); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s is decommissioned, for good\n", c.ID)
	return nil
}

func changeAgent(std *IO, m *Managing, change func(*client.Client) (*agentidp.Agent, error)) error {
	cl, err := m.client()
	if err != nil {
		return err
	}
	a, err := change(cl)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.Out, printable(a.AgentID+" is "+string(a.Status)))
	return nil
}
