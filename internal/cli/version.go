package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Help is shown by version --help.
func (versionCmd) Help() string {
	return `The module's version, or devel, and what it was built with and for.

Example:
  agentidp version`
}

// Run prints the version.
func (versionCmd) Run(std *IO) error {
	fmt.Fprintln(std.Out, versionText())
	return nil
}

func versionText() string {
	return fmt.Sprintf("agentidp %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version is the module's version as the Go tool recorded it: a release's tag,
// or "devel" for a build from a working tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
