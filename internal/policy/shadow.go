package policy

import (
	"slices"

	"github.com/sentryagent/agentidp"
)

// maxShadows bounds how many policies in shadow mode a decision tells of.
const maxShadows = 10

// shadows returns the candidates in shadow mode that are policies for this exchange, each
// with how far it would have got in mode enforce: at most maxShadows, the furthest first.
// Nobody grants or refuses by them.
func shadows(candidates []*Compiled, r *request) []attempt {
	var found []attempt
	for _, c := range candidates {
		if c.Policy.Mode != agentidp.ModeShadow || !concerns(c, r) {
			continue
		}
		failed := firstFailureInForce(c, r)
		if failed < len(conditions) && conditions[failed].code == agentidp.CodeTrustPolicyViolation {
			continue // it has expired, or is for others
		}
		found = append(found, attempt{c, failed})
	}
	slices.SortFunc(found, attempt.compare)
	return found[:min(len(found), maxShadows)]
}

// firstFailureInForce is firstFailure of a policy as though its mode were enforce.
func firstFailureInForce(c *Compiled, r *request) int {
	for i := range conditions {
		if conditions[i].name != checkMode && !conditions[i].holds(c, r) {
			return i
		}
	}
	return len(conditions)
}

// tell adds the shadows to what is said about an exchange: what each would have done,
// and all of its checks.
func (o *Outcome) tell(shadows []attempt, r *request) {
	for _, s := range shadows {
		told := agentidp.Shadow{PolicyID: s.Policy.ID, Allowed: s.failed == len(conditions)}
		if !told.Allowed {
			told.Code = conditions[s.failed].code
		}
		o.Shadow = append(o.Shadow, told)
		o.Checks = trace(o.Checks, s.Compiled, r)
	}
}

// isAmong reports whether a candidate is one of the attempts.
func (c *Compiled) isAmong(attempts []attempt) bool {
	return slices.ContainsFunc(attempts, func(a attempt) bool { return a.Compiled == c })
}
