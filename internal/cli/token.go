package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/jose"
)

type tokenCmd struct {
	Exchange   tokenExchangeCmd   `cmd:"" help:"Exchange a CI's ID token for an access token."`
	Inspect    tokenInspectCmd    `cmd:"" help:"Print what is in a token, and check it with its server's keys."`
	Introspect tokenIntrospectCmd `cmd:"" help:"Ask the server whether an access token is good now."`
	Revoke     tokenRevokeCmd     `cmd:"" help:"End an access token before it expires."`
}

type tokenExchangeCmd struct {
	Server    string `required:"" env:"AGENTIDP_SERVER" placeholder:"URL" help:"The server's public URL, with /o/SLUG for another organization than the default."`
	AgentID   string `placeholder:"UUID" help:"The agent (default: a bootstrap token, good only to register agents)."`
	Scope     string `help:"Space-separated scopes (default: all that the policy allows)."`
	Audience  string `placeholder:"URI" help:"The service that the token is for (default: the policy's first)."`
	TokenFile string `placeholder:"FILE" help:"Read the ID token from FILE, - for standard input (default: ask GitHub Actions for one)."`
	Output    string `short:"o" enum:"token,json" default:"token" help:"token prints the access token alone; json the whole answer, one object in one line."`
}

// Help is shown by token exchange --help.
func (*tokenExchangeCmd) Help() string {
	return `In a GitHub Actions job with "permissions: id-token: write", a fresh ID token is
requested for the server's URL as its only audience.

Example:
  agentidp token exchange --server https://idp.example.com --agent-id 01890000-0000-7000-8000-000000000000`
}

// Run exchanges.
func (c *tokenExchangeCmd) Run(ctx context.Context, std *IO) error {
	server, err := serverURL(c.Server)
	if err != nil {
		return err
	}
	cl := &client.Client{BaseURL: server}
	subject, err := c.subjectToken(ctx, std, cl)
	if err != nil {
		return err
	}
	resp, err := cl.Exchange(ctx, client.ExchangeRequest{Token: subject, AgentID: c.AgentID, Scope: c.Scope, Audience: c.Audience})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(std.Out, resp)
	}
	fmt.Fprintln(std.Out, printable(resp.AccessToken))
	return nil
}

func (c *tokenExchangeCmd) subjectToken(ctx context.Context, std *IO, cl *client.Client) (string, error) {
	if c.TokenFile == "" {
		return cl.GitHubIDToken(ctx, cl.BaseURL)
	}
	return readToken(std, c.TokenFile)
}

// maxTokenFile bounds what is read where a token is expected.
const maxTokenFile = 64 << 10

func readToken(std *IO, file string) (string, error) {
	in := std.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usageError{fmt.Errorf("read the token: %w", err)}
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > maxTokenFile {
		return "", usageError{errors.New("read the token: it is empty or larger than 64 KiB")}
	}
	return token, nil
}

type tokenInspectCmd struct {
	TokenFile string `default:"-" placeholder:"FILE" help:"Read the token from FILE, - for standard input."`
	Server    string `env:"AGENTIDP_SERVER" placeholder:"URL" help:"Check that this server issued the token and that it has not expired."`
}

// Help is shown by token inspect --help.
func (*tokenInspectCmd) Help() string {
	return `A token is a secret: give it by a file or standard input, never as an argument.

Without --server nothing is checked. With it, the exit code is 0 only when the
server's keys fit the signature, iss is the server, and the token has not expired;
whether its audience is the right one is for the service to say. Whether it was
revoked is not looked at: agentidp token introspect asks the server.

Example:
  agentidp token exchange --server https://idp.example.com | agentidp token inspect --server https://idp.example.com`
}

// Run inspects. The exit code is 0 only when everything that was checked is right.
func (c *tokenInspectCmd) Run(ctx context.Context, std *IO) error {
	var server string
	if c.Server != "" {
		var err error
		if server, err = serverURL(c.Server); err != nil {
			return err
		}
	}
	raw, err := readToken(std, c.TokenFile)
	if err != nil {
		return err
	}
	parsed, err := jose.Parse(raw)
	if err != nil {
		return usageError{fmt.Errorf("this is not a compact JWS (RFC 7515): %w", err)}
	}
	header, err := json.Marshal(map[string]string{"alg": parsed.Header.Alg, "kid": parsed.Header.Kid, "typ": parsed.Header.Typ})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "header: %s\nclaims: %s\n", escaped(header), indent(parsed.Payload))
	words, _ := readClaims(parsed.Payload).life(time.Now())
	fmt.Fprintln(std.Out, "life:   "+words)
	if server == "" {
		fmt.Fprintln(std.Out, "signature: not checked (give --server)")
		return nil
	}
	if err := verifyWithServer(ctx, nil, server, parsed); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "signature: good, by key %s of %s, the issuer\n", printable(parsed.Header.Kid), server)
	fmt.Fprintln(std.Out, "revocation: not looked at (ask with agentidp token introspect)")
	return nil
}

