package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/app"
)

type adminCmd struct {
	Token adminTokenCmd `cmd:"" help:"Print a new admin access token."`
}

type adminTokenCmd struct {
	Issuing `embed:""`

	Org   string        `default:"default" help:"Slug of the organization."`
	Scope string        `help:"Space-separated scopes (default: admin, which holds all)."`
	TTL   time.Duration `name:"ttl" default:"1h" help:"Life of the token, 30 days (30d) at most."`
}

// Help is shown by admin token --help.
func (*adminTokenCmd) Help() string {
	return `The token goes to standard output, what is known about it to standard error. It
is recorded, and works on a running server at once. Start the server once before.

Scopes of the management API:
  ` + strings.Join(agentidp.ManagementScopes, "\n  ") + `
Others are capabilities (deploy:staging): they open nothing here, but whoever holds
them may give them to agents.

Examples:
  export AGENTIDP_TOKEN=$(agentidp admin token --data-dir /var/lib/agentidp)
  agentidp admin token --scope "policies:read audit:read" --ttl 30d`
}

// Run prints the token.
func (c *adminTokenCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	if c.TTL == 0 { // to others that means the default
		return usageError{errors.New("--ttl: it is 0s; give between 1s and 30d, or leave it out for 1h")}
	}
	return c.run(ctx, std, k, func(a *app.App) error {
		token, rec, err := a.AdminToken(ctx, c.Org, c.Scope, c.TTL)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.Err, "%s, scope %q, valid until %s for %s\n", rec.Subject, rec.Scope, instant(rec.ExpiresAt), rec.Audience)
		for _, scope := range strings.Fields(rec.Scope) {
			if !agentidp.IsManagementScope(scope) {
				fmt.Fprintf(std.Err, "%s is a capability and opens nothing of the management API, whose scopes are %s\n", printable(scope), strings.Join(agentidp.ManagementScopes, ", "))
			}
		}
		fmt.Fprintln(std.Out, token)
		return nil
	})
}
