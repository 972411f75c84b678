package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sentryagent/agentidp"
)

// askAdministrator begins the remedy that the workflow's author cannot apply.
const askAdministrator = "ask the administrator of this AgentIdP, giving the decision id, "

// refusal is the public answer to a refused exchange, for the workflow's
// author. It is a function of the code and of what the caller itself sent; the
// candidate is read only to find which of the caller's own scopes were too much.
func refusal(code string, r *request, c *Compiled) *agentidp.Error {
	err := agentidp.NewError(agentidp.Denied, code, "")
	switch code {
	case agentidp.CodeRepositoryIdentityChanged:
		err.Message = explainIdentity(r)
		err.Claims = r.read(agentidp.ClaimRepository, agentidp.ClaimRepositoryID, agentidp.ClaimRepositoryOwnerID)
	case agentidp.CodeAgentNotActive:
		err.Message = "The agent that this run asks for is not active, so no token is issued for it. " +
			"Use the id of an active agent, or " + askAdministrator + "to reactivate this one."
	case agentidp.CodeEventNotPermitted:
		err.Message = explainEvent(r)
		err.Claims = r.read(agentidp.ClaimEvent)
	case agentidp.CodeBranchNotPermitted:
		err.Message = explainRef(r)
		err.Claims = r.read(agentidp.ClaimRef, agentidp.ClaimRefType)
	case agentidp.CodeConditionNotMet:
		err.Message, err.Claims = explainCondition(r, c)
	case agentidp.CodeInvalidScope:
		err.Kind, err.Message = agentidp.Invalid, explainScope(r, c.excess(r))
	case agentidp.CodeInvalidTarget:
		err.Kind, err.Message = agentidp.Invalid, explainAudience(r)
	default:
		err.Message = explainViolation(r)
		err.Claims = r.identity()
	}
	return err
}

// explainViolation must read the same whether it is the repository, the agent
// or the tenant that nobody knows.
func explainViolation(r *request) string {
	if r.AgentID == "" {
		return r.run() + ", and no trust policy lets it register agents. " +
			"Name an agent's id if a token for an agent was meant, or " + askAdministrator +
			"to add a trust policy without agentId for this " + r.caller() + "."
	}
	return r.run() + ", and no trust policy lets it have a token for the agent that it names. " +
		"Check the agent's id, or " + askAdministrator +
		"to add a trust policy for this " + r.caller() + " and agent."
}

func explainIdentity(r *request) string {
	if r.Claims.RepositoryID == "" || r.Claims.RepositoryOwnerID == "" {
		return "The token of this run lacks repository_id or repository_owner_id, and without both nobody can tell " +
			"a repository from another that took its name. Use a version of the CI system that sends them."
	}
	return r.run() + ", which is not the identity that is trusted here: the repository was created anew or transferred, " +
		"or its name is now another's. If this is the right repository, " + askAdministrator +
		"to confirm its new identity."
}

// whyRefused says of events that nobody gets by default what is wrong with them.
var whyRefused = map[string]string{
	"pull_request_target": "it runs with the ref and the rights of the default branch, yet anyone who can open a pull request can cause it, " +
		"so it is refused unless a policy names it",
	"workflow_run": "it runs with the ref and the rights of the default branch, yet the workflow before it may have run a stranger's pull request, " +
		"so it is refused unless a policy names it",
	"issue_comment": "it runs with the ref and the rights of the default branch, yet anyone who can comment can cause it, " +
		"so it is refused unless a policy names it",
	"pull_request": "its code is proposed and not yet accepted, so it is refused unless a policy names it",
	"merge_group":  "its code is queued and not yet merged, so it is refused unless a policy names it",
}

func explainEvent(r *request) string {
	event := r.Claims.Event
	if event == "" {
		return "The token of this run does not say which event started it, and every trust policy lists the events that it permits. " +
			"Use a version of the CI system that sends the event."
	}
	s := "This run was started by the event " + plain(event) + ", which is not permitted for " + r.target()
	if why := whyRefused[event]; why != "" {
		s += ": " + why
	}
	return s + ". Start the workflow by another event, for example push or workflow_dispatch, or " + askAdministrator +
		"to permit this event."
}

