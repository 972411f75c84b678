package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

type auditCmd struct {
	List auditListCmd `cmd:"" help:"List audit events, the newest first."`
	Tail auditTailCmd `cmd:"" help:"Print audit events as they come."`
}

// Events are those that a command is about.
type Events struct {
	Repository string `placeholder:"OWNER/NAME" help:"What the repository's runs got and were refused, and changes of its policies; the name at the time, in any case."`
	AgentID    string `type:"uuid" placeholder:"UUID" help:"The agent that it was done to, or that a token was asked for."`
	PolicyID   string `type:"uuid" placeholder:"ID" help:"The policy that it was done to, or by which."`
	Code       string `placeholder:"CODE" help:"Why a token was refused, such as branch_not_permitted."`
	Type       string `placeholder:"TYPE" help:"What happened, such as policy_deleted."`
}

// filter returns them as the API is asked.
func (e *Events) filter() (agentidp.EventFilter, error) {
	return agentidp.EventFilter{
		AgentID: e.AgentID, PolicyID: e.PolicyID, Repository: e.Repository, Code: e.Code, Type: agentidp.EventType(e.Type),
	}, notReason(e.Code)
}

type auditListCmd struct {
	Managing `embed:""`
	Period   `embed:""`
	Listing  `embed:""`
	Events   `embed:""`
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
	filter, err := c.filter()
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	filter.Since, filter.Until = c.Since, c.Until
	return printList(std, &c.Listing, eventColumns, cl.AllEvents(ctx, filter))
}
