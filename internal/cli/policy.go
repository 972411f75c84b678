package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type policyCmd struct {
	Create   policyCreateCmd   `cmd:"" help:"Create a trust policy: which runs get which tokens."`
	List     policyListCmd     `cmd:"" help:"List trust policies, the oldest first."`
	Get      policyGetCmd      `cmd:"" help:"Show a trust policy, and what is weak about it."`
	Update   policyUpdateCmd   `cmd:"" help:"Change a trust policy."`
	Explain  policyExplainCmd  `cmd:"" help:"Tell why an exchange was granted or refused, or how it would be decided, and what would let it in."`
	Backtest policyBacktestCmd `cmd:"" help:"Say which exchanges of the past a change of a trust policy, or a new one, would have decided otherwise."`
	Repin    policyRepinCmd    `cmd:"" help:"Accept the next identity of a repository that was transferred or made anew."`
	Delete   policyDeleteCmd   `cmd:"" help:"Delete trust policies, with the tokens that they granted if asked to."`

	Lint   policyLintCmd   `cmd:"" help:"Say how strong the trust policies of files are, and what is wrong with them."`
	Apply  policyApplyCmd  `cmd:"" help:"Make the trust policies what files say, after a plan."`
	Export policyExportCmd `cmd:"" help:"Write the trust policies as files that policy apply takes."`
	Schema policySchemaCmd `cmd:"" help:"Print the JSON Schema of files of trust policies, for editors."`
}

type policyListCmd struct {
	Managing `embed:""`
	Listing  `embed:""`

	Repository   string `placeholder:"OWNER/NAME" help:"Policies that name this repository, in any case."`
	RepositoryID string `type:"number" placeholder:"ID" help:"Policies that are pinned to this numeric id, or ask for it, whatever the repository was called."`
	Provider     string `help:"Policies that name this provider, such as github."`
	AgentID      string `type:"uuid" placeholder:"UUID" help:"Policies whose tokens are for this agent."`
	Grants       string `enum:",agent,bootstrap" default:"" placeholder:"KIND" help:"agent or bootstrap: tokens of one agent, or such as can only register agents."`
	Mode         string `enum:",enforce,shadow,disabled" default:"" placeholder:"MODE" help:"enforce, shadow or disabled."`
	NeverMatched bool   `help:"Policies that have granted nothing since they were created; of those in shadow mode, that would have granted nothing."`

	ExpiresBefore  time.Time      `xor:"expiry" placeholder:"INSTANT" help:"Policies that expire before this instant, and those that have expired."`
	ExpiringWithin *time.Duration `xor:"expiry" placeholder:"DURATION" help:"Policies that expire within this time from now, such as 14d, and those that have expired."`
}

// Help is shown by policy list --help.
func (*policyListCmd) Help() string {
	return `Filters combine: all of them must hold. GRADE is how hard it is to get a token that the
policy accepts, A to F; policy get says by whom. LAST-MATCHED and MATCHES are of what it
granted, and in shadow mode of what it would have granted; they are up to a minute old.
AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp policy list --repository org/your-repo
  agentidp policy list --grants bootstrap --mode enforce
  agentidp policy list --never-matched
  agentidp policy list --expiring-within 14d`
}

// policyColumns stand in the order of their weight, because a narrow terminal leaves them out
// from the right. A grade without the mode looks as if the policy granted something, so both
// find room in 80 columns.
var policyColumns = []column[agentidp.TrustPolicy]{
	{"ID", func(p *agentidp.TrustPolicy) string { return p.ID }},
	{"REPOSITORY", func(p *agentidp.TrustPolicy) string { return cmp.Or(p.Repository, claimsShort(p.Claims)) }},
	{"REF", func(p *agentidp.TrustPolicy) string {
		if p.Tag != "" {
			return "tag " + p.Tag
		}
		if p.Repository == "" {
			return ""
		}
		return cmp.Or(p.Branch, "any branch")
	}},
	{"GRADE", func(p *agentidp.TrustPolicy) string { return string(p.Grade) }},
	{"MODE", func(p *agentidp.TrustPolicy) string { return string(p.Mode) }},
	{"PINNED-TO", pinnedTo},
	{"GRANTS", func(p *agentidp.TrustPolicy) string { return cmp.Or(p.AgentID, "bootstrap") }},
	{"LAST-MATCHED", func(p *agentidp.TrustPolicy) string { return perhaps(p.LastMatchedAt) }},
	{"MATCHES", func(p *agentidp.TrustPolicy) string { return strconv.FormatInt(p.MatchCount, 10) }},
	{"EXPIRES", func(p *agentidp.TrustPolicy) string { return perhaps(p.ExpiresAt) }},
}

