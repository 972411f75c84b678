package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type backupCmd struct {
	config.Storage `embed:""`

	File  string `arg:"" type:"path" help:"File to write, with the mode 0600."`
	Force bool   `help:"Replace the file if it is there."`
}

// Help is shown by backup --help.
func (*backupCmd) Help() string {
	return `The server may run, and goes on meanwhile: what it answered before the command began
is in the copy. The copy is checked before it gets its name. The master key is not in it
and not needed for it; without that key the copy cannot be restored, so keep both, and
apart from each other. Policies and the audit log can be read in it without any key.
PostgreSQL has tools of its own for all this.

Example:
  agentidp backup --data-dir /var/lib/agentidp /backup/agentidp.db`
}

// Run backs up.
func (c *backupCmd) Run(ctx context.Context, std *IO) error {
	made, err := app.Backup(ctx, config.Config{Storage: c.Storage}, warnings(std), c.File, c.Force)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s holds schema version %d; organizations: %d, policies: %d, agents: %d, decisions: %d", c.File,
		made.SchemaVersion, made.Organizations, made.Policies, made.Agents, made.Decisions)
	if !made.LatestRecord.IsZero() {
		fmt.Fprintf(std.Out, "; latest record: %s", instant(made.LatestRecord))
	}
	fmt.Fprintf(std.Out, " (%d bytes, checked).\n", made.Size)
	fmt.Fprintf(std.Err, "The master key is not in it: keep a copy of %s, apart from this file. Without it nobody can use the signing keys in it, you neither; all else in it can be read.\n", masterKeyPlace(&c.Storage))
	return nil
}

func masterKeyPlace(s *config.Storage) string {
	if os.Getenv("AGENTIDP_MASTER_KEY") != "" {
		return "the key in AGENTIDP_MASTER_KEY"
	}
	return s.MasterKeyFile
}

// warnings is the logger of commands whose output is not a log.
func warnings(std *IO) *slog.Logger {
	return slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type restoreCmd struct {
	Beside `embed:""`

	File  string `arg:"" optional:"" type:"path" help:"File that agentidp backup made."`
	Force bool   `help:"Replace the database that is there; it is kept under another name."`
	Mark  bool   `help:"Restore nothing: the database was put back by other means (pg_restore, a snapshot), and is only to be marked."`
}

// Help is shown by restore --help.
func (*restoreCmd) Help() string {
	return `No server may run on the data directory, and the master key must be at hand, as for
serve. Everything is checked before anything is replaced.

A backup does not know what happened after it. So of a restored database
- subject tokens that were issued before the restore are refused: which of them were
  exchanged is not known. For a minute after it the answer is "try again";
- clients' assertions (private_key_jwt) that may have been used before it are refused,
  likewise;
- all access tokens have ended: which of them were revoked is not known;
- policies, agents, their credentials and signing keys are as they were: repeat what you
  took away since. A secret that was deleted or rotated since is good again; give up
  again each key that you gave up (agentidp keys rotate --compromised).

With PostgreSQL, or after a snapshot of the disk was put back, do the same with --mark
before a server starts. An empty database of PostgreSQL takes a file, too: so an
installation moves there from SQLite, with its keys.

Examples:
  agentidp restore --data-dir /var/lib/agentidp /backup/agentidp-2026-11-21.db
  agentidp restore --mark --database-url postgres://owner@db.example.com/agentidp`
}

// Run restores.
func (c *restoreCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	switch {
	case c.Mark && (c.File != "" || c.Force):
		return usageError{errors.New("--mark restores nothing: leave out the file and --force")}
	case !c.Mark && c.File == "":
		return usageError{errors.New("name the file to restore, or give --mark for a database that was put back by other means")}
	case c.Mark:
		return c.run(ctx, std, k, func(a *app.App) error {
			out, err := a.MarkRestored(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintln(std.Out, "The database is marked as restored.")
			return c.tell(std, out)
		})
	}
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	out, err := app.Restore(ctx, config.Config{Storage: c.Storage}, warnings(std), c.File, c.Force)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s is restored from %s; organizations: %d, policies: %d, agents: %d, decisions: %d.\n", out.Database, c.File,
		out.Contents.Organizations, out.Policies, out.Agents, out.Decisions)
	if out.Kept != "" {
		fmt.Fprintf(std.Out, "The database that was there is kept as %s.\n", out.Kept)
	}
	return c.tell(std, out)
}

// tell says what was done to every restored database, and what is left to people.
func (c *restoreCmd) tell(std *IO, out *app.Restored) error {
	fmt.Fprintf(std.Out, "Subject tokens issued before %s are refused.\n", instant(out.At))
	for i := range out.Organizations {
		org := &out.Organizations[i]
		fmt.Fprintf(std.Out, "%s: access tokens ended: %d\n", org.Slug, org.Ended)
		for _, key := range org.Keys {
			fmt.Fprintf(std.Out, "%s: key %s is %s again\n", org.Slug, key.ID, key.Status)
		}
	}
	since := "the backup"
	if out.Contents != nil && !out.LatestRecord.IsZero() {
		since = instant(out.LatestRecord)
	}
	fmt.Fprintf(std.Err, "What was changed after %s is forgotten: delete again the policies and credentials, rotate again the secrets and stop again the agents that you took away since, and give up "+
		"again each key that you gave up: agentidp keys rotate --org ORG --compromised=KID\n", since)
	return nil
}
