// Command secretscan runs a command and looks for secrets in all that it prints: in
// its output, and in the logs that servers in its tests leave in $SECRETSCAN_DIR
// (internal/printed). It ends with the command's exit code, or with 1 if there was a
// secret, and says where, never what.
//
// The output of go test -json is shown as go test shows it: a line for each package,
// and what failing tests said.
//
// usage: secretscan [-logs N] COMMAND…
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/sentryagent/agentidp/internal/printed"
)

func main() {
	logs := flag.Int("logs", 0, "fail if fewer logs of servers were left: they would not have been scanned")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code, err := run(ctx, flag.Args(), *logs, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "secretscan:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run runs the command and returns its exit code. An error is a finding, or says why
// there could be no scan.
func run(ctx context.Context, command []string, logs int, out, errOut io.Writer) (code int, err error) {
	dir, err := os.MkdirTemp("", "secretscan-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &scan{}
	output, complaints := newReader(s, out), newReader(s, errOut)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the command of whoever runs the scan
	cmd.Env = append(os.Environ(), printed.Folder+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, output, complaints
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second // a program that a test left running has the output too, and nobody waits for it
	err = cmd.Run()
	output.end()
	complaints.end()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = max(exit.ExitCode(), 1), nil
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return 1, err
	}
	left, err := s.folder(dir)
	if err != nil {
		return code, err
	}
	if err := s.report(); err != nil {
		return code, err
	}
	if left < logs {
		return code, fmt.Errorf("%d logs of servers were left in $%s, and there should be %d: what they print is not scanned", left, printed.Folder, logs)
	}
	fmt.Fprintf(out, "secretscan: no secret in %d lines of output and %d logs of servers; %d values were looked for\n", s.lines, left, len(s.secrets))
	return code, nil
}
