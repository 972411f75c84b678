package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// claimCondition is that one claim matches one of some values.
type claimCondition struct {
	name   string
	values []string
	exact  bool // * is nothing but a star
}

// compileClaims leaves those exact that say whose the tokens are: two workloads whose
// names are alike are two.
func compileClaims(claims agentidp.ClaimConditions, kind *agentidp.ProviderKind) []claimCondition {
	if len(claims) == 0 {
		return nil
	}
	conditions := make([]claimCondition, 0, len(claims))
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		exact := kind == nil || slices.Contains(kind.IdentityClaims, name)
		conditions = append(conditions, claimCondition{name, claims[name], exact})
	}
	return conditions
}

func (c *claimCondition) holds(r *request) bool {
	value, ok := r.Claims.Read(c.name)
	return ok && c.permits(value)
}

// permits holds a value against all of the claim's: an empty one is met by none, not even
// by a star.
func (c *claimCondition) permits(value string) bool {
	switch {
	case value == "":
		return false
	case c.exact:
		return slices.Contains(c.values, value)
	}
	return slices.ContainsFunc(c.values, func(pattern string) bool { return Glob(pattern, value) })
}

// identifies reports whether a claim tells the caller from everybody else.
func (r *request) identifies(claim string) bool {
	return r.Claims.Kind != nil && slices.Contains(r.Claims.Kind.IdentityClaims, claim)
}

// identified reports whether a policy without a repository is about the caller: it
// names at least one of the claims that identify the caller, and these are as it says.
func (c *Compiled) identified(r *request) bool {
	named := false
	for i := range c.claims {
		if !r.identifies(c.claims[i].name) {
			continue
		}
		if !c.claims[i].holds(r) {
			return false
		}
		named = true
	}
	return named
}

// unmet returns the names of the claims whose conditions do not hold.
func (c *Compiled) unmet(r *request) []string {
	var unmet []string
	for i := range c.claims {
		if !c.claims[i].holds(r) {
			unmet = append(unmet, c.claims[i].name)
		}
	}
	return unmet
}

func (c *Compiled) meetsClaims(r *request) bool {
	for i := range c.claims {
		if !c.claims[i].holds(r) {
			return false
		}
	}
	return true
}

// traceClaims is trace for the comparisons that show does not say: the workflow, the
// expression, the claims that identify the caller of a policy without a repository, and
// all others.
func traceClaims(checks []agentidp.Check, name string, c *Compiled, r *request) []agentidp.Check {
	switch name {
	case checkWorkflow:
		return traceWorkflow(checks, c, r)
	case checkCondition:
		return traceCondition(checks, c, r)
	}
	before := len(checks)
	for i := range c.claims {
		if (name == checkIdentity) == (c.byClaims && r.identifies(c.claims[i].name)) {
			checks = append(checks, c.claims[i].check(name, c, r))
		}
	}
	if name == checkIdentity && c.byClaims && len(checks) == before {
		checks = append(checks, agentidp.Check{PolicyID: c.Policy.ID, Check: name, Expected: "a repository, or a claim that identifies the caller", Got: "neither in the policy"})
	}
	return checks
}

func (c *claimCondition) check(name string, of *Compiled, r *request) agentidp.Check {
	got, _ := r.Claims.Read(c.name)
	return agentidp.Check{
		PolicyID: of.Policy.ID, Check: name, Claim: c.name,
		Expected: clip(besideCase(strings.Join(c.values, " or "), got, c.values...), maxShown), Got: clip(got, maxShown), OK: c.holds(r),
	}
}

// besideCase adds to what is expected that nothing but case keeps what came from being one
// of the values: that is easily overlooked.
func besideCase(expected, got string, values ...string) string {
	if slices.Contains(values, got) || !slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, got) }) {
		return expected
	}
	return expected + " (only upper and lower case differ)"
}
