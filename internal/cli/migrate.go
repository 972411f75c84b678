package cli

import (
	"context"
	"fmt"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type migrateCmd struct {
	config.Storage `embed:""`
}

// Help is shown by migrate --help.
func (*migrateCmd) Help() string {
	return `serve does this by itself when it starts. Run it apart where the server's database
user may not change the schema.

Example:
  agentidp migrate --database-url postgres://owner@db.example.com/agentidp`
}

// Run migrates.
func (c *migrateCmd) Run(ctx context.Context, std *IO) error {
	cfg := config.Config{Storage: c.Storage}
	before, after, err := app.Migrate(ctx, cfg, newLogger(std.Err, "auto", "info"))
	if err != nil {
		return err
	}
	if before == after {
		fmt.Fprintf(std.Out, "The schema is up to date (version %d).\n", after)
		return nil
	}
	fmt.Fprintf(std.Out, "The schema went from version %d to version %d.\n", before, after)
	return nil
}
