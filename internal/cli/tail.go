package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type auditTailCmd struct {
	Managing `embed:""`
	Events   `embed:""`

	Since    time.Time     `placeholder:"INSTANT" help:"Begin with the events from this instant on (default: with the latest --lines)."`
	Lines    uint          `short:"n" default:"10" placeholder:"N" help:"How many of the latest events to begin with (10 unless said otherwise)."`
	Interval time.Duration `default:"2s" help:"How often the server is asked, 100ms at least."`
	Output   string        `short:"o" enum:"table,json" default:"table" help:"table, a line an event; or json, one object a line."`
}

// Help is shown by audit tail --help.
func (*auditTailCmd) Help() string {
	return `Each event is printed once, when it can be seen, which can be a moment after a later
one. While the server is away or has too much to do, the command waits and then goes
on where it was. It ends with exit code 0 at Ctrl-C, and with an error when the server
refuses, as it does when the access token in AGENTIDP_TOKEN has expired; one in
AGENTIDP_TOKEN_FILE may be replaced meanwhile.

Examples:
  agentidp audit tail --type exchange_denied
  agentidp audit tail --since 2026-11-21T00:00:00Z -o json >>events.json`
}

// Run follows until it is interrupted.
func (c *auditTailCmd) Run(ctx context.Context, std *IO) error {
	if c.Interval < 100*time.Millisecond {
		return usageError{fmt.Errorf("--interval: %s is less than 100ms", c.Interval)}
	}
	filter, err := c.filter()
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	t := &tail{
		newest: func() (time.Time, error) {
			page, err := cl.ListEvents(ctx, agentidp.EventFilter{}, client.ListOptions{Limit: 1})
			if err != nil || len(page.Items) == 0 {
				return time.Time{}, err
			}
			return page.Items[0].At, nil
		},
		list: func(since time.Time) iter.Seq2[*agentidp.Event, error] {
			filter.Since = since
			return cl.AllEvents(ctx, filter)
		},
		show:     func(e *agentidp.Event) error { return c.show(std, e) },
		say:      func(words string) { complain(std, errors.New(words)) },
		sleep:    func(d time.Duration) { sleep(ctx, d) },
		interval: c.Interval,
		since:    c.Since,
	}
	if err = t.follow(ctx, int(min(c.Lines, math.MaxInt))); ctx.Err() == nil {
		return err
	}
	return nil // the end that was asked for
}

func (c *auditTailCmd) show(std *IO, e *agentidp.Event) error {
	if c.Output == "json" {
		return writeJSON(std.Out, e)
	}
	words := []string{instant(e.At), string(e.Type), e.Actor}
	for _, pair := range [][2]string{{"agent", e.AgentID}, {"policy", e.PolicyID}, {"", dataOf(e)}} {
		switch {
		case pair[1] == "":
		case pair[0] == "":
			words = append(words, pair[1])
		default:
			words = append(words, pair[0]+"="+pair[1])
		}
	}
	_, err := fmt.Fprintln(std.Out, printable(strings.Join(words, "  ")))
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
