package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type decisionCmd struct {
	List decisionListCmd `cmd:"" help:"List exchanges, granted and refused, the newest first."`
	Get  decisionGetCmd  `cmd:"" help:"Print one decision with its checks, as JSON."`
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
	AgentID      string `type:"uuid" placeholder:"UUID" help:"The agent that the exchange was for."`
	PolicyID     string `type:"uuid" placeholder:"ID" help:"The policy that granted; of those that refused, the one that got furthest."`
	Code         string `help:"Why it was refused, such as branch_not_permitted."`
	Outcome      string `enum:",allowed,denied" default:"" help:"allowed or denied."`
}

// Help is shown by decision list --help.
func (*decisionListCmd) Help() string {
	return `--code takes what stands under CODE; REASON refines it and is no filter. TOKEN is the
jti of the access token. AGENTIDP_TOKEN holds the caller's.

Examples:
  agentidp decision list --repository org/your-repo --outcome denied --limit 10
  agentidp decision list --code invalid_token`
}

var decisionColumns = []column[agentidp.Decision]{
	{"DECISION", func(d *agentidp.Decision) string { return d.ID }},
	{"AT", func(d *agentidp.Decision) string { return instant(d.At) }},
	{"OUTCOME", func(d *agentidp.Decision) string { return string(d.Outcome) }},
	{"CODE", func(d *agentidp.Decision) string { return d.Code }},
	{"REASON", func(d *agentidp.Decision) string { return d.Reason }},
	{"REPOSITORY", func(d *agentidp.Decision) string { return cmp.Or(d.Repository, d.Subject) }},
	{"REPOSITORY-ID", func(d *agentidp.Decision) string { return d.RepositoryID }},
	{"REF", func(d *agentidp.Decision) string { return d.Ref }},
	{"EVENT", func(d *agentidp.Decision) string { return d.Event }},
	{"RUN", func(d *agentidp.Decision) string { return d.RunID }},
	{"AGENT", func(d *agentidp.Decision) string { return d.AgentID }},
	{"TOKEN", func(d *agentidp.Decision) string { return d.TokenID }},
}

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
	return printList(std, &c.Listing, decisionColumns, allDecisions(ctx, cl, agentidp.DecisionFilter{
		Repository: c.Repository, RepositoryID: c.RepositoryID, AgentID: c.AgentID, PolicyID: c.PolicyID,
		Code: c.Code, Outcome: agentidp.Outcome(c.Outcome), Since: c.Since, Until: c.Until,
	}))
}

func allDecisions(ctx context.Context, cl *client.Client, filter agentidp.DecisionFilter) iter.Seq2[*agentidp.Decision, error] {
	return all(func(o client.ListOptions) (*client.Page[agentidp.Decision], error) {
		return cl.ListDecisions(ctx, filter, o)
	})
}

type decisionGetCmd struct {
	Managing `embed:""`

	ID string `arg:"" help:"The decision_id of the exchange's answer."`
}

// Help is shown by decision get --help.
func (*decisionGetCmd) Help() string {
	return `The checks show what policies expect. AGENTIDP_TOKEN holds the access token.

Example:
  agentidp decision get 01890000-0000-7000-8000-000000000000`
}

// Run prints.
func (c *decisionGetCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	d, err := cl.GetDecision(ctx, c.ID)
	if err != nil {
		return err
	}
	return writeDocument(std.Out, d)
}

type auditCmd struct {
	List auditListCmd `cmd:"" help:"List audit events, the newest first."`
}

type auditListCmd struct {
	Managing `embed:""`
	Period   `embed:""`
	Listing  `embed:""`

	Repository string `placeholder:"OWNER/NAME" help:"What the repository's runs got and were refused, and changes of its policies; the name at the time, in any case."`
	AgentID    string `type:"uuid" placeholder:"UUID" help:"The agent that it was done to, or that an exchange was for."`
	PolicyID   string `type:"uuid" placeholder:"ID" help:"The policy that it was done to, or by which."`
	Code       string `help:"Why an exchange was refused, such as branch_not_permitted."`
	Type       string `help:"Such as policy_deleted."`
}

// Help is shown by audit list --help.
func (*auditListCmd) Help() string {
	return `Filters combine: all of them must hold. AGENTIDP_TOKEN holds the access token.

Examples:
  agentidp audit list --since 2026-11-21T00:00:00Z --type policy_created
  agentidp audit list --repository org/your-repo --code branch_not_permitted`
}

var eventColumns = []column[agentidp.Event]{
	{"EVENT", func(e *agentidp.Event) string { return e.ID }},
	{"AT", func(e *agentidp.Event) string { return instant(e.At) }},
	{"TYPE", func(e *agentidp.Event) string { return string(e.Type) }},
	{"ACTOR", func(e *agentidp.Event) string { return e.Actor }},
	{"AGENT", func(e *agentidp.Event) string { return e.AgentID }},
	{"POLICY", func(e *agentidp.Event) string { return e.PolicyID }},
	{"DATA", dataOf},
}

// dataOf leaves out what is empty, and says of a repin that its ids are those that
// count no more.
func dataOf(e *agentidp.Event) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		value := e.Data[name]
		if value == "" {
			continue
		}
		if e.Type == agentidp.EventRepositoryRepinned && strings.HasSuffix(name, "_id") {
			name = "old " + name
		}
		pairs = append(pairs, name+"="+value)
	}
	return strings.Join(pairs, " ")
}

// Run lists.
func (c *auditListCmd) Run(ctx context.Context, std *IO) error {
	if err := notReason(c.Code); err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	filter := agentidp.EventFilter{
		AgentID: c.AgentID, PolicyID: c.PolicyID, Repository: c.Repository, Code: c.Code,
		Type: agentidp.EventType(c.Type), Since: c.Since, Until: c.Until,
	}
	return printList(std, &c.Listing, eventColumns,
		all(func(o client.ListOptions) (*client.Page[agentidp.Event], error) { return cl.ListEvents(ctx, filter, o) }))
}
