package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type doctorCmd struct {
	config.Config `embed:""`

	Offline bool   `help:"Ask nobody over the network."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"table; or json, one object a line."`
}

// Help is shown by doctor --help.
func (*doctorCmd) Help() string {
	return `Give it the settings of the server, best by the same environment or file. It changes nothing,
and works beside the server or without one. Each line is ok, warn or FAIL, with what
to do. The exit code is 1 if something fails.

Over the network it asks the public URL for what clients are told there, and the
issuers for their keys, and compares their clocks with this machine's.

Example:
  agentidp doctor --data-dir /var/lib/agentidp --public-url https://idp.example.com`
}

// Complete checks the settings. A public URL that is not given stays empty: then what
// the server was last started with counts, not a default.
func (c *doctorCmd) Complete() error {
	given := c.PublicURL
	err := c.Config.Complete()
	c.PublicURL = given
	return err
}

// Run looks.
func (c *doctorCmd) Run(ctx context.Context, std *IO) error {
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	findings := []app.Finding{{Check: "configuration", Status: app.FindingOK, Detail: "every setting is valid"}}
	findings = append(findings, app.Doctor(ctx, app.DoctorOptions{Config: c.Config, Offline: c.Offline, Logger: warnings(std)})...)
	failed := 0
	for i := range findings {
		if findings[i].Status == app.FindingFail {
			failed++
		}
		if err := c.print(std, &findings[i]); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return nil
}

func (c *doctorCmd) print(std *IO, f *app.Finding) error {
	if c.Output == "json" {
		return writeJSON(std.Out, f)
	}
	text := f.Detail
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	_, err := fmt.Fprintf(std.Out, "%-4s  %-14s  %s\n", f.Status, printable(f.Check), printable(text))
	return err
}
