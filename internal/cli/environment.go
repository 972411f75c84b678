package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/nearest"
)

const prefix = "AGENTIDP_"

// notFlags are the variables that are settings without a flag, because the process
// list shows flags, or by which scripts and clients know a server.
var notFlags = []string{"AGENTIDP_MASTER_KEY", "AGENTIDP_SERVER", "AGENTIDP_TOKEN", "AGENTIDP_TOKEN_FILE"}

// notOurs are variables that begin like a setting and are none: those of tests,
// and those that Kubernetes sets in every pod beside a Service called agentidp
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var notOurs = regexp.MustCompile(`^AGENTIDP_((TEST|BENCH|REQUIRE)_` +
	`|(\w+_)?SERVICE_(HOST|PORT|PORT_\w+)=` +
	`|(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://` +
	`|(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=)`)

// checkEnvironment refuses variables that look like settings and are none: a
// setting with a typing error would be silently left at its default. Values are
// not repeated.
func checkEnvironment(model *kong.Node, environ []string) error {
	known := slices.Concat(notFlags, variables(model))
	var errs []error
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, prefix) || notOurs.MatchString(variable) || slices.Contains(known, name) {
			continue
		}
		remedy := "agentidp serve --help names all"
		if n, ok := nearest.Name(name, known); ok {
			remedy = "did you mean " + n + "?"
		}
		errs = append(errs, fmt.Errorf("%s: there is no such setting; %s", name, remedy))
	}
	return errors.Join(errs...)
}

// variables returns the environment variables of all flags of a command and of
// those below it.
func variables(node *kong.Node) []string {
	var names []string
	for _, flag := range node.Flags {
		names = append(names, flag.Envs...)
	}
	for _, child := range node.Children {
		names = append(names, variables(child)...)
	}
	return names
}
