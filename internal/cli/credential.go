package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

type credentialCmd struct {
	Create credentialCreateCmd `cmd:"" help:"Create a secret for an agent, or register its public keys."`
	List   credentialListCmd   `cmd:"" help:"List an agent's credentials, the oldest first."`
	Get    credentialGetCmd    `cmd:"" help:"Show a credential."`
	Rotate credentialRotateCmd `cmd:"" help:"Replace a secret by another."`
	Delete credentialDeleteCmd `cmd:"" help:"End credentials, at once and for good."`
}

type credentialListCmd struct {
	Managing `embed:""`
	Listing  `embed:""`

	AgentID string `required:"" type:"uuid" placeholder:"ID" help:"Id of the agent."`
}

// Help is shown by credential list --help.
func (*credentialListCmd) Help() string {
	return `Those that have ended are listed, too, for a time. AGENTIDP_TOKEN holds the access
token.

Example:
  agentidp credential list --agent-id 01890000-0000-7000-8000-000000000000`
}

var credentialColumns = []column[agentidp.Credential]{
	{"CREDENTIAL", func(c *agentidp.Credential) string { return c.CredentialID }},
	{"TYPE", func(c *agentidp.Credential) string { return string(c.Type) }},
	{"STATE", func(c *agentidp.Credential) string { return credentialState(c, time.Now()) }},
	{"LAST-USED", func(c *agentidp.Credential) string { return perhaps(c.LastUsedAt) }},
	{"EXPIRES", func(c *agentidp.Credential) string { return perhaps(c.ExpiresAt) }},
	{"SCOPES", credentialScopes},
	{"DESCRIPTION", func(c *agentidp.Credential) string { return c.Description }},
}

// credentialScopes tells a bound to nothing from none.
func credentialScopes(c *agentidp.Credential) string {
	switch {
	case c.Scopes == nil:
		return "(agent's)"
	case len(c.Scopes) == 0:
		return "(none)"
	}
	return strings.Join(c.Scopes, " ")
}

func credentialState(c *agentidp.Credential, now time.Time) string {
	switch {
	case c.RevokedAt != nil:
		return "revoked"
	case !c.Live(now):
		return "expired"
	}
	return "live"
}

// perhaps shows an instant that there may not be.
func perhaps(t *time.Time) string {
	if t == nil {
		return ""
	}
	return instant(*t)
}

// Run lists.
func (c *credentialListCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return printList(std, &c.Listing, credentialColumns, cl.AllCredentials(ctx, c.AgentID))
}

type credentialGetCmd struct {
	Managing `embed:""`
	Printing `embed:""`

	AgentID string `required:"" type:"uuid" placeholder:"ID" help:"Id of the agent."`
	ID      string `arg:"" type:"uuid" help:"Id of the credential."`
}

// Help is shown by credential get --help.
func (*credentialGetCmd) Help() string {
	return `One that has ended is shown, too, for a time; a secret never is. AGENTIDP_TOKEN holds
the access token.

Example:
  agentidp credential get --agent-id 01890000-0000-7000-8000-000000000000 \
    01890000-0000-7000-8000-00000000000c`
}

// Run shows.
func (c *credentialGetCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	got, err := cl.GetCredential(ctx, c.AgentID, c.ID)
	if err != nil {
		return err
	}
	return printOne(std, &c.Printing, got.CredentialID, got, keySection(got.JWKS))
}

type credentialRotateCmd struct {
	Managing `embed:""`
	Keeping  `embed:""`

	AgentID      string `required:"" type:"uuid" placeholder:"ID" help:"Id of the agent."`
	ID           string `arg:"" type:"uuid" help:"Id of the credential."`
	GraceSeconds uint32 `placeholder:"N" help:"How long the old secret works beside the new one, 2592000 (30 days) at most (default: not at all)."`
}

// Help is shown by credential rotate --help.
func (*credentialRotateCmd) Help() string {
	return `The new secret is a credential of its own, with the description, the length of
life and the scopes of the old one; for who is not admin, no scope that the agent has not
now. Without --grace-seconds the old one has ended when the command
has returned, so that whatever still uses it fails until it has the new one.
AGENTIDP_TOKEN holds the access token.

Example:
  agentidp credential rotate --agent-id 01890000-0000-7000-8000-000000000000 \
    --grace-seconds 3600 --secret-file deployer.secret 01890000-0000-7000-8000-00000000000c`
}

// Run rotates.
func (c *credentialRotateCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return c.keep(std, func() (*agentidp.CreatedCredential, error) {
		return cl.RotateCredential(ctx, c.AgentID, c.ID, time.Duration(c.GraceSeconds)*time.Second)
	})
}

type credentialDeleteCmd struct {
	Managing `embed:""`

	AgentID string   `required:"" type:"uuid" placeholder:"ID" help:"Id of the agent."`
	ID      []string `arg:"" placeholder:"ID" help:"Ids of credentials."`
}

// Help is shown by credential delete --help.
func (*credentialDeleteCmd) Help() string {
	return `When the command has returned, nothing is issued to whoever has the credential. Tokens
that were got with it live until they expire: agentidp token revoke --agent-id ends
them, with all others of the agent. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp credential delete --agent-id 01890000-0000-7000-8000-000000000000 \
    01890000-0000-7000-8000-00000000000c`
}

// Run ends each of them, also when another could not be ended.
func (c *credentialDeleteCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range c.ID {
		if err := cl.DeleteCredential(ctx, c.AgentID, id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			continue
		}
		fmt.Fprintln(std.Out, id+" has ended")
	}
	return errors.Join(errs...)
}
