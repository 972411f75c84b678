package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

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
	AgentID   string `type:"uuid" placeholder:"UUID" help:"The agent (default: a bootstrap token, good only to register agents)."`
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
  agentidp token exchange --server https://idp.example.com \
    --agent-id 01890000-0000-7000-8000-000000000000`
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
	return readToken(ctx, std, c.TokenFile)
}

// maxTokenFile bounds what is read where a token is expected.
const maxTokenFile = 64 << 10

func readToken(ctx context.Context, std *IO, file string) (string, error) {
	in := std.In
	if file == "-" {
		if token, asked, err := prompt(ctx, std, "Token"); asked {
			return token, err
		}
	} else {
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
  agentidp token exchange --server https://idp.example.com >token
  agentidp token inspect --server https://idp.example.com --token-file token`
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
	raw, err := readToken(ctx, std, c.TokenFile)
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
	token, err := readToken(ctx, std, c.TokenFile)
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
