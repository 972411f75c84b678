package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// hinted is an error and what to do next, in a line of its own.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// complain prints an error once, whole.
func complain(std *IO, err error) {
	for _, line := range sentences(err) {
		fmt.Fprintln(std.Err, "agentidp:", printable(line))
	}
}

// sentences are the lines in which an error is told. Of a server's refusal these are
// its reason, then the bad fields and the caller's own claims, one a line, and then
// what to do where that is not the server's to know.
func sentences(err error) []string {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, err := range several.Unwrap() {
			lines = append(lines, sentences(err)...)
		}
		return lines
	}
	if h, ok := errors.AsType[hinted](err); ok {
		return append(sentences(h.error), h.hint)
	}
	e, ok := errors.AsType[*client.Error](err)
	doing, whole := "", false
	if ok {
		doing, whole = strings.CutSuffix(err.Error(), e.Error())
	}
	if !whole {
		return strings.Split(strings.TrimSuffix(err.Error(), "\n"), "\n")
	}
	lines := append([]string{doing + reason(e)}, particulars(e)...)
	switch {
	case e.DecisionID != "":
		lines = append(lines, "Why, in full, is for administrators to read: agentidp policy explain "+e.DecisionID)
	case e.Status == 401 && e.Code != "" && !strings.Contains(doing, "subject token"):
		lines = append(lines, "A new access token is made on the server's machine: export AGENTIDP_TOKEN=$(agentidp admin token)")
	}
	return lines
}

// reason is the server's message, and in parentheses what finds the case.
func reason(e *client.Error) string {
	bare := *e
	bare.Details, bare.Claims = nil, nil
	return bare.Error()
}

// particulars are the fields and claims that the message does not say already.
func particulars(e *client.Error) []string {
	var lines []string
	for _, d := range e.Details {
		if !strings.Contains(e.Message, d.Field+" "+d.Reason) {
			lines = append(lines, "  "+d.Field+": "+d.Reason)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Claims)) {
		if !strings.Contains(e.Message, name+" "+e.Claims[name]) {
			lines = append(lines, fmt.Sprintf("  %s = %q", name, e.Claims[name]))
		}
	}
	return lines
}

// report complains and chooses the exit code.
func report(std *IO, err error) int {
	if _, ok := errors.AsType[pendingError](err); ok {
		return exitPending
	}
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
