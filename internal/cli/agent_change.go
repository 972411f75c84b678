package cli

import (
	"context"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
)

// agentFields are what an administrator says of an agent, but for its name.
type agentFields struct {
	Description   string            `member:"description" placeholder:"TEXT" help:"For people."`
	AgentType     string            `member:"agentType" enum:",screener,classifier,orchestrator,extractor,summarizer,router,monitor,custom" default:"" placeholder:"TYPE" help:"screener, classifier, orchestrator, extractor, summarizer, router, monitor or custom (the default)."`
	Version       string            `member:"version" placeholder:"TEXT" help:"The agent's own software version."`
	Capability    []string          `member:"capabilities" sep:"none" placeholder:"SCOPE" help:"A scope (resource:action) that its tokens may carry. Repeatable; together they are all that it has."`
	Audience      []string          `member:"audiences" sep:"none" placeholder:"URI" help:"A service that the tokens it gets with a credential of its own may be for. Repeatable; the first is the default (default: the issuer)."`
	MayDelegateTo []string          `member:"mayDelegateTo" sep:"none" type:"uuid" placeholder:"ID" help:"An agent that may act for it. Repeatable; together they are all that may (default: nobody)."`
	Owner         string            `member:"owner" placeholder:"WHO" help:"Who answers for it."`
	DeploymentEnv string            `member:"deploymentEnv" enum:",development,staging,production" default:"" placeholder:"ENV" help:"development, staging or production, for people."`
	Label         map[string]string `member:"labels" mapsep:"none" placeholder:"NAME=VALUE" help:"A label, for people. Repeatable."`
}

type agentCreateCmd struct {
	Managing `embed:""`
	Printing `embed:""`
	Body     `embed:""`

	Name        string `member:"name" placeholder:"NAME" help:"In the form of an e-mail address. It never changes."`
	agentFields `embed:""`
}

// Help is shown by agent create --help.
func (*agentCreateCmd) Help() string {
	return `An agent gets no token by itself: a trust policy for it says which runs do, and a
credential of its own is for where no CI vouches for it.
AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp agent create --name deployer@ci.acme.example --capability deploy:staging
  agentidp agent create -f agent.yaml -o id`
}

// Run creates.
func (c *agentCreateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	a, err := created[agentidp.Agent](std, k, &c.Body)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	a, err = cl.RegisterAgent(ctx, a.AgentSpec)
	if err != nil {
		return err
	}
	return printOne(std, &c.Printing, a.AgentID, a)
}

type agentGetCmd struct {
	Managing `embed:""`
	Printing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of the agent."`
}

// Help is shown by agent get --help.
func (*agentGetCmd) Help() string {
	return `AGENTIDP_TOKEN holds the access token. What -o json prints, agent create -f takes.

Example:
  agentidp agent get 01890000-0000-7000-8000-000000000000`
}

// Run shows.
func (c *agentGetCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	a, err := cl.GetAgent(ctx, c.ID)
	if err != nil {
		return err
	}
	return printOne(std, &c.Printing, a.AgentID, a)
}

type agentUpdateCmd struct {
	Managing  `embed:""`
	Printing  `embed:""`
	Body      `embed:""`
	Unsetting `embed:""`

	ID          string `arg:"" type:"uuid" help:"Id of the agent."`
	agentFields `embed:""`
}

// Help is shown by agent update --help.
func (*agentUpdateCmd) Help() string {
	return `Flags and members of a file change what they name, and all else stays; null in a
file takes a member away. Labels are changed one by one, lists as a whole.
Tokens that were issued before keep their scopes. AGENTIDP_TOKEN holds the access
token, which needs the scopes that it gives.

Examples:
  agentidp agent update 01890000-0000-7000-8000-000000000000 --capability deploy:staging \
    --capability deploy:production
  agentidp agent update 01890000-0000-7000-8000-000000000000 --owner team-deploy \
    --unset label.temporary`
}

// Run changes.
func (c *agentUpdateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	patch, err := c.read(std)
	if err != nil {
		return err
	}
	flags, err := given(k, c.Unset)
	if err != nil {
		return err
	}
	if merge(patch, flags); len(patch) == 0 {
		return errNothingToChange
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	a, err := cl.UpdateAgent(ctx, c.ID, patch)
	if err != nil {
		return err
	}
	return printOne(std, &c.Printing, a.AgentID, a)
}
