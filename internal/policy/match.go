package policy

import (
	"time"

	"github.com/sentryagent/agentidp"
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

	// Provisional says that a refusal is not told to anybody, so that nothing is said of it,
	// not even its error: what the exchange is held against may be of yesterday, and will be
	// read again first.
	Provisional bool
}

// Outcome is what the policies say about one exchange. Scopes, Audience and TTL
// are set if and only if it was granted, Err if and only if it was not (but see
// Provisional).
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
	keeps      bool   // verdicts; the Input then stays as it is
	verdicts   map[*Compiled]verdict
}

// Match holds an exchange against candidates: the policies of the token's
// provider whose repository name is the token's (where it has none, those without
// one), and those of other names that are pinned to the token's repository id. The order of candidates is without
// effect. Of several that grant, the one with the lowest id does; of several
// that refuse, the one that got furthest answers.
func Match(candidates []*Compiled, in *Input) Outcome {
	r := &request{Input: in, repository: agentidp.FoldRepository(in.Claims.Repository), keeps: true}
	var granting *Compiled
	var others stopped
	shadowed := false
	for _, c := range candidates {
		if !concerns(c, r) {
			continue
		}
		switch failed := firstFailure(c, r); {
		case failed < len(conditions):
			others.add(attempt{c, failed})
			shadowed = shadowed || c.Policy.Mode == agentidp.ModeShadow
		case granting == nil || c.Policy.ID < granting.Policy.ID:
			granting = c
		}
	}
	if granting == nil && in.Provisional {
		return Outcome{}
	}
	var inShadow []attempt
	if shadowed {
		inShadow = shadows(candidates, r)
	}
	if granting == nil {
		out := refuse(&others, r, inShadow)
		out.tell(inShadow, r)
		out.Nearest = nearestMiss(candidates, r)
		return out
	}
	out := Outcome{
		Policy:   granting.Policy,
		Granted:  true,
		Scopes:   in.Scopes,
		Audience: in.Audience,
		TTL:      granting.ttl(in),
		Checks:   traceGrant(granting, &others, r, inShadow),
	}
	if len(out.Scopes) == 0 {
		out.Scopes = granting.scopes(in.Agent)
	}
	if out.Audience == "" {
		out.Audience = granting.audience(in.Organization)
	}
	out.tell(inShadow, r)
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

// refuse is what no candidate grants.
func refuse(others *stopped, r *request, shadows []attempt) Outcome {
	if others.n == 0 {
		return Outcome{Checks: []agentidp.Check{}, Err: refusal(agentidp.CodeTrustPolicyViolation, r, nil)}
	}
	furthest := others.furthest[0]
	return Outcome{
		Policy: furthest.Policy,
		Checks: traceRefusal(others, r, shadows),
		Err:    refusal(conditions[furthest.failed].code, r, furthest.Compiled),
	}
}