// claimsShort is whom a policy without a repository is for.
func claimsShort(claims agentidp.ClaimConditions) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		said = append(said, name+"="+strings.Join(claims[name], "|"))
	}
	return strings.Join(said, " ")
}

// pinnedTo is the repository id that an exchange must have, as far as it is known.
func pinnedTo(p *agentidp.TrustPolicy) string {
	if p.Pinned != nil {
		return p.Pinned.RepositoryID
	}
	return p.RepositoryID
}

// Run lists.
func (c *policyListCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return printList(std, &c.Listing, policyColumns, c.chosen(cl.AllTrustPolicies(ctx, agentidp.PolicyFilter{
		Provider: c.Provider, Repository: c.Repository, AgentID: c.AgentID,
		Grants: agentidp.PrincipalKind(c.Grants), Mode: agentidp.PolicyMode(c.Mode),
		NeverMatched: c.NeverMatched, ExpiresBefore: c.end(time.Now()),
	})))
}

// end is the instant before which the policies expire that are asked for; zero: all.
func (c *policyListCmd) end(now time.Time) time.Time {
	if c.ExpiringWithin != nil {
		return now.Add(*c.ExpiringWithin)
	}
	return c.ExpiresBefore
}

// chosen keeps the policies of a repository id, which the API has no filter for.
func (c *policyListCmd) chosen(policies iter.Seq2[*agentidp.TrustPolicy, error]) iter.Seq2[*agentidp.TrustPolicy, error] {
	return func(yield func(*agentidp.TrustPolicy, error) bool) {
		for p, err := range policies {
			if err == nil && c.RepositoryID != "" && pinnedTo(p) != c.RepositoryID {
				continue
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

type policyRepinCmd struct {
	Managing `embed:""`

	ID string `arg:"" type:"uuid" help:"Id of any policy of the repository."`
}

// Help is shown by policy repin --help.
func (*policyRepinCmd) Help() string {
	return `The identity to which the repository's name is pinned is forgotten, for all policies
that name it. The next exchange that one of them grants pins anew, whichever
repository of that name it comes from, also the former one if it still runs; a
policy that names ids waits for these. What the former identity was given is not
taken back. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp policy repin 01890000-0000-7000-8000-000000000000`
}

// Run repins.
func (c *policyRepinCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err := cl.Repin(ctx, c.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s is pinned to no identity. The next exchange that a policy of this name grants pins the repository that it comes from.\n", printable(p.Repository))
	return nil
}

type policyDeleteCmd struct {
	Managing `embed:""`

	ID           []string `arg:"" placeholder:"ID" help:"Ids of policies."`
	RevokeIssued bool     `help:"End the tokens that the policy granted, in the same commit."`
}

// Help is shown by policy delete --help.
func (*policyDeleteCmd) Help() string {
	return `When the command has returned, no exchange is granted by the policy. AGENTIDP_TOKEN
holds the access token.

Example:
  agentidp policy delete --revoke-issued 01890000-0000-7000-8000-000000000000`
}

// Run deletes each of them, also when another could not be deleted, or none where one is
// no id.
func (c *policyDeleteCmd) Run(ctx context.Context, std *IO) error {
	for _, id := range c.ID {
		if _, err := parseUUID(id); err != nil {
			return usageError{fmt.Errorf("<id>: %w", err)}
		}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	var errs []error
	count := newCounter(std, true)
	defer count.done()
	for _, id := range c.ID {
		count.add()
		if err := cl.DeleteTrustPolicy(ctx, id, client.DeleteOptions{RevokeIssued: c.RevokeIssued}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			continue
		}
		fmt.Fprintln(std.Out, id+" deleted")
	}
	return errors.Join(errs...)
}
