package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type policyExplainCmd struct {
	Managing `embed:""`

	ID         string `arg:"" optional:"" type:"uuid" help:"The decision_id of an exchange that was made."`
	TokenFile  string `placeholder:"FILE" help:"Ask about the ID token in FILE, - for standard input. It is not used up; one that has expired is good for this."`
	ClaimsFile string `placeholder:"FILE" help:"Ask about the claims of an ID token in FILE, JSON or YAML, - for standard input."`
	Provider   string `placeholder:"NAME" help:"Whose claims these are (default: by their iss, or github)."`
	AgentID    string `type:"uuid" placeholder:"UUID" help:"The agent that the token would be for (default: bootstrap)."`
	Scope      string `help:"Space-separated scopes (default: all that the policy allows)."`
	Audience   string `placeholder:"URI" help:"The service that the token would be for (default: the policy's first)."`
	ExitCode   bool   `help:"End with exit code 1 where the exchange was or would be refused."`
	Output     string `short:"o" enum:"table,json" default:"table" help:"table, told for people; or json, the server's answer in one line."`
}

// Help is shown by policy explain --help.
func (*policyExplainCmd) Help() string {
	return `With a decision_id, tells why that exchange was granted or refused. With a token or
claims, tells how an exchange would be decided now: nothing is issued, recorded or
used up, and whether the token was exchanged before is not looked at.

A refusal comes with the policy that is the nearest to granting it, and the smallest
change after which it would, as commands to paste. Read what the change lets in
besides before you do.

The exit code is 0 once the question is answered, whatever the answer; with
--exit-code it is 1 for a refusal. A token is a secret: give it by a file or standard
input, never as an argument. AGENTIDP_TOKEN holds the access token, which needs
audit:read for a decision, and policies:read for all else.

Examples:
  agentidp policy explain 01890000-0000-7000-8000-000000000000
  agentidp policy explain --token-file id.token --agent-id 01890000-0000-7000-8000-000000000000
  agentidp policy explain --claims-file claims.json --exit-code`
}

// Run explains. The exit code is that of a failure only where one was asked for.
func (c *policyExplainCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	if err := c.checkSubject(); err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	if c.ID != "" {
		return c.ofDecision(ctx, std, k, cl)
	}
	return c.ofExchange(ctx, std, k, cl)
}

// checkSubject refuses a command line that asks about nothing, or about several things.
func (c *policyExplainCmd) checkSubject() error {
	asked := 0
	for _, s := range []string{c.ID, c.TokenFile, c.ClaimsFile} {
		if s != "" {
			asked++
		}
	}
	switch {
	case asked != 1:
		return usageError{errors.New("give a decision's id, --token-file or --claims-file, and one of them alone")}
	case c.ID != "" && c.Provider+c.AgentID+c.Scope+c.Audience != "":
		return usageError{errors.New("--provider, --agent-id, --scope and --audience go with --token-file or --claims-file: what the exchange asked for is in the decision")}
	}
	return nil
}

func (c *policyExplainCmd) ofDecision(ctx context.Context, std *IO, k *kong.Context, cl *client.Client) error {
	d, err := cl.GetDecision(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, d)
	} else {
		err = writeSections(std.Out, decisionStory(d, remedyOf(ctx, cl, k, d.AgentID, d.Nearest)))
	}
	return errors.Join(err, c.verdict(d.Outcome == agentidp.OutcomeAllowed, "was", d.Code))
}

func (c *policyExplainCmd) ofExchange(ctx context.Context, std *IO, k *kong.Context, cl *client.Client) error {
	req := agentidp.ExplainRequest{Provider: c.Provider, AgentID: c.AgentID, Scope: c.Scope, Audience: c.Audience}
	var err error
	if c.TokenFile != "" {
		req.Token, err = readToken(ctx, std, c.TokenFile)
	} else {
		req.Claims, err = readClaimsFile(std, c.ClaimsFile)
	}
	if err != nil {
		return err
	}
	e, err := cl.ExplainExchange(ctx, req)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, e)
	} else {
		err = writeSections(std.Out, explanationStory(e, remedyOf(ctx, cl, k, c.AgentID, e.Nearest)))
	}
	return errors.Join(err, c.verdict(e.Allowed, "would be", e.Code))
}

// verdict is the error of a refusal, where the exit code is to say it.
func (c *policyExplainCmd) verdict(allowed bool, tense, code string) error {
	if allowed || !c.ExitCode {
		return nil
	}
	return fmt.Errorf("the exchange %s refused: %s", tense, code)
}

// readClaimsFile returns the object that a file says, as JSON. Nothing of it is repeated
// in an error: whoever gives the wrong file gives perhaps a secret.
func readClaimsFile(std *IO, file string) (json.RawMessage, error) {
	in, name, err := opened(std, "--claims-file", file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("--claims-file: %w", err)
	}
	if strings.HasPrefix(string(bytes.TrimSpace(data)), "eyJ") {
		return nil, usageError{fmt.Errorf("--claims-file: %s is a token; give it by --token-file", name)}
	}
	o, err := readObject("--claims-file", name, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return json.Marshal(o)
}
