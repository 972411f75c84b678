package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
)

type decisionCmd struct {
	List     decisionListCmd     `cmd:"" help:"List requests for tokens, granted and refused, the newest first."`
	Get      decisionGetCmd      `cmd:"" help:"Show one decision with its checks: why it was granted or refused."`
	Refusals decisionRefusalsCmd `cmd:"" help:"Show what was refused before anything was proven."`
}

// Period is the time in which something happened.
type Period struct {
	Since time.Time `placeholder:"INSTANT" help:"At this instant or later, such as 2026-11-21T12:00:00Z."`
	Until time.Time `placeholder:"INSTANT" help:"Before this instant."`
}

type decisionListCmd struct {
	Managing `embed:""`
	Period   `embed:""`
	Listing  `embed:""`

	Repository   string `placeholder:"OWNER/NAME" help:"The name that the run's repository had, in any case."`
	RepositoryID string `type:"number" placeholder:"ID" help:"The repository's numeric id."`
	AgentID      string `type:"uuid" placeholder:"UUID" help:"The agent that the token was asked for."`
	PolicyID     string `type:"uuid" placeholder:"ID" help:"The policy that granted; of those that refused, the one that got furthest."`
	Code         string `placeholder:"CODE" help:"Why it was refused, such as branch_not_permitted."`
	Outcome      string `enum:",allowed,denied" default:"" placeholder:"OUTCOME" help:"allowed or denied."`
}

// Help is shown by decision list --help.
func (*decisionListCmd) Help() string {
	return `Where there was no repository, as for an agent with a credential of its own, its column
has the workload's subject or the agent. With -o wide the ids of repository, run, agent,
of the ACTOR that acts for it, of the CREDENTIAL that whoever asked has, and of tokens
(their jti: of the access token, and of the PARENT that it was got for) are printed too,
the GRANT that was asked for (client_credentials, token-exchange or jwt-bearer), and the
REASON that refines a CODE; --code takes what stands under CODE.
AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp decision list --repository org/your-repo --outcome denied --limit 10
  agentidp decision list --repository-id 74 --since 2026-11-21T00:00:00Z -o wide
  agentidp decision list --code invalid_token`
}

var decisionColumns = []column[agentidp.Decision]{
	{"DECISION", func(d *agentidp.Decision) string { return d.ID }},
	{"AT", func(d *agentidp.Decision) string { return instant(d.At) }},
	{"OUTCOME", func(d *agentidp.Decision) string { return string(d.Outcome) }},
	{"CODE", func(d *agentidp.Decision) string { return d.Code }},
	{"REASON", func(d *agentidp.Decision) string { return d.Reason }},
	{"GRANT", func(d *agentidp.Decision) string { return d.GrantType[strings.LastIndexByte(d.GrantType, ':')+1:] }},
	{"REPOSITORY", func(d *agentidp.Decision) string { return cmp.Or(d.Repository, d.Subject, d.AgentID) }},
	{"REPOSITORY-ID", func(d *agentidp.Decision) string { return d.RepositoryID }},
	{"REF", func(d *agentidp.Decision) string { return d.Ref }},
	{"EVENT", func(d *agentidp.Decision) string { return d.Event }},
	{"RUN", func(d *agentidp.Decision) string { return d.RunID }},
	{"AGENT", func(d *agentidp.Decision) string { return d.AgentID }},
	{"ACTOR", func(d *agentidp.Decision) string { return d.ActorID }},
	{"CREDENTIAL", func(d *agentidp.Decision) string { return d.CredentialID }},
	{"PARENT", func(d *agentidp.Decision) string { return d.ParentTokenID }},
	{"TOKEN", func(d *agentidp.Decision) string { return d.TokenID }},
}

// onlyWide are the columns that -o wide alone prints: all together are wider than any
// terminal.
var onlyWide = []string{"REASON", "GRANT", "REPOSITORY-ID", "RUN", "AGENT", "ACTOR", "CREDENTIAL", "PARENT", "TOKEN"}

// notReason refuses as a code what only refines one; the server would say no more than
// which codes there are.
func notReason(code string) error {
	if slices.Contains([]string{
		agentidp.ReasonAudienceMismatch, agentidp.ReasonTokenExpired, agentidp.ReasonTokenNotYetValid,
		agentidp.ReasonTokenTooOld, agentidp.ReasonTokenReplayed, agentidp.ReasonClaimInvalid,
	}, code) {
		return usageError{fmt.Errorf("--code: %s is a reason of %s: give --code %[2]s, and look at REASON in decision list", code, agentidp.CodeInvalidToken)}
	}
	return nil
}

