package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// What a change weighs: more, the more it lets in besides. Only the order of their sums
// counts. A condition weighs more than any value, for nobody but its author knows what it
// keeps out.
const (
	weightRequest   = 1
	weightLittle    = 2
	weightValue     = 3
	weightRevive    = 5
	weightIdentity  = 9
	weightUnset     = 12
	weightOutsiders = 20
	weightCondition = 30
	weightNever     = 1000
)

// revivedFor is how long a policy that has expired is proposed to live on.
const revivedFor = 30 * 24 * time.Hour

// mends are how each comparison is made to hold. Those of provider, agent, repository and
// identity are not among them: a policy that fails one of these is for others.
var mends = map[string]func(p *plan, r *request){
	checkMode:              mendMode,
	checkExpiry:            mendExpiry,
	checkPinnedID:          mendPin,
	checkPinnedOwnerID:     mendPin,
	checkRepositoryID:      mendRepositoryID,
	checkRepositoryOwnerID: mendRepositoryOwnerID,
	checkAgentStatus:       mendAgent,
	checkEvent:             mendEvent,
	checkRefType:           mendRef,
	checkRef:               mendRef,
	checkEnvironment:       mendEnvironment,
	checkWorkflow:          mendWorkflow,
	checkClaims:            mendClaims,
	checkCondition:         mendCondition,
	checkScope:             mendScope,
	checkAudience:          mendAudience,
}

func mendMode(p *plan, _ *request) {
	p.spec.Mode = agentidp.ModeEnforce
	p.repair(agentidp.RepairSet, "mode", p.spec.Mode)
	if p.Policy.Mode == agentidp.ModeShadow {
		p.say(weightLittle, "The policy is in shadow mode. Enforced, it grants all that it describes, not this run alone: look at what else it would have granted.")
		return
	}
	p.say(weightRevive, "The policy is disabled. Enforced, it grants all that it describes, not this run alone: find out first why it was disabled.")
}

func mendExpiry(p *plan, r *request) {
	until := r.Now.UTC().Add(revivedFor).Truncate(24 * time.Hour)
	p.spec.ExpiresAt = &until
	p.repair(agentidp.RepairSet, "expiresAt", until)
	p.say(weightRevive, "The policy expired at %s. Until the new instant, which is yours to choose, it grants all that it describes.", p.Policy.ExpiresAt.UTC().Format(time.RFC3339))
}

func mendPin(p *plan, r *request) {
	got, pin := r.Claims, p.Policy.Pinned
	switch {
	case p.once(agentidp.RepairRepin, "") || len(p.never) > 0:
	case got.RepositoryID == "" || got.RepositoryOwnerID == "":
		p.giveUp(weightNever, "The token lacks repository_id or repository_owner_id, and without both nothing is granted, whatever a policy says.")
	default:
		p.repair(agentidp.RepairRepin, "", nil)
		p.say(weightIdentity, "%s was the repository with the id %s and the owner %s, and this run is of %s with the owner %s: it was made anew or transferred, or its name is now somebody else's. "+
			"Repin only if you know which it is: then the next accepted exchange pins whoever holds the name, for all its policies.",
			p.Policy.Repository, pin.RepositoryID, pin.RepositoryOwnerID, plain(got.RepositoryID), plain(got.RepositoryOwnerID))
	}
}

func mendRepositoryID(p *plan, r *request) {
	p.identify("repositoryId", &p.spec.RepositoryID, r.Claims.RepositoryID)
}

func mendRepositoryOwnerID(p *plan, r *request) {
	p.identify("repositoryOwnerId", &p.spec.RepositoryOwnerID, r.Claims.RepositoryOwnerID)
}

func (p *plan) identify(field string, value *string, got string) {
	p.say(weightIdentity, "The policy names %s %s, and the token has %s: the repository is another than was meant, or was made anew or transferred. Write the new one down only if you know which it is.",
		field, *value, plain(got))
	*value = got
	p.repair(agentidp.RepairSet, field, got)
}

func mendAgent(p *plan, r *request) {
	switch status := agentStatus(p.Compiled, r); status {
	case string(agentidp.AgentSuspended):
		p.repair(agentidp.RepairReactivate, "", nil)
		p.say(weightRevive, "The agent is suspended. Reactivated, it gets tokens by all its policies and credentials again: find out first why it was suspended.")
	case string(agentidp.AgentDecommissioned):
		p.giveUp(weightNever, "The agent is decommissioned, which is for good. Register another one, and create a policy for it.")
	default:
		p.giveUp(weightNever, "There is no agent of this id that could get a token (%s). Correct the id in the workflow.", status)
	}
}

