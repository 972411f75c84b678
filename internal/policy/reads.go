package policy

import (
	"slices"

	"github.com/sentryagent/agentidp"
)

// Grants reports whether Match would grant an exchange, and costs no trace: for those who
// ask of many.
func Grants(candidates []*Compiled, in *Input) bool {
	r := &request{Input: in, repository: agentidp.FoldRepository(in.Claims.Repository)}
	for _, c := range candidates {
		if concerns(c, r) && firstFailure(c, r) == len(conditions) {
			return true
		}
	}
	return false
}

// Reads returns the claims on which a policy has conditions of its own, beside those that
// say which repository, ref and event it is about: by the provider's names, sorted. kind
// is that with which it was compiled.
func (c *Compiled) Reads(kind *agentidp.ProviderKind) []string {
	var reads []string
	for i := range c.claims {
		reads = append(reads, c.claims[i].name)
	}
	if kind != nil && c.Policy.Environment != "" {
		reads = append(reads, kind.ClaimNames[agentidp.ClaimEnvironment])
	}
	if kind != nil && c.Policy.Workflow != "" {
		reads = append(reads, kind.ClaimNames[agentidp.ClaimJobWorkflowRef])
	}
	if c.expression != nil {
		if e, err := c.expression(); err == nil {
			reads = append(reads, e.Claims()...)
		}
	}
	slices.Sort(reads)
	return slices.Compact(reads)
}
