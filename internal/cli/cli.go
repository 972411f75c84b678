// Package cli is the command line: one file a command. It owns flags, output and
// exit codes, and hands the work to internal/app, internal/emulator and client.
//
// Exit codes: 0 done; 1 the command failed; 2 the command line or the
// configuration is wrong; 3 the server refused (4xx).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
)

// IO is what a command reads and writes. The environment is not part of it: kong
// and the client read the process's own.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Std returns the process's own.
func Std() *IO { return &IO{os.Stdin, os.Stdout, os.Stderr} }

type commands struct {
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	Demo     demoCmd     `cmd:"" help:"Run the main job on this machine, live: CI token in, agent token out."`
	Admin    adminCmd    `cmd:"" help:"Make admin access tokens, with direct access to the database."`
	Org      orgCmd      `cmd:"" help:"Make, list and close organizations, with direct access to the database."`
	Keys     keysCmd     `cmd:"" help:"List and rotate signing keys, with direct access to the database."`
	Token    tokenCmd    `cmd:"" help:"Exchange a CI token; look into an access token; end one, or many."`
	Policy   policyCmd   `cmd:"" help:"List trust policies, delete them, repin their repositories."`
	Agent    agentCmd    `cmd:"" help:"List agents, stop them."`
	Decision decisionCmd `cmd:"" help:"Read what was exchanged and refused, and why."`
	Audit    auditCmd    `cmd:"" help:"Read what was done, and by whom."`
	Emulate  emulateCmd  `cmd:"" help:"Run a local CI issuer."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database's schema up to date."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	VersionFlag kong.VersionFlag `name:"version" help:"Print the version."`
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

// Main runs one command line (without the program's name) and returns the exit
// code.
func Main(ctx context.Context, args []string, std *IO) int {
	var cmds commands
	exit := -1
	given := newSettings()
	parser, err := kong.New(&cmds,
		kong.Name("agentidp"),
		kong.Description("Identity provider for AI agents and CI workflows: a CI's OIDC token in, a short-lived access token out."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(std.Out, std.Err),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
		kong.Vars{"version": versionText()},
		values(),
		given.options(),
	)
	if err != nil {
		fmt.Fprintln(std.Err, "agentidp:", err)
		return exitFailed
	}
	given.take(parser.Model.Node)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if exit >= 0 { // --help, --version
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

// complain prints an error once, whole.
func complain(std *IO, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(std.Err, "agentidp:", printable(strings.TrimRight(line, "\n")))
	}
}

// report complains and chooses the exit code.
func report(std *IO, err error) int {
	complain(std, err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status >= 400 && e.Status < 500 {
		return exitRefused
	}
	if e, ok := errors.AsType[*agentidp.Error](err); ok && e.Kind == agentidp.Invalid {
		return exitUsage
	}
	return exitFailed
}
