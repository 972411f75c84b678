package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// maxNamed is how many agents a hint names.
const maxNamed = 5

// newPolicy is nearestMiss where no policy is for the caller and its agent: one is to be
// created, which says of the run what a policy can say.
func newPolicy(candidates []*Compiled, r *request) *agentidp.Miss {
	if r.AgentID != "" && !agentidp.IsID(r.AgentID) {
		return notAnID(candidates, r)
	}
	p := &plan{failed: []string{}, spec: agentidp.TrustPolicySpec{Provider: r.Claims.Provider, AgentID: r.AgentID}}
	if r.AgentID != "" {
		p.spec.Scopes = slices.Clone(r.Scopes)
	}
	if r.isWorkload() {
		p.nameWorkload(r)
	} else {
		p.nameRepository(r)
	}
	stored := &agentidp.TrustPolicy{OrganizationID: r.Organization.ID, TrustPolicySpec: Normalize(p.spec, r.Claims.Kind), Pinned: pinOf(candidates, r)}
	p.Compiled = Compile(stored, r.Claims.Kind)

	asking := *r.Input
	asking.Agent = supposed(candidates, r)
	r = &request{Input: &asking, repository: r.repository}
	for _, name := range failures(p.Compiled, r) {
		switch mend := mends[name]; {
		case len(p.never) > 0 || mend == nil: // of the latter try tells
		case (name == checkPinnedID || name == checkPinnedOwnerID) && stored.Pinned != nil:
			p.giveUp(weightNever, "The name %s is pinned to another repository or owner (%s, %s) than this run has (%s, %s). If this one is right, repin by one of the policies of that name, then create one for it.",
				plain(r.Claims.Repository), stored.Pinned.RepositoryID, stored.Pinned.RepositoryOwnerID, plain(r.Claims.RepositoryID), plain(r.Claims.RepositoryOwnerID))
		default:
			mend(p, r)
		}
	}
	p.create(candidates, r)
	return p.miss("", r)
}

// nameRepository says whose the run is by name and numbers, so that nobody else gets in by
// taking the name, and its ref, environment and event.
func (p *plan) nameRepository(r *request) {
	c := r.Claims
	p.spec.Repository, p.spec.RepositoryID, p.spec.RepositoryOwnerID = c.Repository, c.RepositoryID, c.RepositoryOwnerID
	p.spec.Environment = c.Environment
	if c.Kind == nil || !slices.Contains(c.Kind.DefaultEvents, c.Event) {
		p.spec.Events = []string{c.Event}
	}
	if branch, ok := strings.CutPrefix(c.Ref, branchPrefix); ok && c.RefType == refTypeBranch && !strings.HasPrefix(branch, mergeQueueBranch) {
		p.spec.Branch = branch
	}
	if tag, ok := strings.CutPrefix(c.Ref, tagPrefix); ok && c.RefType == refTypeTag && !strings.Contains(tag, "*") {
		p.spec.Tag = tag
	}
}

// nameWorkload says whose the token is by the claims that identify it.
func (p *plan) nameWorkload(r *request) {
	p.spec.Claims = agentidp.ClaimConditions{}
	for _, name := range r.Claims.Kind.IdentityClaims {
		if value, ok := r.Claims.Read(name); ok {
			p.spec.Claims[name] = agentidp.ClaimValues{value}
		}
	}
}

// pinOf is the pin that the repository's name has, as far as its policies tell: they share
// it.
func pinOf(candidates []*Compiled, r *request) *agentidp.Pin {
	var first *Compiled
	for _, c := range candidates {
		of := concerns(c, r) && c.Policy.Provider == r.Claims.Provider && c.repository != "" && c.repository == r.repository
		if of && (first == nil || c.Policy.ID < first.Policy.ID) {
			first = c
		}
	}
	if first == nil {
		return nil
	}
	return first.Policy.Pinned
}

// supposed is the agent that was asked for. Where no policy names it nobody has looked for
// it, so that an unknown agent costs the same as a known one: then it is supposed to be
// there.
func supposed(candidates []*Compiled, r *request) *agentidp.Agent {
	named := func(c *Compiled) bool { return concerns(c, r) && c.Policy.AgentID == r.AgentID }
	if r.Agent != nil || r.AgentID == "" || slices.ContainsFunc(candidates, named) {
		return r.Agent
	}
	agent := &agentidp.Agent{AgentID: r.AgentID, OrganizationID: r.Organization.ID, Status: agentidp.AgentActive}
	agent.Capabilities = r.Scopes
	return agent
}

