package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
)

type demoCmd struct {
	Exit bool `help:"End after the story, with status 0 when everything held."`
}

// Help is shown by demo --help.
func (*demoCmd) Help() string {
	return `Starts a server and a local CI issuer on free loopback ports, with data in a
temporary folder, and runs the main job over real HTTP. Nothing else is needed.

Example:
  agentidp demo --exit`
}

const (
	demoRepository = "acme/deploy"
	demoAgent      = "deployer@ci.acme.example"
	demoService    = "https://deploy.acme.example"
)

// Run tells the story, and then keeps the server up unless --exit is given.
func (c *demoCmd) Run(ctx context.Context, std *IO) (err error) {
	dir, err := os.MkdirTemp("", "agentidp-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	d := &demo{out: newStory(std.Out), std: std}
	running, err := d.start(ctx, dir)
	if err != nil {
		return err
	}
	if err = d.tell(ctx); err == nil && !c.Exit {
		d.farewell()
		select {
		case <-ctx.Done():
		case err = <-running:
			return err
		}
	}
	stop()
	return errors.Join(err, <-running)
}

// demo is one run of the main job.
type demo struct {
	std    *IO
	out    *story
	server *app.App
	ci     *emulator.Emulator
	admin  *client.Client
	agent  *agentidp.Agent
}

// start brings up the CI issuer and the server. The channel gives the server's
// end.
func (d *demo) start(ctx context.Context, dir string) (<-chan error, error) {
	ciListener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the CI issuer: %w", err)
	}
	d.ci, err = emulator.New(emulator.Config{Issuer: "http://" + ciListener.Addr().String(), Run: emulator.Run{Repository: demoRepository}})
	if err != nil {
		return nil, errors.Join(err, ciListener.Close())
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), ciListener.Close())
	}
	cfg := config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(dir, "data")},
		PublicURL: "http://" + listener.Addr().String(), GitHubIssuer: "http://" + ciListener.Addr().String(),
		MetricsListen: config.Off, SigningAlg: "ES256", TokenTTL: 15 * time.Minute, Limits: config.Limits{RefusalsPerMinute: 60}, Dev: true,
		Listen: listener.Addr().String(),
	}
	if err := cfg.Complete(); err != nil {
		return nil, errors.Join(err, listener.Close(), ciListener.Close())
	}
	logger := slog.New(slog.NewTextHandler(d.std.Err, &slog.HandlerOptions{Level: slog.LevelError}))
	d.server, err = app.New(ctx, app.Options{Config: cfg, Version: version(), Logger: logger, Listener: listener})
	if err != nil {
		return nil, errors.Join(err, ciListener.Close())
	}
	running, ci := make(chan error, 1), make(chan error, 1)
	go func() { ci <- serveUntil(ctx, ciListener, d.ci.Handler()) }()
	go func() { running <- errors.Join(d.server.Run(ctx), <-ci) }()
	return running, nil
}

func (d *demo) tell(ctx context.Context) error {
	d.out.title("AgentIdP: a CI token in, an agent token out")
	d.out.say("The server is %s, with a new database and new keys in a temporary folder.", d.server.URL())
	d.out.say("A local CI issuer stands in for GitHub Actions; its tokens carry the claims of an ordinary repository.")
	d.out.say("Every request (>) and answer (<) is real. Tokens are secrets, so only their beginnings are shown.")
	for _, chapter := range []func(context.Context) error{d.bootstrapPolicy, d.register, d.agentPolicy, d.exchange, d.refusals} {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("the demo did not hold: %w", err)
		}
	}
	d.out.title("Everything held.")
	d.out.say("The agent has an identity, its run got a token for 15 minutes, and the CI stores no secret.")
	return nil
}

// client returns a client that shows what it sends and receives.
func (d *demo) client(token string) *client.Client {
	return &client.Client{BaseURL: d.server.URL(), Token: token, HTTP: d.out.httpClient()}
}

func (d *demo) bootstrapPolicy(ctx context.Context) error {
	d.out.chapter("The administrator trusts a repository to register agents")
	d.out.say("A trust policy without an agent: runs on main of %s may register agents, and nothing else.", demoRepository)
	d.out.say("(The administrator's token comes from: agentidp admin token.)")
	token, _, err := d.server.AdminToken(ctx, agentidp.DefaultOrganization, "", 0)
	if err != nil {
		return err
	}
	d.admin = d.client(token)
	_, err = d.admin.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{Provider: "github", Repository: demoRepository, Branch: "main"})
	return err
}

func (d *demo) register(ctx context.Context) error {
	d.out.chapter("A workflow run on main registers its agent, with no stored secret")
	subject, err := d.idToken(emulator.Run{Repository: demoRepository, Ref: "refs/heads/main"})
	if err != nil {
		return err
	}
	d.out.say("The run exchanges it, naming no agent:")
	resp, err := d.client("").Exchange(ctx, client.ExchangeRequest{Token: subject})
	if err != nil {
		return err
	}
	d.out.say("The answer is a bootstrap token, good for ten minutes and for registering agents.")
	d.out.token("It says", resp.AccessToken)
	d.out.say("With it the run registers its agent:")
	d.agent, err = d.client(resp.AccessToken).RegisterAgent(ctx, agentidp.AgentSpec{Name: demoAgent, Description: "Deploys acme", AgentType: "custom", Version: "1.0.0"})
	return err
}