func explainRef(r *request) string {
	ref, refType := r.Claims.Ref, r.Claims.RefType
	switch {
	case ref == "":
		return "The token of this run does not say for which ref it is, and every trust policy permits only certain refs. " +
			"Use a version of the CI system that sends the ref."
	case strings.HasPrefix(ref, pullPrefix):
		return "This run is for a pull request (" + plain(ref) + "), and trust policies permit branches and tags only: " +
			"what a pull request proposes is not yet part of the repository. " +
			"Run the workflow on a push to a permitted branch, for example after the merge."
	case strings.HasPrefix(ref, branchPrefix+mergeQueueBranch):
		return "This run is for a merge queue (" + plain(ref) + "), whose branches hold what is not merged yet and are not permitted for " +
			r.target() + ". Run the workflow on a push to the branch, after the merge."
	case strings.HasPrefix(ref, branchPrefix) && refType == refTypeBranch:
		return r.notPermitted("the branch " + plain(ref[len(branchPrefix):]))
	case strings.HasPrefix(ref, tagPrefix) && refType == refTypeTag:
		return r.notPermitted("the tag " + plain(ref[len(tagPrefix):]))
	}
	return r.notPermitted("the ref " + plain(ref) + " of type " + plain(refType))
}

func (r *request) notPermitted(ref string) string {
	return "This run is for " + ref + ", which is not permitted for " + r.target() + ". " +
		"Run the workflow for a permitted branch or tag, or " + askAdministrator + "to permit this one."
}

// explainCondition is about the first of the conditions that answer alike, which is the
// one that stopped the exchange.
func explainCondition(r *request, c *Compiled) (string, map[string]string) {
	switch conditions[firstFailure(c, r)].name {
	case checkEnvironment:
		return explainEnvironment(r), r.read(agentidp.ClaimEnvironment)
	case checkWorkflow:
		if r.Claims.JobWorkflowRef == "" {
			return explainWorkflow(r), r.read(agentidp.ClaimWorkflowRef)
		}
		return explainWorkflow(r), r.read(agentidp.ClaimJobWorkflowRef)
	case checkClaims:
		return explainClaims(r, c.unmet(r))
	}
	return explainClaims(r, r.evaluate(c).reads)
}

func explainEnvironment(r *request) string {
	if r.Claims.Environment == "" {
		return "The job of this run names no deployment environment, and one is needed for " + r.target() + ". " +
			"Name the environment in the job, as environment, or " + askAdministrator + "to permit jobs without one."
	}
	return "The job of this run names the deployment environment " + plain(r.Claims.Environment) +
		", which is not permitted for " + r.target() + ". " +
		"Name a permitted environment in the job, in lower and upper case as it is permitted, or " + askAdministrator + "to permit this one."
}

func explainWorkflow(r *request) string {
	switch {
	case r.Claims.JobWorkflowRef != "":
		return "The job of this run stands in " + plain(r.Claims.JobWorkflowRef) + ", which is not permitted for " + r.target() + ". " +
			"Move the job to a permitted workflow, or run it from a permitted ref of that, or " + askAdministrator + "to permit this one."
	case r.Claims.WorkflowRef != "":
		return "The workflow of this run is " + plain(r.Claims.WorkflowRef) + ", which is not permitted for " + r.target() + ". " +
			"Move the job to a permitted workflow, or " + askAdministrator + "to permit this one."
	}
	return "The token of this run does not say in which workflow the job stands, and that is needed for " + r.target() + ". " +
		"Use a version of the CI system that sends job_workflow_ref."
}

