package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type tokenRevokeCmd struct {
	Managing `embed:""`

	TokenFile    string    `placeholder:"FILE" help:"Read the access token from FILE, - for standard input (the default); a terminal is asked."`
	ID           string    `name:"id" type:"uuid" placeholder:"JTI" help:"The one token with this id, as decision list -o wide shows it."`
	AgentID      string    `type:"uuid" placeholder:"UUID" help:"All tokens of this agent, and those with which it acts for another."`
	PolicyID     string    `type:"uuid" placeholder:"ID" help:"All tokens that this trust policy granted."`
	RepositoryID string    `type:"number" placeholder:"ID" help:"All tokens that runs of this repository got: its numeric id."`
	IssuedBefore time.Time `placeholder:"INSTANT" help:"All tokens issued before, such as 2026-11-21T12:00:00Z; now for this moment; alone, those of administrators too."`
}

// Help is shown by token revoke --help.
func (*tokenRevokeCmd) Help() string {
	return `To end one token, having it is all that it takes. The exit code is 0 also for a
token that has ended already or that the server does not know. To end a token by its
id, or all tokens of an agent, policy or repository, AGENTIDP_TOKEN holds an access
token that may; what chooses many combines. Delete or disable first what grants them.

--issued-before compares whole seconds: a token of the very second of now is spared.
Where nothing may be left, call it again a second later.

The server itself refuses the tokens at once; a service that verifies tokens on its
own accepts them until they expire.

Examples:
  agentidp token revoke --server https://idp.example.com --token-file access.token
  agentidp token revoke --server https://idp.example.com --repository-id 74
  agentidp token revoke --server https://idp.example.com --id 01890000-0000-7000-8000-000000000000`
}

// Run revokes.
func (c *tokenRevokeCmd) Run(ctx context.Context, std *IO) error {
	chosen := agentidp.TokenSelection{AgentID: c.AgentID, PolicyID: c.PolicyID, RepositoryID: c.RepositoryID}
	if !c.IssuedBefore.IsZero() {
		chosen.IssuedBefore = &c.IssuedBefore
	}
	if !chosen.Empty() {
		return c.many(ctx, std, chosen)
	}
	if c.ID != "" {
		return c.byID(ctx, std)
	}
	server, err := serverURL(c.Server)
	if err != nil {
		return err
	}
	token, err := readToken(ctx, std, cmp.Or(c.TokenFile, "-"))
	if err != nil {
		return err
	}
	if agentidp.IsID(token) {
		return usageError{errors.New("this is the id of a token; give the token itself, or the id with --id")}
	}
	return revokeOne(ctx, std, &client.Client{BaseURL: server}, token)
}

func (c *tokenRevokeCmd) byID(ctx context.Context, std *IO) error {
	if c.TokenFile != "" {
		return usageError{errors.New("--id and --token-file both choose one token; leave one out")}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	return revokeOne(ctx, std, cl, c.ID)
}

// revokeOne says no more than the server does, which answers the same whatever it was
// given (RFC 7009 §2.2).
func revokeOne(ctx context.Context, std *IO, cl *client.Client, token string) error {
	if err := cl.RevokeToken(ctx, token); err != nil {
		return err
	}
	fmt.Fprintln(std.Out, "The token has ended, if it was one of this organization.")
	return nil
}

func (c *tokenRevokeCmd) many(ctx context.Context, std *IO, chosen agentidp.TokenSelection) error {
	if c.TokenFile != "" || c.ID != "" {
		return usageError{errors.New("--token-file and --id are for one token; leave them out, or leave out what chooses many")}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	n, err := cl.RevokeTokens(ctx, chosen)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "tokens revoked: %d\n", n)
	return nil
}