func (d *demo) agentPolicy(ctx context.Context) error {
	d.out.chapter("The administrator says what the agent may do, and from where")
	d.out.say("The agent's capabilities are the most that it can ever be given:")
	if _, err := d.admin.UpdateAgent(ctx, d.agent.AgentID, map[string]any{"capabilities": []string{"deploy:production", "deploy:staging"}}); err != nil {
		return err
	}
	d.out.say("A trust policy for this agent: runs on main get one of the two, for one service.")
	_, err := d.admin.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{
		Provider: "github", Repository: demoRepository, Branch: "main", AgentID: d.agent.AgentID,
		Scopes: []string{"deploy:staging"}, Audiences: []string{demoService},
	})
	return err
}

func (d *demo) exchange(ctx context.Context) error {
	d.out.chapter("The main job: a run exchanges its CI token for the agent's token")
	subject, err := d.idToken(emulator.Run{Repository: demoRepository, Ref: "refs/heads/main"})
	if err != nil {
		return err
	}
	d.out.say("The run exchanges it, naming its agent:")
	resp, err := d.client("").Exchange(ctx, client.ExchangeRequest{Token: subject, AgentID: d.agent.AgentID})
	if err != nil {
		return err
	}
	d.out.say("The answer is the agent's access token, for the service that the policy names.")
	d.out.token("It says", resp.AccessToken)
	parsed, err := jose.Parse(resp.AccessToken)
	if err != nil {
		return err
	}
	d.out.say("%s verifies it by itself, with the issuer's published keys:", demoService)
	if err := verifyWithServer(ctx, d.out.httpClient(), d.server.URL(), parsed); err != nil {
		return err
	}
	d.out.good("The signature fits key %s, the issuer is right, and it has not expired.", parsed.Header.Kid)

	d.out.chapter("Refused: the same CI token a second time")
	d.out.say("Somebody has copied the CI token of the step before, which is not expired yet.")
	return d.refused(ctx, subject, 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
}

func (d *demo) refusals(ctx context.Context) error {
	d.out.chapter("Refused: another branch of the same repository")
	subject, err := d.idToken(emulator.Run{Repository: demoRepository, Ref: "refs/heads/feature"})
	if err != nil {
		return err
	}
	if err := d.refused(ctx, subject, 403, agentidp.CodeBranchNotPermitted, ""); err != nil {
		return err
	}

	d.out.chapter("Refused: a repository that no policy names")
	if subject, err = d.idToken(emulator.Run{Repository: "mallory/deploy", Ref: "refs/heads/main"}); err != nil {
		return err
	}
	return d.refused(ctx, subject, 403, agentidp.CodeTrustPolicyViolation, "")
}

// refused exchanges a token that must be refused, in exactly this way.
func (d *demo) refused(ctx context.Context, subject string, status int, code, reason string) error {
	d.out.say("It is exchanged, naming the agent:")
	_, err := d.client("").Exchange(ctx, client.ExchangeRequest{Token: subject, AgentID: d.agent.AgentID})
	if err := wantRefusal(err, status, code, reason); err != nil {
		return err
	}
	d.out.good("Refused, as it should be; no token was issued.")
	return nil
}

func wantRefusal(err error, status int, code, reason string) error {
	if err == nil {
		return fmt.Errorf("expected a refusal with status %d, code %q and reason %q; got a token", status, code, reason)
	}
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != status || e.Code != code || e.Reason != reason {
		return fmt.Errorf("expected a refusal with status %d, code %q and reason %q; got: %w", status, code, reason, err)
	}
	return nil
}

// idToken plays GitHub: it mints the ID token of a run, for this server.
func (d *demo) idToken(run emulator.Run) (string, error) {
	token, err := d.ci.Mint(emulator.Options{Audience: d.server.URL(), Run: &run})
	if err != nil {
		return "", err
	}
	d.out.subject(token)
	return token, nil
}

func (d *demo) farewell() {
	d.out.say("The server stays up until Ctrl-C. In another terminal:")
	d.out.command("curl -s %s/.well-known/jwks.json", d.server.URL())
	d.out.command("curl -s %s/api/v1/openapi.json", d.server.URL())
	d.out.say("A fresh CI token, and its exchange:")
	d.out.command("ID_TOKEN=$(curl -s -H 'Authorization: bearer %s' '%s&audience=%s' | sed 's/.*\"value\":\"\\([^\"]*\\)\".*/\\1/')", d.ci.RequestToken(), d.ci.RequestURL(), d.server.URL())
	d.out.command("curl -s %s/api/v1/oidc/token -H 'Content-Type: application/json' -d '{\"token\":\"'\"$ID_TOKEN\"'\",\"agentId\":\"%s\"}'", d.server.URL(), d.agent.AgentID)
}
