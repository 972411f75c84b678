package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type adminCmd struct {
	Token adminTokenCmd `cmd:"" help:"Print a new admin access token."`
}

type adminTokenCmd struct {
	config.Storage `embed:""`
	config.Issuing `embed:""`

	Org   string        `default:"default" help:"Slug of the organization."`
	Scope string        `help:"Space-separated scopes (default: admin, which holds all)."`
	TTL   time.Duration `name:"ttl" default:"1h" help:"Life of the token, 30 days (720h) at most."`
}

// Help is shown by admin token --help.
func (*adminTokenCmd) Help() string {
	return `The token goes to standard output, what is known about it to standard error. It
is recorded, and works on a running server at once. Give the server's own
settings: data directory, public URL, and master key where it is not in the data
directory.

Example:
  export AGENTIDP_TOKEN=$(agentidp admin token --data-dir /var/lib/agentidp --public-url https://idp.example.com)`
}

// Run prints the token.
func (c *adminTokenCmd) Run(ctx context.Context, std *IO) error {
	cfg := config.Config{Storage: c.Storage, Issuing: c.Issuing, Listen: config.DefaultListen}
	cfg.MasterKey = std.Getenv("AGENTIDP_MASTER_KEY")
	if err := cfg.Complete(); err != nil {
		return usageError{err}
	}
	token, rec, err := app.AdminToken(ctx, cfg, slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelWarn})), c.Org, c.Scope, c.TTL)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "%s, scope %q, valid until %s for %s\n", rec.Subject, rec.Scope, rec.ExpiresAt.UTC().Format(time.RFC3339), agentidp.IssuerURL(cfg.PublicURL, c.Org))
	fmt.Fprintln(std.Out, token)
	return nil
}
