package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// maxHint bounds what is said about a repair, in bytes: it is stored with the decision.
const maxHint = 2000

// A plan is how one policy would come to grant what was refused.
type plan struct {
	*Compiled
	spec    agentidp.TrustPolicySpec // with the repairs
	failed  []string                 // the checks
	copied  bool                     // the repairs are made in a copy
	repairs []agentidp.Repair
	weight  int      // how much is changed, and let in besides
	hints   []string // what is let in besides
	never   []string // why there is no such repair
}

// nearestMiss returns the policy that came closest to granting what was refused, with the
// smallest change after which it would have: the one whose parts together let in the least
// besides. It need not be the policy that answers the caller: that is the one which got
// furthest in the order of the conditions, and may fail all that follow. Of more than
// maxTraced policies those are looked at that fail the fewest conditions.
func nearestMiss(candidates []*Compiled, r *request) *agentidp.Miss {
	var closest []*Compiled
	for _, c := range candidates {
		if concerns(c, r) && isFor(c, r) {
			closest = append(closest, c)
		}
	}
	if len(closest) == 0 {
		return newPolicy(candidates, r)
	}
	closest = fewestFailures(closest, r)
	var best *plan
	for _, c := range closest {
		if p := mended(c, r); best == nil || p.better(best) {
			best = p
		}
	}
	return best.miss(best.Policy.ID, r)
}

// fewestFailures returns at most maxTraced of the policies.
func fewestFailures(policies []*Compiled, r *request) []*Compiled {
	if len(policies) <= maxTraced {
		return policies
	}
	failed := make(map[*Compiled]int, len(policies))
	for _, c := range policies {
		failed[c] = len(failures(c, r))
	}
	slices.SortFunc(policies, func(a, b *Compiled) int {
		return cmp.Or(cmp.Compare(failed[a], failed[b]), cmp.Compare(a.Policy.ID, b.Policy.ID))
	})
	return policies[:maxTraced]
}

// isFor reports whether a policy is for this caller and agent at all, so that something in
// it can be changed to let the caller in: provider, repository and agent never change. One
// that knows the repository by its pin alone, under another owner, is for the former name.
func isFor(c *Compiled, r *request) bool {
	transferred := !c.byClaims && c.repository != r.repository && c.Policy.Pinned != nil && c.Policy.Pinned.RepositoryOwnerID != r.Claims.RepositoryOwnerID
	return c.Policy.Provider == r.Claims.Provider && c.Policy.AgentID == r.AgentID && c.names(r) && (!c.byClaims || c.identified(r)) && !transferred
}

// failures returns the names of the conditions that do not hold.
func failures(c *Compiled, r *request) []string {
	failed := []string{}
	for i := range conditions {
		if !conditions[i].holds(c, r) {
			failed = append(failed, conditions[i].name)
		}
	}
	return failed
}

// better reports whether p is the smaller repair; of equal ones, that of the policy which
// got further counts.
func (p *plan) better(other *plan) bool {
	return cmp.Or(cmp.Compare(p.weight, other.weight), cmp.Compare(other.got(), p.got()), cmp.Compare(p.Policy.ID, other.Policy.ID)) < 0
}

// got is how far the policy gets.
func (p *plan) got() int {
	return slices.IndexFunc(conditions, func(cond comparison) bool { return cond.name == p.failed[0] })
}

// mended plans the repair of one policy.
func mended(c *Compiled, r *request) *plan {
	p := &plan{Compiled: c, spec: c.Policy.TrustPolicySpec, failed: failures(c, r)}
	p.spec.Claims = maps.Clone(p.spec.Claims)
	p.copied = p.mustCopy(r)
	for _, name := range p.failed {
		mends[name](p, r)
	}
	if p.copied && p.Policy.Bootstrap() {
		p.say(0, "The copy may register as many agents again as the policy may.")
	}
	return p
}