// Run lists.
func (c *decisionListCmd) Run(ctx context.Context, std *IO) error {
	if err := notReason(c.Code); err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	columns := decisionColumns
	if c.Output == "table" {
		columns = slices.DeleteFunc(slices.Clone(columns), func(c column[agentidp.Decision]) bool { return slices.Contains(onlyWide, c.heading) })
	}
	return printList(std, &c.Listing, columns, cl.AllDecisions(ctx, agentidp.DecisionFilter{
		Repository: c.Repository, RepositoryID: c.RepositoryID, AgentID: c.AgentID, PolicyID: c.PolicyID,
		Code: c.Code, Outcome: agentidp.Outcome(c.Outcome), Since: c.Since, Until: c.Until,
	}))
}

type decisionGetCmd struct {
	Managing `embed:""`
	Printing `embed:""`

	ID string `arg:"" type:"uuid" help:"The decision_id of the answer."`
}

// Help is shown by decision get --help.
func (*decisionGetCmd) Help() string {
	return `The checks show what policies expect, and what the run had instead. Of a refusal by
policies, nearest is the one that came closest, with what a change of it lets in besides,
and repairs are the smallest change after which the same is granted, as commands to paste;
those that change a policy need to read it (policies:read). shadow is what policies in
shadow mode would have done. agentidp policy explain tells the same as a story.
AGENTIDP_TOKEN holds the access token.

Example:
  agentidp decision get 01890000-0000-7000-8000-000000000000`
}

// Run shows. What only people read is looked up for people only.
func (c *decisionGetCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	d, err := cl.GetDecision(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Output != "table" {
		return printOne(std, &c.Printing, d.ID, d)
	}
	return printOne(std, &c.Printing, d.ID, d, section{"checks", checksOf(d)},
		section{"nearest", missLines(d.Nearest)}, section{"repairs", remedyOf(ctx, cl, k, d.AgentID, d.Nearest)}, section{"shadow", shadowLines(d.Shadow)})
}

// checksOf are the checks of a decision, a policy after the other: after what is of none the
// nearest, and then the others in the order in which they were held against the run. Where
// there was no run, nothing was. Of a policy for another agent that is all there is to say: nobody reads on to what it would compare besides.
func checksOf(d *agentidp.Decision) []string {
	var lines []string
	switch {
	case len(d.Checks) > 0 || d.Outcome != agentidp.OutcomeDenied || d.Provider == "":
	case d.Code == agentidp.CodeTrustPolicyViolation:
		return []string{"none: no policy is for this repository or workload"}
	default:
		return []string{"none: it was refused before policies were looked at"}
	}
	nearest := ""
	if d.Nearest != nil {
		nearest = d.Nearest.PolicyID
	}
	policy, width, forAnother := "", 0, map[string]bool{}
	for _, check := range d.Checks {
		width = max(width, len([]rune(printable(check.Check))))
		if check.Check == "agent" && !check.OK {
			forAnother[check.PolicyID] = true
		}
	}
	for _, check := range nearestFirst(d.Checks, nearest) {
		if forAnother[check.PolicyID] && check.Check != "agent" {
			continue
		}
		if check.PolicyID != policy {
			policy = check.PolicyID
			heading := "policy " + policy
			if policy == nearest {
				heading += ", the nearest"
			}
			lines = append(lines, printable(heading))
		}
		lines = append(lines, "  "+checkLine(&check, width))
	}
	return lines
}

// nearestFirst puts the checks of one policy before those of the others.
func nearestFirst(checks []agentidp.Check, nearest string) []agentidp.Check {
	place := func(check agentidp.Check) int {
		switch check.PolicyID {
		case "":
			return 0
		case nearest:
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(checks), func(a, b agentidp.Check) int { return cmp.Compare(place(a), place(b)) })
}

// checkLine says what was compared, and where it failed with what. A scope and an audience
// need not be asked for.
func checkLine(check *agentidp.Check, width int) string {
	got := fmt.Sprintf("%q", check.Got)
	if check.Got == "" && (check.Check == "scope" || check.Check == "audience") {
		got = "not asked for"
	}
	verdict, words := "ok  ", got
	if !check.OK {
		verdict, words = "FAIL", fmt.Sprintf("%s, expected %q", got, check.Expected)
	}
	if check.Claim != "" {
		words = check.Claim + " " + words
	}
	return printable(fmt.Sprintf("%s  %-*s  %s", verdict, width, printable(check.Check), words))
}
