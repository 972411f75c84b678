package cli

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/app"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List an organization's signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Give an organization's signing key a successor, or give up a compromised one."`
	Reseal keysResealCmd `cmd:"" help:"Give the database another master key, while no server runs."`

	Abandon keysAbandonCmd `cmd:"" help:"The master key is lost: give up all signing keys and begin anew with another."`
}

type keysListCmd struct {
	Beside  `embed:""`
	Listing `embed:""`

	Org string `default:"default" help:"Slug of the organization."`
}

// Help is shown by keys list --help.
func (*keysListCmd) Help() string {
	return `pending, signing and verifying keys stand in the key set; retired and compromised
ones have left it.

Example:
  agentidp keys list --org acme`
}

var keyColumns = []column[agentidp.SigningKey]{
	{"KID", func(k *agentidp.SigningKey) string { return k.ID }},
	{"ALG", func(k *agentidp.SigningKey) string { return k.Algorithm }},
	{"STATUS", func(k *agentidp.SigningKey) string { return string(k.Status) }},
	{"CREATED", func(k *agentidp.SigningKey) string { return instant(k.CreatedAt) }},
	{"NEXT", nextOf},
}

// Run lists.
func (c *keysListCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	return c.run(ctx, std, k, func(a *app.App) error {
		keys, err := a.SigningKeys(ctx, c.Org)
		if err != nil {
			return err
		}
		return printList(std, &c.Listing, keyColumns, every(keys))
	})
}

// nextOf says what the clock will change about a key, or when it was given up.
func nextOf(k *agentidp.SigningKey) string {
	switch {
	case k.Status == agentidp.SigningKeyCompromised:
		return "given up " + instant(k.CompromisedAt)
	case k.Status == agentidp.SigningKeyPending:
		return "signs from " + instant(k.SignsFrom)
	case k.Status == agentidp.SigningKeySigning && !k.SignsUntil.IsZero():
		return "signs until " + instant(k.SignsUntil)
	case k.Status == agentidp.SigningKeySigning && !k.RotatesAt.IsZero():
		return "gets a successor " + instant(k.RotatesAt)
	case k.Status == agentidp.SigningKeyVerifying && !k.LeavesAt.IsZero():
		return "leaves the key set " + instant(k.LeavesAt)
	}
	return ""
}

type keysRotateCmd struct {
	Beside `embed:""`

	Org         string `default:"default" help:"Slug of the organization."`
	Compromised string `placeholder:"KID" help:"Give up this key at once, with every token that it signed."`
}

// Help is shown by keys rotate --help.
func (*keysRotateCmd) Help() string {
	return `The new key is published at once and signs ten minutes later, when every service
that keeps the key set as long as it may has read it. The old one stays in the key
set as long as a token lives that it signed. Nothing has to be restarted, and no
token is refused in between.

With --compromised nothing waits: the key leaves the key set, the server refuses what
it signed, and another signs. A service that keeps the key set may accept the old key
and refuse the new one for up to five minutes.

Example:
  agentidp keys rotate
  agentidp keys rotate --org acme --compromised=$KID`
}

// Run rotates.
func (c *keysRotateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	return c.run(ctx, std, k, func(a *app.App) error {
		rotation, err := a.RotateKeys(ctx, c.Org, c.Compromised)
		if err != nil {
			return err
		}
		switch {
		case !rotation.Changed && c.Compromised != "":
			fmt.Fprintf(std.Out, "%s was given up before; nothing was changed.\n", c.Compromised)
		case !rotation.Changed:
			fmt.Fprintln(std.Out, "A rotation is under way already; nothing was changed.")
		case c.Compromised != "":
			fmt.Fprintf(std.Out, "%s is given up: no server accepts what it signed.\n", c.Compromised)
		}
		fmt.Fprintf(std.Out, "%s signs", rotation.Signing.ID)
		if rotation.Next != nil {
			fmt.Fprintf(std.Out, " until %s, then %s", instant(rotation.Next.SignsFrom), rotation.Next.ID)
		}
		fmt.Fprintln(std.Out, ".")
		return nil
	})
}
