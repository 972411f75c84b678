// Command agentidp is an identity provider for AI agents and CI workflows.
package main

import (
	"os"

	"github.com/sentryagent/agentidp/internal/cli"
)

func main() { os.Exit(cli.Process()) }