func mendEvent(p *plan, r *request) {
	event := r.Claims.Event
	if event == "" {
		p.giveUp(weightNever, "The token does not say which event started the run, and nothing is granted without.")
		return
	}
	if p.copied {
		p.spec.Events = []string{event}
		p.repair(agentidp.RepairSet, "events", p.spec.Events)
	} else {
		p.spec.Events = append(slices.Clone(p.spec.Events), event)
		p.repair(agentidp.RepairAdd, "events", event)
	}
	kind, refs := r.Claims.Kind, p.showRef()
	switch {
	case kind != nil && kind.OutsiderEvent[event].Why != "":
		weight, who := weightOutsiders, "Outsiders"
		if !kind.OutsiderEvent[event].ForkReachable {
			weight, who = weightUnset, "Others than those who may write to the repository"
		}
		p.say(weight, "%s can cause the event %s: %s. The change lets them in, with %s; better run the workflow by another event.",
			who, plain(event), strings.TrimSuffix(kind.OutsiderEvent[event].Why, "."), refs)
	case kind != nil && slices.Contains(kind.DefaultEvents, event):
		p.say(weightLittle, "Runs that the event %s starts get in too, with %s.", plain(event), refs)
	default:
		p.say(weightRevive, "Nothing is known here about the event %s: find out who can cause it. The change lets in all whose runs it starts, with %s.", plain(event), refs)
	}
}

func mendScope(p *plan, r *request) {
	excess := p.excess(r)
	lacks := func(scope string) bool { return r.Agent == nil || !slices.Contains(r.Agent.Capabilities, scope) }
	switch {
	case p.Policy.Bootstrap():
		p.request("scope", "A bootstrap token carries the scope agents:write alone: let the run ask for no scope.")
	case slices.ContainsFunc(excess, lacks):
		p.request("scope", "The agent lacks a capability that the run asks for (%s), and no policy gives what the agent does not have: let the run ask for less, or give the agent the capability.", clip(strings.Join(slices.DeleteFunc(excess, func(s string) bool { return !lacks(s) }), " "), maxShown))
	default:
		if p.copied {
			p.spec.Scopes = slices.Clone(r.Scopes)
			p.repair(agentidp.RepairSet, "scopes", p.spec.Scopes)
		} else {
			p.spec.Scopes = append(slices.Clone(p.spec.Scopes), excess...)
			for _, scope := range excess {
				p.repair(agentidp.RepairAdd, "scopes", scope)
			}
		}
		p.say(weightLittle, "Every run that the policy lets in may then ask for %s too.", clip(strings.Join(excess, " "), maxShown))
		if slices.ContainsFunc(excess, agentidp.IsManagementScope) {
			p.say(weightIdentity, "That reaches the management API of this AgentIdP, and admin alone may give it.")
		}
	}
}

func mendAudience(p *plan, r *request) {
	if p.Policy.Bootstrap() {
		p.request("audience", "A bootstrap token is for the management API alone: let the run ask for no audience.")
		return
	}
	switch {
	case p.copied:
		p.spec.Audiences = []string{r.Audience}
		p.repair(agentidp.RepairSet, "audiences", p.spec.Audiences)
	case len(p.spec.Audiences) == 0: // what was the default stays it
		p.spec.Audiences = []string{p.audience(r.Organization), r.Audience}
		p.repair(agentidp.RepairSet, "audiences", p.spec.Audiences)
	default:
		p.spec.Audiences = append(slices.Clone(p.spec.Audiences), r.Audience)
		p.repair(agentidp.RepairAdd, "audiences", r.Audience)
	}
	p.say(weightValue, "Every run that the policy lets in may then ask for tokens for %s.", plain(r.Audience))
	if r.Audience == r.Organization.ManagementAudience() {
		p.say(weightIdentity, "That is the management API of this AgentIdP, and admin alone may give it.")
	}
}

// request is a repair of what was asked for, not of the policy.
func (p *plan) request(field, format string, args ...any) {
	p.repair(agentidp.RepairRequest, field, nil)
	p.say(weightRequest, format, args...)
}

// once reports whether a repair is planned already: two comparisons may have one.
func (p *plan) once(action agentidp.RepairAction, field string) bool {
	return slices.ContainsFunc(p.repairs, func(repair agentidp.Repair) bool { return repair.Action == action && repair.Field == field })
}
