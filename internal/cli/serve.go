package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

type serveCmd struct {
	config.Config `embed:""`

	CheckConfig bool `help:"Say what is wrong with the settings, or print them all with where each comes from, and end. No database is opened."`
}

// Help is shown by serve --help.
func (*serveCmd) Help() string {
	return `The first start creates the SQLite database, a master key file (0600) and a
signing key under the data directory. With PostgreSQL the master key is given, best
in AGENTIDP_MASTER_KEY. A variable AGENTIDP_… or a key of the file that is no setting
stops the start. The keys of the file are the names of these flags.

Examples:
  agentidp serve --public-url https://idp.example.com --data-dir /var/lib/agentidp
  agentidp serve --config /etc/agentidp.yaml --check-config`
}

// Complete fills what depends on other settings, and checks them and the files that
// they name.
func (c *serveCmd) Complete() error {
	c.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	return errors.Join(c.Config.Complete(), app.CheckFiles(c.Config))
}

// Run serves until the process is told to end.
func (c *serveCmd) Run(ctx context.Context, std *IO, k *kong.Context, given *settings) error {
	if c.CheckConfig {
		return given.print(std, k)
	}
	terminal := std.Err
	signal.Ignore(syscall.SIGPIPE) // whoever read the log is gone: no reason to end
	logger, lines := pipeLog(std, c.LogFormat, c.LogLevel)
	a, err := app.New(ctx, app.Options{Config: c.Config, Version: version(), Logger: logger, LinesDropped: lines.Dropped})
	if err != nil {
		return err
	}
	logger.Info("AgentIdP is ready", "version", version(), "issuer", a.URL(), "address", a.Address(), "metrics", a.MetricsAddress(), "database", c.Kind(), "github_issuer", c.GitHubIssuer)
	if c.Dev {
		logger.Warn("development: a plain-http issuer on loopback is trusted; whoever reaches it can be any workflow")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !config.IsLoopback(host) && !c.TLS() {
		logger.Warn("the listener speaks plain HTTP and is not on loopback; put a TLS proxy in front, and let nobody else reach it", "listen", c.Listen)
	}
	if host, _, err := net.SplitHostPort(c.MetricsListen); err == nil && !config.IsLoopback(host) {
		logger.Warn("metrics are not on loopback and ask nobody who they are; let only the scraper reach them", "metrics_listen", c.MetricsListen)
	}
	if c.Pprof {
		logger.Warn("profiles are served to whoever is on this machine; they tell of the inside of the process, and taking one slows it down", "metrics", a.MetricsAddress())
	}
	logger.Info("an admin token is made on this machine", "command", "agentidp admin token --data-dir "+c.DataDir)
	if c.TLS() || !isTerminal(terminal) { // on one, it is hung up with it
		defer c.hangups(a, logger)()
	}
	err = a.Run(ctx)
	logger.Info("AgentIdP has stopped")
	return err
}

// hangups has SIGHUP read the certificate again, and nothing else. It would end a process
// that does not listen to it, and operators send it to whatever should notice a change.
func (c *serveCmd) hangups(a *app.App, logger *slog.Logger) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			logger.Info("SIGHUP: settings are read at the start alone; look at them with agentidp serve --check-config, and restart", "certificate_is_read", c.TLS())
			a.LookAtCertificates()
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
	}
}
