package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type providerCmd struct {
	Create providerCreateCmd `cmd:"" help:"Register an issuer of ID tokens, such as a GitHub Enterprise Server."`
	List   providerListCmd   `cmd:"" help:"List providers, the built-in one first."`
	Get    providerGetCmd    `cmd:"" help:"Show a provider."`
	Update providerUpdateCmd `cmd:"" help:"Change a provider."`
	Test   providerTestCmd   `cmd:"" help:"Have the server look whether a provider's issuer and its keys are there, and good."`
	Delete providerDeleteCmd `cmd:"" help:"Delete providers that no trust policy names."`
}

type providerListCmd struct {
	Managing `embed:""`
	Listing  `embed:""`
}

// Help is shown by provider list --help.
func (*providerListCmd) Help() string {
	return `AGENTIDP_TOKEN holds the access token.

Example:
  agentidp provider list`
}

var providerColumns = []column[agentidp.RegisteredProvider]{
	{"NAME", func(p *agentidp.RegisteredProvider) string { return p.Name }},
	{"KIND", func(p *agentidp.RegisteredProvider) string { return p.Kind }},
	{"ISSUER", func(p *agentidp.RegisteredProvider) string { return p.Issuer }},
	{"KEYS", func(p *agentidp.RegisteredProvider) string {
		if p.JWKSURI == "" {
			return "static"
		}
		return p.JWKSURI
	}},
	{"FROM", func(p *agentidp.RegisteredProvider) string {
		if p.BuiltIn {
			return "configuration"
		}
		return instant(p.CreatedAt)
	}},
}

// Run lists.
func (c *providerListCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return printList(std, &c.Listing, providerColumns, cl.AllProviders(ctx))
}

type providerGetCmd struct {
	Managing `embed:""`
	Printing `embed:""`

	Name string `arg:"" help:"Name of the provider."`
}

// Help is shown by provider get --help.
func (*providerGetCmd) Help() string {
	return `What -o json prints, provider create -f and provider update -f take. AGENTIDP_TOKEN
holds the access token.

Example:
  agentidp provider get ghes`
}

// Run shows.
func (c *providerGetCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err := cl.GetProvider(ctx, c.Name)
	if err != nil {
		return err
	}
	return printProvider(std, &c.Printing, p)
}

func printProvider(std *IO, printing *Printing, p *agentidp.RegisteredProvider) error {
	return printOne(std, printing, p.Name, p, keySection(p.JWKS))
}

// keySection tells of keys what people know them by.
func keySection(jwks []byte) section {
	var set struct {
		Keys []struct{ Kid, Kty, Alg string }
	}
	keys := section{name: "jwks"}
	if json.Unmarshal(jwks, &set) == nil {
		for _, k := range set.Keys {
			keys.lines = append(keys.lines, printable(strings.TrimSpace(k.Kid+" "+k.Kty+" "+k.Alg)))
		}
	}
	return keys
}

type providerTestCmd struct {
	Managing `embed:""`

	Name   string `arg:"" help:"Name of the provider."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table, or json, in one line."`
}

// Help is shown by provider test --help.
func (*providerTestCmd) Help() string {
	return `The server fetches the issuer's discovery document, where one is read, and its keys,
and says what it found. Nothing is changed. The exit code is 1 where no token of the
provider can be verified. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp provider test ghes`
}

// Run tests.
func (c *providerTestCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	report, err := cl.TestProvider(ctx, c.Name)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, report)
	} else {
		err = printReport(std, report)
	}
	if err == nil && !report.Usable {
		return fmt.Errorf("no token of %s can be verified", c.Name)
	}
	return err
}

var reportColumns = []column[agentidp.ProviderKey]{
	{"KEY", func(k *agentidp.ProviderKey) string { return k.ID }},
	{"ALGORITHM", func(k *agentidp.ProviderKey) string { return k.Algorithm }},
	{"USABLE", func(k *agentidp.ProviderKey) string { return strconv.FormatBool(k.Usable) }},
	{"PROBLEM", func(k *agentidp.ProviderKey) string { return k.Problem }},
}

func printReport(std *IO, r *agentidp.ProviderReport) error {
	if d := r.Discovery; d != nil {
		fmt.Fprintf(std.Out, "discovery: %s\n", printable(d.URL))
	}
	keys := "static"
	if r.JWKSURI != "" {
		keys = r.JWKSURI
	}
	fmt.Fprintf(std.Out, "keys:      %s\n", printable(keys))
	for _, p := range r.Problems {
		fmt.Fprintf(std.Out, "problem:   %s\n", printable(p))
	}
	if len(r.Keys) == 0 {
		return nil
	}
	fmt.Fprintln(std.Out)
	return printList(std, &Listing{Output: "table"}, reportColumns, every(r.Keys))
}

type providerDeleteCmd struct {
	Managing `embed:""`

	Name []string `arg:"" help:"Names of providers."`
}

// Help is shown by provider delete --help.
func (*providerDeleteCmd) Help() string {
	return `When the command has returned, no exchange is granted on the provider's word. The
identities to which its repositories are pinned are forgotten. While a trust policy
names it, it is refused. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp provider delete ghes`
}

// Run deletes each of them, also when another could not be deleted.
func (c *providerDeleteCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range c.Name {
		err := cl.DeleteProvider(ctx, name)
		if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodeProviderInUse {
			err = hinted{err, "agentidp policy list --provider " + name + " shows them."}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintln(std.Out, printable(name)+" deleted")
	}
	return errors.Join(errs...)
}
