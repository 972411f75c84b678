package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const maxAcceptRiskLength = 500 // characters

// reachable returns the events of a policy that start a run for one of the repository's
// own branches although somebody without any right in it caused them.
func reachable(events []string, kind *agentidp.ProviderKind) []string {
	var outsiders []string
	for _, event := range events {
		if kind != nil && kind.OutsiderEvent[event].ForkReachable {
			outsiders = append(outsiders, event)
		}
	}
	return outsiders
}

// guarded reports whether a policy says more of the runs than whose they are, for which
// ref and by which event.
func guarded(spec *agentidp.TrustPolicySpec) bool {
	return spec.Environment != "" || spec.Workflow != "" || len(spec.Claims) > 0 || spec.Condition != ""
}

// acceptRisk demands a reason of who trusts the runs that outsiders start, and nothing
// else of them. A policy that is disabled trusts nobody: turning one off needs no reason.
func (p *problems) acceptRisk(spec *agentidp.TrustPolicySpec, kind *agentidp.ProviderKind) {
	const field = "acceptRisk"
	reason := spec.AcceptRisk
	switch {
	case reason == "":
		outsiders := reachable(spec.Events, kind)
		if len(outsiders) == 0 || guarded(spec) || spec.Mode == agentidp.ModeDisabled {
			return
		}
		p.add(field, "is required: outsiders can start the runs that this policy trusts. %s. Leave that out of events, or name the environment or workflow that stands between, or say here in one line why the risk is right.",
			whyReachable(outsiders, kind))
	case !utf8.ValidString(reason):
		p.add(field, "is not valid UTF-8.")
	case utf8.RuneCountInString(reason) > maxAcceptRiskLength:
		p.add(field, "is longer than %d characters. Say in one line why the risk is right.", maxAcceptRiskLength)
	case strings.ContainsFunc(reason, isControl):
		p.add(field, "contains control characters or line breaks. Write it on one line.")
	case strings.TrimFunc(reason, isInvisible) != reason:
		p.add(field, "begins or ends with white space or an invisible character. Write the reason alone, or leave acceptRisk out.")
	}
}

// whyReachable says of some events who can cause them.
func whyReachable(events []string, kind *agentidp.ProviderKind) string {
	const most = 3
	reasons := make([]string, 0, most+1)
	for _, event := range events[:min(len(events), most)] {
		reasons = append(reasons, event+": "+strings.TrimSuffix(kind.OutsiderEvent[event].Why, "."))
	}
	if more := len(events) - most; more > 0 {
		reasons = append(reasons, fmt.Sprintf("And %d more such events", more))
	}
	return strings.Join(reasons, ". ")
}