type tokenIntrospectCmd struct {
	TokenFile string `default:"-" placeholder:"FILE" help:"Read the access token from FILE, - for standard input."`
	Server    string `required:"" env:"AGENTIDP_SERVER" placeholder:"URL" help:"The server's public URL, with /o/SLUG for another organization than the default."`
}

// Help is shown by token introspect --help.
func (*tokenIntrospectCmd) Help() string {
	return `Having the token is all that it takes. What the server says is printed (RFC 7662);
the exit code is 0 only when the token is active: it was not revoked, has not
expired, and its agent or policy still stands.

Example:
  agentidp token introspect --server https://idp.example.com --token-file access.token`
}

// Run introspects. The exit code is 0 only when the token is active.
func (c *tokenIntrospectCmd) Run(ctx context.Context, std *IO) error {
	server, err := serverURL(c.Server)
	if err != nil {
		return err
	}
	token, err := readToken(std, c.TokenFile)
	if err != nil {
		return err
	}
	answer, err := (&client.Client{BaseURL: server}).Introspect(ctx, token)
	if err != nil {
		return err
	}
	if err := writeDocument(std.Out, answer); err != nil {
		return err
	}
	if !answer.Active {
		return errors.New("the token is not active: it has expired or was revoked, what it stands for has ended, or it is no access token of " + server)
	}
	return nil
}

type tokenRevokeCmd struct {
	Managing `embed:""`

	TokenFile    string    `placeholder:"FILE" help:"Read the access token from FILE, - for standard input (the default)."`
	ID           string    `name:"id" type:"uuid" placeholder:"JTI" help:"The one token with this id, as decision list shows it."`
	AgentID      string    `type:"uuid" placeholder:"UUID" help:"All tokens of this agent."`
	PolicyID     string    `type:"uuid" placeholder:"ID" help:"All tokens that this trust policy granted."`
	RepositoryID string    `type:"number" placeholder:"ID" help:"All tokens that runs of this repository got: its numeric id."`
	IssuedBefore time.Time `placeholder:"INSTANT" help:"All tokens issued before, such as 2026-11-21T12:00:00Z; now for this moment; alone, those of administrators too."`
}

// Help is shown by token revoke --help.
func (*tokenRevokeCmd) Help() string {
	return `To end one token, having it is all that it takes. The exit code is 0 also for a
token that has ended already or that the server does not know. To end a token by its
id, or all tokens of an agent, policy or repository, AGENTIDP_TOKEN holds an access
token that may; what chooses many combines. Delete or disable first what grants them.

--issued-before compares whole seconds: a token of the very second of now is spared.
Where nothing may be left, call it again a second later.

The server itself refuses the tokens at once; a service that verifies tokens on its
own accepts them until they expire.

Examples:
  agentidp token revoke --server https://idp.example.com --token-file access.token
  agentidp token revoke --server https://idp.example.com --repository-id 74
  agentidp token revoke --server https://idp.example.com --id 01890000-0000-7000-8000-000000000000`
}

// Run revokes.
func (c *tokenRevokeCmd) Run(ctx context.Context, std *IO) error {
	chosen := agentidp.TokenSelection{AgentID: c.AgentID, PolicyID: c.PolicyID, RepositoryID: c.RepositoryID}
	if !c.IssuedBefore.IsZero() {
		chosen.IssuedBefore = &c.IssuedBefore
	}
	if !chosen.Empty() {
		return c.many(ctx, std, chosen)
	}
	if c.ID != "" {
		return c.byID(ctx, std)
	}
	server, err := serverURL(c.Server)
	if err != nil {
		return err
	}
	token, err := readToken(std, cmp.Or(c.TokenFile, "-"))
	if err != nil {
		return err
	}
	if agentidp.IsID(token) {
		return usageError{errors.New("this is the id of a token; give the token itself, or the id with --id")}
	}
	return revokeOne(ctx, std, &client.Client{BaseURL: server}, token)
}

func (c *tokenRevokeCmd) byID(ctx context.Context, std *IO) error {
	if c.TokenFile != "" {
		return usageError{errors.New("--id and --token-file both choose one token; leave one out")}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	return revokeOne(ctx, std, cl, c.ID)
}

// revokeOne says no more than the server does, which answers the same whatever it was
// given (RFC 7009 §2.2).
func revokeOne(ctx context.Context, std *IO, cl *client.Client, token string) error {
	if err := cl.RevokeToken(ctx, token); err != nil {
		return err
	}
	fmt.Fprintln(std.Out, "The token has ended, if it was one of this organization.")
	return nil
}

func (c *tokenRevokeCmd) many(ctx context.Context, std *IO, chosen agentidp.TokenSelection) error {
	if c.TokenFile != "" || c.ID != "" {
		return usageError{errors.New("--token-file and --id are for one token; leave them out, or leave out what chooses many")}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	n, err := cl.RevokeTokens(ctx, chosen)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "tokens revoked: %d\n", n)
	return nil
}
