package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type keysResealCmd struct {
	config.Storage `embed:""`

	NewMasterKeyFile string `required:"" type:"path" placeholder:"FILE" help:"File with the new master key: 32 bytes in base64 (openssl rand -base64 32), readable by its owner alone."`
}

// Help is shown by keys reseal --help.
func (*keysResealCmd) Help() string {
	return `For a master key that somebody else may have seen, or that is to be changed every so
often. Stop all servers first: they have the old one in memory. Backups that were made
before open with the old key alone, so keep it as long as them.

Whoever had the old key and a copy of the database has the signing keys: then give those
up as well (agentidp keys rotate --compromised).

Example:
  (umask 077; openssl rand -base64 32 >new.key)
  agentidp keys reseal --data-dir /var/lib/agentidp --new-master-key-file new.key
  mv new.key /var/lib/agentidp/master.key`
}

// Run reseals.
func (c *keysResealCmd) Run(ctx context.Context, std *IO) error {
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	if err := app.ResealKeys(ctx, config.Config{Storage: c.Storage}, warnings(std), c.NewMasterKeyFile); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "The database opens with the key in %s alone.\n", c.NewMasterKeyFile)
	fmt.Fprintf(std.Err, "Before a server starts, put it in the place of %s.\n", masterKeyPlace(&c.Storage))
	return nil
}

type keysAbandonCmd struct {
	config.Storage `embed:""`

	Yes bool `help:"Do it: there is no way back."`
}

// Help is shown by keys abandon --help.
func (*keysAbandonCmd) Help() string {
	return `Only the signing keys are lost with the master key; policies, agents, pins and the audit
log are not sealed. Every organization gets a new signing key, and keeps its issuer URL.
Every token that was issued is refused from then on, and services that verify tokens on
their own read the new keys within five minutes.

The new master key is the one in AGENTIDP_MASTER_KEY or the master key file; with SQLite
one is made if there is none. Stop all servers first. docs/lost-master-key.md goes
through all of it.

Example:
  agentidp keys abandon --yes --data-dir /var/lib/agentidp`
}

// Run abandons.
func (c *keysAbandonCmd) Run(ctx context.Context, std *IO) error {
	if !c.Yes {
		return usageError{errors.New("this gives up every signing key, with every token that they signed, for good; if the master key is lost, give --yes")}
	}
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	if err := app.AbandonKeys(ctx, config.Config{Storage: c.Storage}, warnings(std)); err != nil {
		return err
	}
	fmt.Fprintln(std.Out, "Every signing key is given up, and every organization that is open has a new one.")
	fmt.Fprintf(std.Err, "The master key is now %s: keep a copy apart from the database.\n", masterKeyPlace(&c.Storage))
	return nil
}
