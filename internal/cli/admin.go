package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type adminCmd struct {
	Token adminTokenCmd `cmd:"" help:"Print a new admin access token."`
}

type adminTokenCmd struct {
	config.Storage `embed:""`

	PublicURL string        `env:"AGENTIDP_PUBLIC_URL" placeholder:"URL" help:"The server's public URL (default: what the server was last started with)."`
	Org       string        `default:"default" help:"Slug of the organization."`
	Scope     string        `help:"Space-separated scopes (default: admin, which holds all)."`
	TTL       time.Duration `name:"ttl" default:"1h" help:"Life of the token, 30 days (720h) at most."`
}

// Help is shown by admin token --help.
func (*adminTokenCmd) Help() string {
	return `The token goes to standard output, what is known about it to standard error. It
is recorded, and works on a running server at once. Start the server once before.

Example:
  export AGENTIDP_TOKEN=$(agentidp admin token --data-dir /var/lib/agentidp)`
}

// Run prints the token.
func (c *adminTokenCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	err := errors.Join(checkEnvironment(k.Model.Node, os.Environ()), c.Complete())
	if c.PublicURL != "" {
		err = errors.Join(err, config.CheckPublicURL(c.PublicURL))
	}
	if err != nil {
		return usageError{err}
	}
	logger := slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := config.Config{Storage: c.Storage, PublicURL: c.PublicURL}
	token, rec, err := app.AdminToken(ctx, cfg, logger, c.Org, c.Scope, c.TTL)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "%s, scope %q, valid until %s for %s\n", rec.Subject, rec.Scope, rec.ExpiresAt.UTC().Format(time.RFC3339), rec.Audience)
	fmt.Fprintln(std.Out, token)
	return nil
}
