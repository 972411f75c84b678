package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// policyFields are what an administrator says in a policy and may change later.
type policyFields struct {
	Branch                string          `member:"branch" placeholder:"NAME" help:"Runs of this branch alone (default: any branch, never a tag or a pull request)."`
	Tag                   string          `member:"tag" placeholder:"GLOB" help:"Runs of tags that match, such as v*, instead of a branch."`
	RepositoryID          string          `member:"repositoryId" type:"number" placeholder:"ID" help:"The repository's numeric id."`
	RepositoryOwnerID     string          `member:"repositoryOwnerId" type:"number" placeholder:"ID" help:"The numeric id of its owner."`
	Event                 []string        `member:"events" sep:"none" placeholder:"NAME" help:"An event that may start the run. Repeatable (default: push, workflow_dispatch, schedule, repository_dispatch, release, deployment)."`
	Environment           string          `member:"environment" placeholder:"NAME" help:"Jobs of this deployment environment alone, in exactly this case."`
	Workflow              string          `member:"workflow" placeholder:"PATH" help:"Jobs of this workflow alone: .github/workflows/deploy.yml of the repository itself, or org/repo/.github/workflows/deploy.yml@refs/heads/main, reused from elsewhere."`
	Claim                 claimConditions `member:"claims" placeholder:"NAME=VALUE" help:"What a further claim of the ID token must be, by the provider's name of it; * stands for anything but a slash. Repeatable; a claim that is named again may have either value."`
	Condition             string          `member:"condition" placeholder:"EXPRESSION" help:"An expression (CEL) over claims that must be true besides, such as 'claims.ref.startsWith(\"refs/heads/release/\")'."`
	AcceptRisk            string          `member:"acceptRisk" type:"reason" placeholder:"REASON" help:"Why it is right that outsiders can start the runs that are trusted: of a policy that lists an event which a fork can cause, and has no further condition."`
	Scope                 []string        `member:"scopes" sep:"none" placeholder:"SCOPE" help:"A scope that tokens may carry. Repeatable (default: the agent's capabilities)."`
	Audience              []string        `member:"audiences" sep:"none" placeholder:"URI" help:"A service that tokens may be for. Repeatable; the first is the default (default: the issuer)."`
	TokenTTLSeconds       int             `name:"token-ttl-seconds" member:"tokenTtlSeconds" placeholder:"N" help:"Life of the tokens, 60 to 3600 (default: the server's)."`
	MaxAgents             int             `member:"maxAgents" placeholder:"N" help:"Bootstrap: how many living agents it may register (default: 10)."`
	AgentNamePattern      string          `member:"agentNamePattern" placeholder:"GLOB" help:"Bootstrap: which names these may have, such as *@ci.acme.example."`
	TrustRegisteredAgents bool            `member:"trustRegisteredAgents" help:"Bootstrap: an agent gets a policy of its own with its registration."`
	Mode                  string          `member:"mode" enum:",enforce,shadow,disabled" default:"" placeholder:"MODE" help:"enforce (the default); shadow, which grants nothing and records what it would have granted; or disabled."`
	ExpiresAt             time.Time       `member:"expiresAt" placeholder:"INSTANT" help:"From this instant the policy grants nothing."`
	Description           string          `member:"description" placeholder:"TEXT" help:"For people."`
}

// claimConditions are the conditions on claims as flags give them: NAME=VALUE.
type claimConditions map[string][]string

// Decode adds the condition of one flag.
func (c *claimConditions) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("a condition")
	if err != nil {
		return err
	}
	name, value, ok := strings.Cut(token.String(), "=")
	if !ok || name == "" || value == "" {
		return fmt.Errorf("%q is not of the form name=value", token)
	}
	if *c == nil {
		*c = claimConditions{}
	}
	(*c)[name] = append((*c)[name], value)
	return nil
}

type policyCreateCmd struct {
	Managing `embed:""`
	Printing `embed:""`
	Body     `embed:""`

	Provider     string `member:"provider" placeholder:"NAME" help:"Who issues the run's ID token, such as github."`
	Repository   string `member:"repository" placeholder:"OWNER/NAME" help:"The repository of the runs."`
	AgentID      string `member:"agentId" type:"uuid" placeholder:"UUID" help:"The agent that tokens are for (default: none: a bootstrap policy, good only to register agents)."`
	policyFields `embed:""`
}

// Help is shown by policy create --help.
func (*policyCreateCmd) Help() string {
	return `How strong the policy is and what is weak about it is said on standard error; it is
created all the same.
AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp policy create --provider github --repository org/your-repo
  agentidp policy create --provider github --repository org/your-repo --branch main \
    --agent-id 01890000-0000-7000-8000-000000000000 --audience https://deploy.example.com
  agentidp policy create -f policy.yaml -o id`
}