// mustCopy reports whether the repairs belong into a copy of the policy. What has a single
// value would be taken from those who pass by it now. A list takes one value more; but two
// lists, or a list and what keeps the policy from granting at all, would let in what has
// one and not the other, too.
func (p *plan) mustCopy(r *request) bool {
	lists, others := 0, 0
	for _, name := range p.failed {
		switch name {
		case checkRefType, checkRef, checkEnvironment, checkWorkflow:
			return true
		case checkClaims:
			for i := range p.claims {
				if p.claims[i].holds(r) {
					continue
				}
				if got, _ := r.Claims.Read(p.claims[i].name); got == "" {
					return true
				}
				lists++
			}
		case checkEvent, checkScope, checkAudience:
			lists++
		case checkMode, checkExpiry, checkRepositoryID, checkRepositoryOwnerID:
			others++
		}
	}
	return lists > 0 && lists+others > 1
}

func (p *plan) repair(action agentidp.RepairAction, field string, value any) {
	repair := agentidp.Repair{Action: action, Field: field}
	switch action {
	case agentidp.RepairAdd, agentidp.RepairSet, agentidp.RepairUnset:
		repair.Copy = p.copied
	}
	if value != nil {
		repair.Value = jsonOf(value)
	}
	p.repairs = append(p.repairs, repair)
}

// say notes what a part of the repair weighs and lets in besides; giveUp, that there is
// none, and why.
func (p *plan) say(weight int, format string, args ...any) {
	p.weight += weight
	p.hints = append(p.hints, fmt.Sprintf(format, args...))
}

func (p *plan) giveUp(weight int, format string, args ...any) {
	p.weight += weight
	p.never = append(p.never, fmt.Sprintf(format, args...))
}

// miss tells the plan. What it says was tried: the policy with the repairs is one that can
// be saved, and it grants.
func (p *plan) miss(policyID string, r *request) *agentidp.Miss {
	if len(p.never) == 0 {
		p.try(r)
	}
	m := &agentidp.Miss{PolicyID: policyID, Failed: p.failed, Repairs: p.repairs}
	hints := p.hints
	if len(p.never) > 0 {
		m.Repairs, hints = nil, p.never
	}
	if m.Repairs == nil {
		m.Repairs = []agentidp.Repair{}
	}
	m.Hint = clip(strings.Join(hints, " "), maxHint)
	return m
}

// try holds the exchange against the policy with its repairs, as it would be after them.
func (p *plan) try(r *request) {
	kind := r.Claims.Kind
	repaired := *p.Policy
	for _, bad := range Validate(&p.spec, kind, r.Now) {
		if bad.Field != "acceptRisk" {
			p.giveUp(weightNever, "No policy can say what this run has: %s %s", bad.Field, bad.Reason)
			return
		}
		p.repair(agentidp.RepairSet, bad.Field, nil)
		p.say(0, "The policy takes acceptRisk, a reason why it is right that outsiders can start these runs; a further condition (environment, workflow, claims) is better.")
	}
	repaired.TrustPolicySpec = Normalize(p.spec, kind)
	in := *r.Input
	for _, repair := range p.repairs {
		switch {
		case repair.Action == agentidp.RepairRepin:
			repaired.Pinned = nil
		case repair.Action == agentidp.RepairReactivate:
			agent := *in.Agent
			agent.Status, in.Agent = agentidp.AgentActive, &agent
		case repair.Action == agentidp.RepairRequest && repair.Field == "scope":
			in.Scopes = nil
		case repair.Action == agentidp.RepairRequest:
			in.Audience = ""
		}
	}
	changed := &request{Input: &in, repository: r.repository}
	if left := failures(Compile(&repaired, kind), changed); len(left) > 0 {
		p.giveUp(weightNever, "No change of this policy was found that lets this run in; what it fails besides: %s.", strings.Join(left, ", "))
	}
}

func jsonOf(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("policy: %T as JSON: %v", v, err)) // texts, lists of texts and instants cannot fail
	}
	return data
}