// notAnID is nearestMiss where what was asked for can be no agent's id: no policy can be for
// it, so nothing is proposed but to ask for another.
func notAnID(candidates []*Compiled, r *request) *agentidp.Miss {
	hints := append([]string{fmt.Sprintf("The agentId of the request, %s, is none: it is the id that agent create and agent list show, 36 characters in lower case with hyphens, not a name. Correct it in the workflow.", plain(r.AgentID))}, othersOf(candidates, r)...)
	return &agentidp.Miss{
		Failed: []string{}, Repairs: []agentidp.Repair{{Action: agentidp.RepairRequest, Field: "agentId"}},
		Hint: clip(strings.Join(hints, " "), maxHint),
	}
}

// othersOf says for what else the caller has policies. More often than a policy is missing,
// the request names the wrong agent.
func othersOf(candidates []*Compiled, r *request) []string {
	var agents []string
	registers := false
	for _, c := range candidates {
		switch of := concerns(c, r) && (c.byClaims && c.identified(r) || !c.byClaims && c.names(r)); {
		case !of || c.Policy.AgentID == r.AgentID:
		case c.Policy.Bootstrap():
			registers = true
		default:
			agents = append(agents, c.Policy.AgentID)
		}
	}
	slices.Sort(agents)
	agents = slices.Compact(agents)
	check, other := "Check the id", "other "
	if r.AgentID == "" {
		check, other = "Check whether the request lacks an agentId", ""
	}
	var said []string
	switch n := len(agents); {
	case n == 1:
		said = append(said, fmt.Sprintf("%s: policies of this %s are for one %sagent (%s).", check, r.caller(), other, agents[0]))
	case n > 1:
		named, more := agents[:min(n, maxNamed)], ""
		if n > maxNamed {
			more = fmt.Sprintf(" and %d more", n-maxNamed)
		}
		said = append(said, fmt.Sprintf("%s: policies of this %s are for %d %sagents (%s%s).", check, r.caller(), n, other, strings.Join(named, ", "), more))
	}
	if registers {
		said = append(said, fmt.Sprintf("A policy lets this %s register agents: perhaps the request was to name no agentId.", r.caller()))
	}
	return said
}

// create ends the plan of a new policy.
func (p *plan) create(candidates []*Compiled, r *request) {
	grants := "lets it register agents"
	if r.AgentID != "" {
		grants = "gives it tokens for the agent that it names, if there is such an agent"
	}
	said := append(othersOf(candidates, r), fmt.Sprintf("No policy is for this %s and what it asks for. The new one %s. Create it only if you know the %s: anybody's can ask.", r.caller(), grants, r.caller()))
	switch {
	case p.spec.Branch != "":
		said = append(said, "It lets in whoever may push to the branch "+plain(p.spec.Branch)+".")
	case p.spec.Tag != "":
		said = append(said, "It lets in whoever may push the tag "+plain(p.spec.Tag)+".")
	}
	if kind := r.Claims.Kind; kind != nil && kind.OutsiderEvent[r.Claims.Event].Why != "" {
		said = append(said, fmt.Sprintf("It also lets in outsiders, who can cause the event %s: %s.", plain(r.Claims.Event), strings.TrimSuffix(kind.OutsiderEvent[r.Claims.Event].Why, ".")))
	}
	p.hints = append(said, p.hints...)
	p.repairs = append([]agentidp.Repair{{Action: agentidp.RepairCreate, Value: jsonOf(&p.spec)}}, p.withoutFields()...)
}

// withoutFields are the repairs that are not of fields, which create says.
func (p *plan) withoutFields() []agentidp.Repair {
	return slices.DeleteFunc(p.repairs, func(repair agentidp.Repair) bool {
		return slices.Contains([]agentidp.RepairAction{agentidp.RepairAdd, agentidp.RepairSet, agentidp.RepairUnset}, repair.Action)
	})
}
