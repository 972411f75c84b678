package policy

import (
	"strings"

	"github.com/sentryagent/agentidp"
)

// mendRef says the ref of the run, in a copy: nothing less would let it in, and any branch
// would let in more.
func mendRef(p *plan, r *request) {
	ref, refType := r.Claims.Ref, r.Claims.RefType
	branch, isBranch := strings.CutPrefix(ref, branchPrefix)
	tag, isTag := strings.CutPrefix(ref, tagPrefix)
	switch {
	case p.once(agentidp.RepairSet, "branch") || p.once(agentidp.RepairSet, "tag") || len(p.never) > 0:
	case strings.HasPrefix(ref, pullPrefix):
		p.giveUp(weightNever, "The run is for a pull request (%s), which no policy lets in: what it proposes is not yet part of the repository. Run the workflow on a push, after the merge.", plain(ref))
	case isBranch && strings.HasPrefix(branch, mergeQueueBranch):
		p.giveUp(weightNever, "The run is for a merge queue (%s), whose branches hold what is not merged yet and are each used once. Run the workflow on a push, after the merge.", plain(ref))
	case isBranch && refType == refTypeBranch:
		p.setRef("branch", &p.spec.Branch, branch, "tag", &p.spec.Tag)
		p.say(weightValue, "Runs on the branch %s get in too: whoever may push there.", plain(branch))
		if p.Policy.Branch != "" && strings.EqualFold(p.Policy.Branch, branch) {
			p.say(0, "Only upper and lower case differ from the branch %s of the policy; to git they are two, and one of them may be a mistake.", plain(p.Policy.Branch))
		}
	case isTag && refType == refTypeTag && strings.Contains(tag, "*"):
		p.giveUp(weightNever, "The run is for the tag %s, and * is a pattern in a policy.", plain(tag))
	case isTag && refType == refTypeTag:
		p.setRef("tag", &p.spec.Tag, tag, "branch", &p.spec.Branch)
		p.say(weightValue, "Runs for the tag %s get in too: whoever may push it, on whatever commit. Tags are often less protected than branches.", plain(tag))
		if p.Policy.Branch == tag {
			p.say(0, "The tag is called like the branch of the policy, and is none: make sure that it is there for a good reason.")
		}
	default:
		p.giveUp(weightNever, "The run is for the ref %s of type %s, which is neither a branch nor a tag.", plain(ref), plain(refType))
	}
}

// setRef sets branch or tag, and takes the other away, for a policy has one of them.
func (p *plan) setRef(field string, value *string, got, other string, otherValue *string) {
	*value = got
	p.repair(agentidp.RepairSet, field, got)
	if *otherValue != "" {
		*otherValue = ""
		p.repair(agentidp.RepairUnset, other, nil)
	}
}

func mendEnvironment(p *plan, r *request) {
	got, want := r.Claims.Environment, p.Policy.Environment
	p.spec.Environment = got
	if got == "" {
		p.repair(agentidp.RepairUnset, "environment", nil)
		p.say(weightUnset, "The job names no deployment environment. Better let it name %s: whatever rules that has stand before the token. The copy lets in every job of the runs that it describes.", plain(want))
		return
	}
	p.repair(agentidp.RepairSet, "environment", got)
	weight, alike := weightValue, strings.EqualFold(got, want)
	if alike { // very likely the one that is meant: less than what another policy would let in besides
		weight = weightRequest
	}
	p.say(weight, "Jobs of the environment %s get in too: whoever its rules let through.", plain(got))
	if alike {
		p.say(0, "Only upper and lower case differ from %s, and the CI system may take both for one environment: better write it in the workflow as the policy does.", plain(want))
	}
}

func mendWorkflow(p *plan, r *request) {
	got := r.Claims.JobWorkflowRef
	if got == "" {
		got = r.Claims.WorkflowRef
	}
	if got == "" {
		p.spec.Workflow = ""
		p.repair(agentidp.RepairUnset, "workflow", nil)
		p.say(weightUnset, "The token does not say in which workflow the job stands. The copy lets in the jobs of every workflow of the runs that it describes.")
		return
	}
	if rest, ok := cutRepository(got, r.repository); ok {
		p.spec.Workflow, _, _ = strings.Cut(rest, "@")
		p.say(weightValue, "Jobs of the workflow %s get in too, at whatever ref it is: whoever may change the file there.", plain(p.spec.Workflow))
	} else {
		p.spec.Workflow = got
		p.say(weightValue, "Jobs of %s get in too: whoever may push to that ref of that repository decides what they do.", plain(got))
	}
	p.repair(agentidp.RepairSet, "workflow", p.spec.Workflow)
}

func mendClaims(p *plan, r *request) {
	for i := range p.claims {
		unmet := &p.claims[i]
		if unmet.holds(r) {
			continue
		}
		field := "claims." + unmet.name
		got, _ := r.Claims.Read(unmet.name)
		switch {
		case got == "":
			delete(p.spec.Claims, unmet.name)
			p.repair(agentidp.RepairUnset, field, nil)
			p.say(weightUnset, "The token does not have the claim %s. The copy lets in whoever passes without it.", plain(unmet.name))
			continue
		case strings.Contains(got, "*") && !unmet.exact:
			p.giveUp(weightNever, "The claim %s is %s, and * is a pattern in a policy.", plain(unmet.name), plain(got))
			continue
		case p.copied:
			p.spec.Claims[unmet.name] = agentidp.ClaimValues{got}
			p.repair(agentidp.RepairSet, field, got)
		default:
			p.spec.Claims[unmet.name] = append(append(agentidp.ClaimValues(nil), unmet.values...), got)
			p.repair(agentidp.RepairAdd, field, got)
		}
		p.say(weightValue, "Runs whose %s is %s get in too.", plain(unmet.name), plain(got))
	}
	if len(p.spec.Claims) == 0 {
		p.spec.Claims = nil
	}
}

// mendCondition proposes nothing: what an expression keeps out, nobody but its author
// knows. It names the claims that decided.
func mendCondition(p *plan, r *request) {
	v := r.evaluate(p.Compiled)
	if err := v.invalid; err != nil {
		p.giveUp(weightCondition, "The condition is none that this server takes, so the policy grants nothing: %s Replace it.", clip(sentence(err), maxShown))
		return
	}
	p.giveUp(weightCondition, "The condition does not hold: %s. No change of it is proposed, for it may be all that keeps others out. To let this run in, create a policy beside this one, with a condition of its own.", clip(v.show(r), maxShown))
}
