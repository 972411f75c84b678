package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
)

type emulateCmd struct {
	GitHub emulateGitHubCmd `cmd:"" name:"github" help:"A local issuer of GitHub Actions ID tokens."`
}

type emulateGitHubCmd struct {
	Listen      string   `default:"127.0.0.1:8090" help:"Loopback address to listen on; http:// and this address is the issuer."`
	Repository  string   `default:"acme/deploy" help:"owner/name of the repository that the run belongs to."`
	Ref         string   `help:"Full ref of the run, such as refs/heads/main or refs/tags/v1 (default: what the event usually runs on)."`
	Event       string   `default:"push" help:"Event that started the run."`
	Environment string   `help:"Deployment environment of the job (default: none)."`
	Actor       string   `help:"Login of whoever started the run (default: octocat)."`
	Claim       []string `placeholder:"NAME=VALUE" sep:"none" help:"Set a claim: name=text, name:=JSON, or name:= to leave it out. Repeatable."`
	SubFormat   string   `default:"classic" enum:"classic,immutable,custom" help:"Form of sub: classic, immutable or custom."`
	KeyFile     string   `type:"path" placeholder:"FILE" help:"RSA key that signs, created when missing (default: in the user's cache folder)."`
	Mint        bool     `help:"Print one token and end. A server verifies it while an emulator with the same address and key is running."`
	Audience    string   `placeholder:"URL" help:"With --mint: the audience, which is the server's public URL."`
}

// Help is shown by emulate github --help.
func (*emulateGitHubCmd) Help() string {
	return `It stands in for GitHub's issuer: discovery, keys, and the endpoint that the Actions
toolkit's getIDToken() calls. A server trusts it only when started with
--dev --github-issuer http://127.0.0.1:8090.

With the same name and another id, the run is of a repository that was made anew.

Examples:
  agentidp emulate github --repository acme/deploy --ref refs/heads/main
  agentidp emulate github --repository acme/deploy --claim repository_id=999
  agentidp emulate github --repository acme/deploy --mint --audience http://localhost:8080`
}

// Run serves the issuer, or prints one token.
func (c *emulateGitHubCmd) Run(ctx context.Context, std *IO) error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || !config.IsLoopback(host) {
		return usageError{fmt.Errorf("--listen: %q is not a loopback address such as 127.0.0.1:8090; whoever reaches this issuer can be any workflow", c.Listen)}
	}
	if c.Mint && c.Audience == "" {
		return usageError{errors.New("--mint needs --audience: the public URL of the server that the token is for")}
	}
	if c.Mint {
		return c.mint(std)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w; give another address", err)
	}
	e, err := c.emulator("http://" + listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(std.Out, "Issuer of %s is http://%s\n\n", c.Repository, listener.Addr())
	fmt.Fprintf(std.Out, "Let a server trust it:\n  agentidp serve --dev --github-issuer http://%s\n\n", listener.Addr())
	fmt.Fprintf(std.Out, "Let a job use it:\n  export ACTIONS_ID_TOKEN_REQUEST_URL='%s'\n  export ACTIONS_ID_TOKEN_REQUEST_TOKEN='%s'\n", e.RequestURL(), e.RequestToken())
	return serveUntil(ctx, listener, e.Handler())
}

func (c *emulateGitHubCmd) mint(std *IO) error {
	e, err := c.emulator("http://" + c.Listen)
	if err != nil {
		return err
	}
	token, err := e.Mint(emulator.Options{Audience: c.Audience})
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(std.Out, token)
	return nil
}

func (c *emulateGitHubCmd) emulator(issuer string) (*emulator.Emulator, error) {
	claims := map[string]any{}
	for _, arg := range c.Claim {
		name, value, err := emulator.ParseClaim(arg)
		if err != nil {
			return nil, usageError{fmt.Errorf("--claim: %w", err)}
		}
		claims[name] = value
	}
	file := c.KeyFile
	if file == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, usageError{fmt.Errorf("--key-file is needed: %w", err)}
		}
		file = filepath.Join(cache, "agentidp", "emulator-"+strings.ReplaceAll(strings.TrimPrefix(issuer, "http://"), ":", "-")+".pem")
	}
	key, err := emulator.LoadOrCreateKey(file)
	if err != nil {
		return nil, err
	}
	e, err := emulator.New(emulator.Config{Issuer: issuer, Key: key, Run: emulator.Run{
		Repository: c.Repository, Ref: c.Ref, Event: c.Event, Environment: c.Environment, Actor: c.Actor,
		SubFormat: emulator.SubFormat(c.SubFormat), Claims: claims,
	}})
	if err != nil {
		return nil, usageError{err}
	}
	return e, nil
}

// serveUntil serves HTTP on a listener until ctx is done.
func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Shutdown(timeout)
	}
}