// explainClaims names the claims that were read, as far as one can read a list, and
// returns them.
func explainClaims(r *request, names []string) (string, map[string]string) {
	const most = 5
	claims := make(map[string]string, len(names))
	shown := make([]string, 0, most)
	for _, name := range names {
		value, ok := r.spelled(name)
		if ok {
			claims[name] = value
		}
		if len(shown) < most {
			shown = append(shown, plain(name)+" is "+plain(value))
		}
	}
	list := ""
	if len(shown) > 0 {
		list = ": " + strings.Join(shown, ", ")
	}
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return "The token does not meet a condition for " + r.target() + list + ". " +
		"Start the run where and as it is permitted, or " + askAdministrator + "to permit this.", claims
}

func explainScope(r *request, excess []string) string {
	const most = 10
	shown := make([]string, 0, most)
	for _, scope := range excess[:min(len(excess), most)] {
		shown = append(shown, plain(scope))
	}
	list := strings.Join(shown, ", ")
	if more := len(excess) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	if r.AgentID == "" {
		return "A bootstrap token carries the scope agents:write alone, and this run asks for more: " + list + ". " +
			"Leave out scope, or name the id of an agent that has it."
	}
	return "This run asks for scopes that it may not have: " + list + ". " +
		"Leave out scope to get all that it may have, or " + askAdministrator + "to permit more."
}

func explainAudience(r *request) string {
	if r.AgentID == "" {
		return "A bootstrap token is for the management API of this AgentIdP alone, and this run asks for the audience " +
			plain(r.Audience) + ". Leave out audience."
	}
	return "This run asks for a token for the audience " + plain(r.Audience) + ", which it may not have. " +
		"Leave out audience to get the default one, or " + askAdministrator + "to permit this one."
}

// run says what the run is, in its own claims.
func (r *request) run() string {
	c := r.Claims
	switch {
	case r.isWorkload():
		said := make([]string, 0, len(c.Kind.IdentityClaims))
		for _, name := range c.Kind.IdentityClaims {
			value, _ := c.Read(name)
			said = append(said, name+" "+plain(value))
		}
		return "This token is of the workload with " + strings.Join(said, ", ")
	case c.Repository == "":
		return "This run names no repository"
	}
	return "This run is of the repository " + plain(c.Repository) +
		" (repository_id " + plain(c.RepositoryID) + ", repository_owner_id " + plain(c.RepositoryOwnerID) + ")"
}

// isWorkload reports whether the caller is of a kind that has no repositories.
func (r *request) isWorkload() bool {
	return r.Claims.Kind != nil && !r.Claims.Kind.Has(agentidp.ClaimRepository)
}

func (r *request) caller() string {
	if r.isWorkload() {
		return "workload"
	}
	return "repository"
}

func (r *request) target() string {
	if r.AgentID == "" {
		return "registering agents from this " + r.caller()
	}
	return "this " + r.caller() + " and agent"
}

// identity returns the claims that say who the caller is.
func (r *request) identity() map[string]string {
	if !r.isWorkload() {
		return r.read(agentidp.ClaimRepository, agentidp.ClaimRepositoryID, agentidp.ClaimRepositoryOwnerID)
	}
	claims := make(map[string]string, len(r.Claims.Kind.IdentityClaims))
	for _, name := range r.Claims.Kind.IdentityClaims {
		if value, ok := r.Claims.Read(name); ok {
			claims[name] = value
		}
	}
	return claims
}

// read returns those of the claims that the token carries.
func (r *request) read(names ...agentidp.Claim) map[string]string {
	claims := make(map[string]string, len(names))
	for _, name := range names {
		if v := *r.Claims.Field(name); v != "" {
			claims[string(name)] = v
		}
	}
	return claims
}

// plain spells a value of the caller's within a sentence: as it is where it is
// short and cannot be mistaken for part of the sentence, else quoted in ASCII.
// The exact value is among the claims of the answer.
func plain(s string) string {
	const most = 150
	if s == "" {
		return "absent"
	}
	s = clip(s, most)
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("-_./:@+#~%=&?", rune(c)) {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}
