package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type policyBacktestCmd struct {
	Managing `embed:""`

	ID       string    `arg:"" optional:"" type:"uuid" help:"Id of the policy that changes (default: that of the file, or none: a new policy)."`
	File     string    `short:"f" placeholder:"FILE" help:"What the policy would say, JSON or YAML as policy apply takes it, - for standard input (default: what it says, as though it were enforced)."`
	Since    time.Time `placeholder:"INSTANT" help:"Exchanges at this instant or later, such as 2026-11-21T12:00:00Z (default: as far back as claims are kept)."`
	Limit    int       `default:"1000" placeholder:"N" help:"How many exchanges to replay, the newest first, 5000 at most."`
	ExitCode bool      `help:"End with exit code 1 where an exchange would be newly denied."`
	Output   string    `short:"o" enum:"table,json" default:"table" help:"table, told for people; or json, the server's answer in one line."`
}

// Help is shown by policy backtest --help.
func (*policyBacktestCmd) Help() string {
	return `The exchanges of the past whose claims are kept are decided again, with the policies as
they are now and with this one changed. What differs is shown with examples, at most ten,
no two alike; policy explain tells more of each. Nothing is changed. AGENTIDP_TOKEN holds
the access token, which needs policies:read and audit:read.

Examples:
  agentidp policy backtest 01890000-0000-7000-8000-000000000000
  agentidp policy backtest 01890000-0000-7000-8000-000000000000 -f stricter.yaml --exit-code
  agentidp policy backtest -f new.yaml --since 2026-11-21T12:00:00Z --limit 5000`
}

// Run replays.
func (c *policyBacktestCmd) Run(ctx context.Context, std *IO) error {
	req := agentidp.BacktestRequest{Limit: c.Limit, Since: c.Since}
	id, err := c.draft(std, &req)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	b, err := replayed(ctx, cl, id, req)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, b)
	} else {
		err = writeSections(std.Out, backtestStory(b))
	}
	if err == nil && c.ExitCode && b.NewlyDenied.Count > 0 {
		return fmt.Errorf("newly denied: %d", b.NewlyDenied.Count)
	}
	return err
}

func replayed(ctx context.Context, cl *client.Client, id string, req agentidp.BacktestRequest) (*agentidp.Backtest, error) {
	if id == "" {
		return cl.BacktestTrustPolicyDraft(ctx, req)
	}
	return cl.BacktestTrustPolicy(ctx, id, req)
}

// draft reads the file, if there is one, and returns the id of the policy that is meant,
// empty for a new one.
func (c *policyBacktestCmd) draft(std *IO, req *agentidp.BacktestRequest) (id string, err error) {
	if c.Limit < 1 || c.Limit > 5000 {
		return "", usageError{fmt.Errorf("--limit: %d is not between 1 and 5000", c.Limit)}
	}
	if c.File == "" {
		if c.ID == "" {
			return "", usageError{errors.New("give the id of a policy, or a draft by --file, or both")}
		}
		return c.ID, nil
	}
	policies, err := readPolicies(std, []string{c.File})
	switch {
	case err != nil:
		return "", err
	case len(policies) != 1:
		return "", usageError{fmt.Errorf("--file: %s has %d policies; give one draft", c.File, len(policies))}
	case c.ID != "" && policies[0].ID != "" && policies[0].ID != c.ID:
		return "", usageError{fmt.Errorf("--file: it is of the policy %s, not of %s", policies[0].ID, c.ID)}
	}
	req.Policy = &policies[0].TrustPolicySpec
	return cmp.Or(c.ID, policies[0].ID), nil
}

// backtestStory tells what was replayed, what differs, and what limits that.
func backtestStory(b *agentidp.Backtest) []section {
	verdict := "No exchange was replayed."
	if b.Replayed > 0 {
		verdict = fmt.Sprintf("%d replayed, from %s until %s; the policy itself accepts %d of them.", b.Replayed, instant(*b.From), instant(*b.Until), b.Granted)
	}
	notes := make([]string, len(b.Notes))
	for i, n := range b.Notes {
		notes[i] = "- " + printable(n)
	}
	counts := [][]string{
		{"newly allowed", strconv.Itoa(b.NewlyAllowed.Count)}, {"newly denied", strconv.Itoa(b.NewlyDenied.Count)},
		{"still allowed", strconv.Itoa(b.StillAllowed)}, {"still denied", strconv.Itoa(b.StillDenied)},
	}
	return []section{
		{"", append([]string{verdict, ""}, inColumns(counts)...)},
		{"Newly allowed, for example:", examplesOf(&b.NewlyAllowed)},
		{"Newly denied, for example:", examplesOf(&b.NewlyDenied)},
		{"Notes:", notes},
	}
}

// examplesOf are a table of exchanges, each with why it is refused by the side that does.
func examplesOf(c *agentidp.BacktestChange) []string {
	if len(c.Examples) == 0 {
		return nil
	}
	rows := [][]string{{"AT", "WHOSE", "REF", "EVENT", "REFUSED FOR", "DECISION"}}
	for _, e := range c.Examples {
		why := e.Code
		if e.Check != nil {
			why += fmt.Sprintf(" (%s %q, expected %q)", e.Check.Check, e.Check.Got, e.Check.Expected)
		}
		row := []string{instant(e.At), cmp.Or(e.Repository, e.Subject), e.Ref, e.Event, why, e.DecisionID}
		for i := range row {
			row[i] = cmp.Or(printable(row[i]), "-")
		}
		rows = append(rows, row)
	}
	return inColumns(rows)
}

// inColumns are rows, each a line, whose cells stand below each other.
func inColumns(rows [][]string) []string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, gap, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a buffer takes everything
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}