// Run creates.
func (c *policyCreateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	p, err := created[agentidp.TrustPolicy](std, k, &c.Body)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err = cl.CreateTrustPolicy(ctx, p.TrustPolicySpec)
	if err != nil {
		return err
	}
	return printSaved(std, &c.Printing, p)
}

// printSaved prints a policy that was saved, and apart from it how strong it is and what
// is weak about it.
func printSaved(std *IO, printing *Printing, p *agentidp.TrustPolicy) error {
	if p.Weakest != nil {
		fmt.Fprintf(std.Err, "agentidp: grade %s: %s\n", printable(string(p.Grade)), printable(p.Weakest.Who))
	}
	for _, w := range warningsOf(p) {
		fmt.Fprintln(std.Err, "agentidp: warning:", w)
	}
	return printOne(std, printing, p.ID, p, section{name: "grade"}, section{name: "weakest"}, section{name: "warnings"})
}

// weakestOf tells who can get the weakest token, and what it says.
func weakestOf(p *agentidp.TrustPolicy) []string {
	if p.Weakest == nil {
		return nil
	}
	lines := []string{printable(p.Weakest.Who)}
	for _, name := range slices.Sorted(maps.Keys(p.Weakest.Claims)) {
		lines = append(lines, printable(name+": "+p.Weakest.Claims[name]))
	}
	return lines
}

func warningsOf(p *agentidp.TrustPolicy) []string {
	lines := make([]string, len(p.Warnings))
	for i, w := range p.Warnings {
		lines[i] = printable(w.Code + ": " + w.Message)
	}
	return lines
}

type policyGetCmd struct {
	Managing `embed:""`
	Printing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of the policy."`
}

// Help is shown by policy get --help.
func (*policyGetCmd) Help() string {
	return `What -o json prints, policy create -f and policy update -f take. AGENTIDP_TOKEN holds
the access token.

Examples:
  agentidp policy get 01890000-0000-7000-8000-000000000000
  agentidp policy get 01890000-0000-7000-8000-000000000000 -o json >policy.json`
}

// Run shows.
func (c *policyGetCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err := cl.GetTrustPolicy(ctx, c.ID)
	if err != nil {
		return err
	}
	return printOne(std, &c.Printing, p.ID, p, section{"weakest", weakestOf(p)}, section{"warnings", warningsOf(p)})
}

type policyUpdateCmd struct {
	Managing  `embed:""`
	Printing  `embed:""`
	Body      `embed:""`
	Unsetting `embed:""`

	ID           string `arg:"" type:"uuid" help:"Id of the policy."`
	policyFields `embed:""`
}

// Help is shown by policy update --help.
func (*policyUpdateCmd) Help() string {
	return `Flags change what they name, and all else stays. With --file the policy becomes what
the file says, and what it leaves out goes back to its default. Whose policy was
changed by somebody else meanwhile is told so, and nothing is changed: a file that
policy get has written knows its revision. Conditions on claims change one by one:
--unset claim.team takes one away. Provider, repository and agent never
change. AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp policy update 01890000-0000-7000-8000-000000000000 --mode disabled
  agentidp policy update 01890000-0000-7000-8000-000000000000 --unset branch --tag 'v*' \
    --event push --event release
  agentidp policy update 01890000-0000-7000-8000-000000000000 -f policy.json`
}

// Run changes.
func (c *policyUpdateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	patch, err := given(k, c.Unset)
	if err != nil {
		return err
	}
	p, err := updated(std, &c.Managing, &c.Body, patch, updating[agentidp.TrustPolicy]{
		change: func(cl *client.Client, patch object) (*agentidp.TrustPolicy, error) { return c.change(ctx, cl, patch) },
		replace: func(cl *client.Client, said *agentidp.TrustPolicy) (*agentidp.TrustPolicy, error) {
			return c.replace(ctx, cl, said)
		},
		now: "agentidp policy get " + c.ID + " shows the policy as it is now.",
	})
	if err != nil {
		return err
	}
	return printSaved(std, &c.Printing, p)
}

// change changes what the patch names.
func (c *policyUpdateCmd) change(ctx context.Context, cl *client.Client, patch object) (*agentidp.TrustPolicy, error) {
	return cl.ChangeTrustPolicy(ctx, c.ID, func(spec *agentidp.TrustPolicySpec) error {
		return patched(spec, patch)
	})
}

// replace makes the policy what a file says of it, whole. A file that names a revision
// replaces that one alone.
func (c *policyUpdateCmd) replace(ctx context.Context, cl *client.Client, said *agentidp.TrustPolicy) (*agentidp.TrustPolicy, error) {
	if said.ID != "" && said.ID != c.ID {
		return nil, usageError{fmt.Errorf("--file: it is of the policy %s, not of %s", said.ID, c.ID)}
	}
	revision := said.Revision
	if revision == 0 {
		now, err := cl.GetTrustPolicy(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		revision = now.Revision
	}
	return cl.ReplaceTrustPolicy(ctx, c.ID, revision, said.TrustPolicySpec)
}
