package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type credentialCreateCmd struct {
	Managing `embed:""`
	Keeping  `embed:""`
	Body     `embed:""`

	AgentID     string    `required:"" type:"uuid" placeholder:"ID" help:"Id of the agent."`
	Description string    `member:"description" placeholder:"TEXT" help:"For people: where it is kept."`
	ExpiresAt   time.Time `member:"expiresAt" placeholder:"INSTANT" help:"From this instant it authenticates nobody (default: it does not expire)."`
	Scope       []string  `member:"scopes" sep:"none" placeholder:"SCOPE" help:"A scope that its tokens may carry. Repeatable; together they are the most (default: the agent's capabilities, and for admin those that it gets later, too)."`
	JWKSFile    string    `name:"jwks-file" member:"jwks" placeholder:"FILE" help:"The agent's public keys, a JWK set, in place of a secret: it signs assertions (private_key_jwt)."`
}

// Help is shown by credential create --help.
func (*credentialCreateCmd) Help() string {
	return `With a credential an agent gets tokens where no CI vouches for it, as the OAuth client
whose client_id is the agent's id. Where a trust policy can be had, that is better:
then there is no secret that could be stolen. AGENTIDP_TOKEN holds the access token,
which needs the agent's capabilities.

The secret goes to standard output, or to the file of --secret-file, this once; what
is known about it goes to standard error.

Examples:
  agentidp credential create --agent-id 01890000-0000-7000-8000-000000000000 \
    --description 'vault: agents/deployer' --secret-file deployer.secret
  agentidp credential create --agent-id 01890000-0000-7000-8000-000000000000 \
    --jwks-file jwks.json`
}

// Run creates.
func (c *credentialCreateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	flags, err := c.given(k)
	if err != nil {
		return err
	}
	spec, err := createdFrom[agentidp.CredentialSpec](std, k, &c.Body, flags)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	return c.keep(std, func() (*agentidp.CreatedCredential, error) {
		created, err := cl.CreateCredential(ctx, c.AgentID, *spec)
		if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodeCredentialLimitReached {
			err = hinted{err, "agentidp credential list --agent-id " + c.AgentID + " shows which are used."}
		}
		return created, err
	})
}

// given is what the command line says; without a file, it says which type, too.
func (c *credentialCreateCmd) given(k *kong.Context) (object, error) {
	flags, err := given(k, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case c.JWKSFile != "":
		flags["type"] = string(agentidp.CredentialPublicKey)
		flags["jwks"], err = readKeySet(c.JWKSFile)
	case c.File == "":
		flags["type"] = string(agentidp.CredentialSecret)
	}
	return flags, err
}

// Keeping is where the secret of a new credential goes.
type Keeping struct {
	SecretFile string `placeholder:"FILE" help:"Write the secret to FILE, which must not exist, for its owner alone."`
	Output     string `short:"o" enum:"text,json" default:"text" help:"text prints the secret alone, and where there is none to print, what the credential is; json the whole answer, one object in one line."`
}

// keep makes a credential and keeps its secret. The file is there before the credential
// is, so that no secret is lost for a file that cannot be written.
func (k *Keeping) keep(std *IO, create func() (*agentidp.CreatedCredential, error)) error {
	var file *os.File
	if k.SecretFile != "" {
		var err error
		if file, err = os.OpenFile(k.SecretFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return usageError{fmt.Errorf("--secret-file: %w", err)}
		}
	}
	created, err := create()
	if file != nil && (err != nil || created.ClientSecret == "") {
		err = errors.Join(err, file.Close(), os.Remove(k.SecretFile))
		file = nil
	}
	if err != nil {
		return err
	}
	if file != nil {
		err = k.write(file, created.ClientSecret)
		created.ClientSecret = ""
	}
	if err == nil {
		err = k.print(std, created)
	}
	if err != nil {
		return hinted{fmt.Errorf("the credential was created, and its secret could not be kept: %w", err),
			"agentidp credential delete --agent-id " + created.ClientID + " " + created.CredentialID + " ends it; then create another."}
	}
	return nil
}

func (k *Keeping) write(file *os.File, secret string) error {
	_, err := file.WriteString(secret + "\n")
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (k *Keeping) print(std *IO, created *agentidp.CreatedCredential) error {
	switch {
	case k.Output == "json":
		return writeJSON(std.Out, created)
	case created.ClientSecret == "":
		return writeView(std.Out, created, keySection(created.JWKS))
	}
	end := "never expires"
	if created.ExpiresAt != nil {
		end = "expires at " + instant(*created.ExpiresAt)
	}
	fmt.Fprintf(std.Err, "credential %s of the client %s, which %s; this secret is not shown again\n", printable(created.CredentialID), printable(created.ClientID), end)
	_, err := fmt.Fprintln(std.Out, printable(created.ClientSecret))
	return err
}
