package cli

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/app"
)

type orgCmd struct {
	Create orgCreateCmd `cmd:"" help:"Make an organization: an issuer, keys, policies and agents of its own."`
	List   orgListCmd   `cmd:"" help:"List the organizations."`
	Close  orgCloseCmd  `cmd:"" help:"End an organization for good."`
}

type orgCreateCmd struct {
	Issuing `embed:""`

	Slug string `arg:"" help:"Its name in URLs: lower-case letters, digits and inner hyphens, 63 at most. It can never be changed or given again."`
	Name string `help:"Its name for people (default: the slug)."`
}

// Help is shown by org create --help.
func (*orgCreateCmd) Help() string {
	return `The issuer goes to standard output, what to do next to standard error. A running
server serves the organization at its next request.

Example:
  agentidp org create acme --name "Acme Robotics"`
}

// Run creates.
func (c *orgCreateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	return c.run(ctx, std, k, func(a *app.App) error {
		org, err := a.CreateOrganization(ctx, c.Slug, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.Err, "The organization %s was made, with a signing key of its own. Its first admin token:\n  agentidp admin token --org %s\n", org.Slug, org.Slug)
		fmt.Fprintln(std.Out, org.Issuer)
		return nil
	})
}

type orgListCmd struct {
	Issuing `embed:""`
	Listing `embed:""`
}

// Help is shown by org list --help.
func (*orgListCmd) Help() string {
	return `Closed organizations are listed too: their slugs stay taken.

Example:
  agentidp org list -o json`
}

var orgColumns = []column[agentidp.Organization]{
	{"SLUG", func(o *agentidp.Organization) string { return o.Slug }},
	{"STATUS", func(o *agentidp.Organization) string { return string(o.Status) }},
	{"ISSUER", func(o *agentidp.Organization) string { return o.Issuer }},
	{"CREATED", func(o *agentidp.Organization) string { return instant(o.CreatedAt) }},
	{"NAME", func(o *agentidp.Organization) string { return o.Name }},
}

// Run lists.
func (c *orgListCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	return c.run(ctx, std, k, func(a *app.App) error {
		orgs, err := a.Organizations(ctx)
		if err != nil {
			return err
		}
		return printList(std, &c.Listing, orgColumns, every(orgs))
	})
}

type orgCloseCmd struct {
	Issuing `embed:""`

	Slug string `arg:"" help:"Slug of the organization."`
	Yes  bool   `help:"Do it: there is no way back."`
}

// Help is shown by org close --help.
func (*orgCloseCmd) Help() string {
	return `When the command has returned, no server issues anything for the organization any
more, and nothing under its URL answers, its keys included. A service that verifies
tokens on its own accepts those that it has keys for until they expire. There is no
way back, and the slug stays taken.

Example:
  agentidp org close acme --yes`
}

// Run closes.
func (c *orgCloseCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	if !c.Yes {
		return usageError{fmt.Errorf("this ends the organization %q, with everything under its URL, for good; if that is meant, give --yes", c.Slug)}
	}
	return c.run(ctx, std, k, func(a *app.App) error {
		org, closed, err := a.CloseOrganization(ctx, c.Slug)
		if err != nil {
			return err
		}
		fmt.Fprintln(std.Out, closeText(org, closed))
		return nil
	})
}

func closeText(org *agentidp.Organization, closed bool) string {
	if !closed {
		return "The organization " + org.Slug + " was closed before; nothing was changed."
	}
	return "The organization " + org.Slug + " is closed: " + org.Issuer + " issues nothing any more."
}
