// Package cli is the command line: one file a command. It owns flags, output and
// exit codes, and hands the work to internal/app, internal/emulator and client.
//
// Exit codes: 0 done; 1 the command failed; 2 the command line or the
// configuration is wrong; 3 the server refused (4xx); 4 where that was asked for, there
// are changes to make.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitPending = 4
)

// helpWidth is how wide a help is at most; no wider line is read with ease.
const helpWidth = 100

// IO is what a command reads and writes. The environment is not part of it: kong
// and the client read the process's own.
type IO struct {
	In       io.Reader
	Out, Err io.Writer

	rest func() // waits a moment until all of Err is written; nil: it always is
}

// Std returns the process's own.
func Std() *IO { return &IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

type commands struct {
	Serve      serveCmd      `cmd:"" help:"Run the server."`
	Demo       demoCmd       `cmd:"" help:"Run the main job on this machine, live: CI token in, agent token out."`
	Admin      adminCmd      `cmd:"" help:"Make admin access tokens, with direct access to the database."`
	Org        orgCmd        `cmd:"" help:"Make, list and close organizations, with direct access to the database."`
	Keys       keysCmd       `cmd:"" help:"List and rotate signing keys, with direct access to the database."`
	Token      tokenCmd      `cmd:"" help:"Exchange a CI token; look into an access token; end one, or many."`
	Policy     policyCmd     `cmd:"" help:"Manage trust policies: which runs get which tokens."`
	Provider   providerCmd   `cmd:"" help:"Manage providers: whose ID tokens are accepted."`
	Agent      agentCmd      `cmd:"" help:"Manage agents: register, change, stop, end."`
	Credential credentialCmd `cmd:"" help:"Manage what agents authenticate with outside CI."`
	Decision   decisionCmd   `cmd:"" help:"Read which tokens were issued and refused, and why."`
	Audit      auditCmd      `cmd:"" help:"Read what was done, and by whom."`
	Emulate    emulateCmd    `cmd:"" help:"Run a local CI issuer."`
	Backup     backupCmd     `cmd:"" help:"Copy the database while the server runs."`
	Restore    restoreCmd    `cmd:"" help:"Put a backup in the place of the database, so that nothing of before is taken twice."`
	Doctor     doctorCmd     `cmd:"" help:"Look whether all is well, and say what to do where it is not."`
	Health     healthCmd     `cmd:"" help:"Ask the server of this machine whether it is alive, or ready."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database's schema up to date."`
	Version    versionCmd    `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print a script by which a shell completes command lines."`
}

// Help is shown by --help.
func (*commands) Help() string {
	return `Commands that manage a server find it by AGENTIDP_SERVER, and their access token in
AGENTIDP_TOKEN or in the file that AGENTIDP_TOKEN_FILE names.

Exit codes: 0, done; 1, failed, or a check said no; 2, the command line, a file or the
configuration is wrong; 3, the server refused; 4, policy apply --exit-code has found
changes to make.

Example:
  agentidp demo`
}

// usageError is wrong input: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Process runs the process's own command line and returns the exit code. SIGINT or
// SIGTERM tells the command to end in order, and a second one ends the process at
// once, as if it listened to none.
func Process() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Main(ctx, os.Args[1:], Std())
}

func newParser(ctx context.Context, std *IO, exit func(int), more ...kong.Option) (*kong.Kong, error) {
	return kong.New(new(commands), append([]kong.Option{
		kong.Name("agentidp"),
		kong.Description("Identity provider for AI agents and CI workflows: a CI's OIDC token in, a short-lived access token out."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: helpWidth}),
		kong.Writers(std.Out, std.Err),
		kong.Exit(exit),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
		values(),
	}, more...)...)
}

// Main runs one command line (without the program's name) and returns the exit
// code.
func Main(ctx context.Context, args []string, std *IO) int {
	defer func() {
		if std.rest != nil {
			std.rest()
		}
	}()
	exit := -1
	given := newSettings()
	parser, err := newParser(ctx, std, func(code int) { exit = code }, given.options())
	if err != nil {
		fmt.Fprintln(std.Err, "agentidp:", err)
		return exitFailed
	}
	if err := checkArguments(args); err != nil {
		return report(std, err)
	}
	given.take(parser.Model.Node)
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "--version": // anywhere else it is an agent's
		args = append([]string{"version"}, args[1:]...)
	}
	kctx, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err == nil {
		err = checkGiven(kctx)
	}
	if err != nil {
		return refuseLine(std, kctx, err)
	}
	if err := given.check(kctx); err != nil {
		return report(std, usageError{err})
	}
	if err := kctx.Run(); err != nil {
		return report(std, err)
	}
	return exitOK
}
