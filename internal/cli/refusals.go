package cli

import (
	"context"
	"fmt"

	"github.com/sentryagent/agentidp"
)

type decisionRefusalsCmd struct {
	Managing `embed:""`

	Output string `short:"o" enum:"table,json" default:"table" help:"table, or json, in one line."`
}

// Help is shown by decision refusals --help.
func (*decisionRefusalsCmd) Help() string {
	return `A subject token that proves nothing leaves no decision, because anybody can send it.
The server that answers has counted them since its start, by reason and provider, and
keeps the latest of a sample, each with the request_id that its sender was answered.
Another server counts for itself. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp decision refusals`
}

var refusalCountColumns = []column[agentidp.RefusalCount]{
	{"REASON", func(c *agentidp.RefusalCount) string { return c.Reason }},
	{"PROVIDER", func(c *agentidp.RefusalCount) string { return c.Provider }},
	{"COUNT", func(c *agentidp.RefusalCount) string { return fmt.Sprint(c.Count) }},
}

var refusalColumns = []column[agentidp.Refusal]{
	{"AT", func(r *agentidp.Refusal) string { return instant(r.At) }},
	{"REQUEST", func(r *agentidp.Refusal) string { return r.RequestID }},
	{"REASON", func(r *agentidp.Refusal) string { return r.Reason }},
	{"PROVIDER", func(r *agentidp.Refusal) string { return r.Provider }},
	{"DETAIL", func(r *agentidp.Refusal) string { return r.Detail }},
}

// Run shows.
func (c *decisionRefusalsCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	refusals, err := cl.ListRefusals(ctx)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(std.Out, refusals)
	}
	fmt.Fprintf(std.Out, "Counted since %s, when the server was started:\n", instant(refusals.Since))
	if err := printList(std, &Listing{Output: "table"}, refusalCountColumns, every(refusals.Counts)); err != nil {
		return err
	}
	fmt.Fprintln(std.Out, "\nThe latest of a sample:")
	return printList(std, &Listing{Output: "table"}, refusalColumns, every(refusals.Latest))
}
