package policy

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

// maxTraced bounds how many candidates a refusal is traced for, and maxShown
// the bytes of each value in it: decisions are stored, and what they hold comes
// partly from the caller.
const (
	maxTraced = 20
	maxShown  = 300
)

// Input is one exchange as far as policies are concerned.
type Input struct {
	Claims       *agentidp.Claims // proven
	AgentID      string           // "": bootstrap
	Agent        *agentidp.Agent  // the agent called AgentID, or nil
	Scopes       []string         // asked for; none: all that is permitted
	Audience     string           // asked for; "": the default
	Organization *agentidp.Organization
	Now          time.Time
	AgentTTL     time.Duration // life of tokens where the policy names none
	BootstrapTTL time.Duration
}

// Outcome is what the policies say about one exchange. Scopes, Audience and TTL
// are set if and only if it was granted, Err if and only if it was not.
type Outcome struct {
	Policy   *agentidp.TrustPolicy // the one that grants, or else the one that got furthest; nil where there is none
	Granted  bool
	Scopes   []string // may be empty: then the token carries no scope
	Audience string
	TTL      time.Duration
	Checks   []agentidp.Check // for administrators only, as all that follows but Err
	Nearest  *agentidp.Miss   // of a refusal
	Shadow   []agentidp.Shadow
	Err      *agentidp.Error
}

// request is an Input with what all candidates need of it.
type request struct {
	*Input
	repository string // folded
}

// Match holds an exchange against candidates: the policies of the token's
// provider whose repository name is the token's (where it has none, those without
// one), and those of other names that are pinned to the token's repository id. The order of candidates is without
// effect. Of several that grant, the one with the lowest id does; of several
// that refuse, the one that got furthest answers.
func Match(candidates []*Compiled, in *Input) Outcome {
	r := &request{Input: in, repository: agentidp.FoldRepository(in.Claims.Repository)}
	var granting *Compiled
	for _, c := range candidates {
		if (granting == nil || c.Policy.ID < granting.Policy.ID) && concerns(c, r) && firstFailure(c, r) == len(conditions) {
			granting = c
		}
	}
	shadows := shadows(candidates, r)
	if granting == nil {
		out := refuse(candidates, r, shadows)
		out.tell(shadows, r)
		return out
	}
	out := Outcome{
		Policy:   granting.Policy,
		Granted:  true,
		Scopes:   in.Scopes,
		Audience: in.Audience,
		TTL:      granting.ttl(in),
		Checks:   trace(make([]agentidp.Check, 0, len(conditions)), granting, r),
	}
	if len(out.Scopes) == 0 {
		out.Scopes = granting.scopes(in.Agent)
	}
	if out.Audience == "" {
		out.Audience = granting.audience(in.Organization)
	}
	out.tell(shadows, r)
	return out
}

// concerns reports whether a policy is of the caller's organization. One of
// another is neither matched nor traced: this organization's administrators
// must not see it.
func concerns(c *Compiled, r *request) bool {
	return c.Policy.OrganizationID == r.Organization.ID
}

// firstFailure returns how far a candidate gets: the index of the first
// condition that does not hold, or len(conditions) where all do.
func firstFailure(c *Compiled, r *request) int {
	for i := range conditions {
		if !conditions[i].holds(c, r) {
			return i
		}
	}
	return len(conditions)
}

// refuse is what no candidate grants. The trace leaves room for that of the shadows,
// which is told apart from it.
func refuse(candidates []*Compiled, r *request, shadows []attempt) Outcome {
	attempts := make([]attempt, 0, len(candidates))
	for _, c := range candidates {
		if concerns(c, r) {
			attempts = append(attempts, attempt{c, firstFailure(c, r)})
		}
	}
	if len(attempts) == 0 {
		return Outcome{Checks: []agentidp.Check{}, Err: refusal(agentidp.CodeTrustPolicyViolation, r, nil)}
	}
	furthestFirst(attempts)
	furthest := attempts[0]
	if len(shadows) > 0 {
		attempts = slices.DeleteFunc(attempts, func(a attempt) bool { return a.isAmong(shadows) })
	}
	traced := min(len(attempts), maxTraced-len(shadows))
	checks := make([]agentidp.Check, 0, (traced+len(shadows))*len(conditions)+1)
	for _, a := range attempts[:traced] {
		checks = trace(checks, a.Compiled, r)
	}
	if more := len(attempts) - traced; more > 0 {
		checks = append(checks, agentidp.Check{
			Check:    "more_policies",
			Expected: "at most " + strconv.Itoa(maxTraced) + " policies are shown, those that got furthest first",
			Got:      strconv.Itoa(more) + " more did not grant either",
		})
	}
	return Outcome{
		Policy: furthest.Policy,
		Checks: checks,
		Err:    refusal(conditions[furthest.failed].code, r, furthest.Compiled),
	}
}

// trace appends one check for every condition that the policy has, including
// those behind the first that fails: an administrator wants to mend all at once.
func trace(checks []agentidp.Check, c *Compiled, r *request) []agentidp.Check {
	for i := range conditions {
		cond := &conditions[i]
		if cond.show == nil {
			checks = traceClaims(checks, cond.name, c, r)
			continue
		}
		expected, got := cond.show(c, r)
		if expected == "" {
			continue
		}
		checks = append(checks, agentidp.Check{
			PolicyID: c.Policy.ID,
			Check:    cond.name,
			Claim:    string(cond.claim),
			Expected: clip(expected, maxShown),
			Got:      clip(got, maxShown),
			OK:       cond.holds(c, r),
		})
	}
	return checks
}

// clip shortens s to about n bytes, at a character's edge, and says so.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
