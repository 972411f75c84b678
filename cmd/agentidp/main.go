// Command agentidp is an identity provider for AI agents and CI workflows.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sentryagent/agentidp/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Std())
	stop()
	os.Exit(code)
}
