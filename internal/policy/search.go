package policy

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
)

// maxForged bounds how many tokens are held against one policy to find the weakest.
const maxForged = 1000

// A search looks for the weakest token that a policy accepts. It tries the tokens of
// attackers, from the weakest on, by the comparisons that decide exchanges.
type search struct {
	policy    *agentidp.TrustPolicy // as it would be matched
	kind      *agentidp.ProviderKind
	compiled  *Compiled
	condition *condition.Condition // nil: none
	token     *forged
	request   *request
	anyEvent  bool // whatever the events' runs are for
	left      int  // of maxForged

	workflows func() []string // of which the policy speaks by their repositories
	heads     func() []string // branches of which a condition or a workflow speaks
	tagged    func() []string // and tags
}

// newSearch takes the policy as though it were enforced: how weak it is does not depend on
// whether it is in force today. The ids of forged tokens are the policy's or its pin's.
func newSearch(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind, now time.Time) *search {
	enforced := *p
	enforced.Mode, enforced.ExpiresAt, enforced.Pinned = agentidp.ModeEnforce, nil, nil
	s := &search{policy: &enforced, kind: kind, token: forge(p, kind), left: maxForged}
	s.compiled = Compile(&enforced, kind)
	if s.compiled.expression != nil {
		s.condition, _ = s.compiled.expression() // nil: it holds of no token
	}
	s.workflows = sync.OnceValue(s.findWorkflows)
	s.heads = sync.OnceValue(func() []string { return s.findRefs(branchPrefix) })
	s.tagged = sync.OnceValue(func() []string { return s.findRefs(tagPrefix) })
	agent := &agentidp.Agent{AgentID: p.AgentID, OrganizationID: p.OrganizationID, Status: agentidp.AgentActive}
	s.request = &request{
		Input:      &Input{Claims: &s.token.Claims, AgentID: p.AgentID, Agent: agent, Organization: &agentidp.Organization{ID: p.OrganizationID}, Now: now},
		repository: agentidp.FoldRepository(p.Repository),
	}
	return s
}

// reads reports whether the policy has a condition on a claim beside its fields.
func (s *search) reads(claim string) bool {
	return len(s.policy.Claims[claim]) > 0 || s.condition != nil && slices.Contains(s.condition.Claims(), claim)
}

// compared returns the texts with which the condition compares a claim.
func (s *search) compared(claim string) []string {
	const most = 6
	if s.condition == nil {
		return nil
	}
	texts := s.condition.Compared(claim)
	return texts[:min(len(texts), most)]
}

// attackers goes through all of them that may get a token, from those on who need the
// least. A policy that names sixteen workflows, sixteen environments and all events has a
// quarter of a million: those that are never reached are never made.
func (s *search) attackers(fixed bool) iter.Seq[attacker] {
	var all []attacker // whatever their jobs
	for _, start := range s.starts() {
		if s.starting(&start) {
			all = append(all, s.environments(start)...)
		}
	}
	return func(yield func(attacker) bool) {
		for _, grade := range []agentidp.Grade{agentidp.GradeF, agentidp.GradeD, agentidp.GradeC, agentidp.GradeB, agentidp.GradeA} {
			for _, a := range all {
				bound := a
				bound.pinned = true
				if a.grade(fixed) != grade && bound.grade(fixed) != grade {
					continue
				}
				for _, a := range s.jobs(a) {
					if a.grade(fixed) == grade && !yield(a) {
						return
					}
				}
			}
		}
	}
}

// ofTheJob is where the conditions begin that depend on the job, beside how its run was
// started.
var ofTheJob = slices.IndexFunc(conditions, func(c comparison) bool { return c.name == checkEnvironment })

// starting reports whether the policy accepts a run that is started so, as far as its
// event and ref say. Most are not, and their jobs need not be tried.
func (s *search) starting(a *attacker) bool {
	s.become(a, a.ref)
	return slices.ContainsFunc(a.events, func(event string) bool {
		s.token.sayOurs(agentidp.ClaimEvent, event)
		return !slices.ContainsFunc(conditions[:ofTheJob], func(c comparison) bool { return !c.holds(s.compiled, s.request) })
	})
}

// weakest returns the attacker who needs the least of those that the policy lets have a
// token, which is then the search's token.
func (s *search) weakest(fixed bool) (attacker, bool) {
	for a := range s.attackers(fixed) {
		if s.left <= 0 {
			break
		}
		// What is theirs to choose must not depend on how it is called.
		if a.other != "" && !s.succeeds(&a, a.other) {
			continue
		}
		if s.succeeds(&a, a.ref) {
			a.among = s.isAmong(a)
			return a, s.succeeds(&a, a.ref)
		}
	}
	return attacker{}, false
}

// isAmong reports whether an attacker could do with a ref of another name, where the
// policy has no field that says which.
func (s *search) isAmong(a attacker) bool {
	if a.start < onBranch || s.policy.Branch != "" || s.policy.Tag != "" {
		return false
	}
	prefix, refs := branchPrefix, s.heads()
	if a.start == onTag {
		prefix, refs = tagPrefix, s.tagged()
	}
	name := strings.TrimPrefix(a.ref, prefix)
	others := slices.DeleteFunc(slices.Clone(refs), func(ref string) bool { return ref == a.ref })
	return slices.ContainsFunc(append(others, a.ref+anyText, prefix+anyText+name), func(ref string) bool { return s.succeeds(&a, ref) })
}

// succeeds reports whether the policy accepts the token that the attacker gets for a ref.
func (s *search) succeeds(a *attacker, ref string) bool {
	s.become(a, ref)
	for _, event := range a.events {
		s.token.sayOurs(agentidp.ClaimEvent, event)
		if s.accepted() {
			a.events = []string{event}
			return true
		}
	}
	return false
}

// become makes the token that of an attacker.
func (s *search) become(a *attacker, ref string) {
	t := s.token
	refType := refTypeBranch
	if strings.HasPrefix(ref, tagPrefix) {
		refType = refTypeTag
	}
	t.sayOurs(agentidp.ClaimRef, ref)
	t.sayOurs(agentidp.ClaimRefType, refType)
	t.sayOurs(agentidp.ClaimEnvironment, a.environment)
	own := s.policy.Repository + "/"
	job, started := a.job, own+anyWorkflow+"@"+ref // which calls the other
	if strings.HasPrefix(job, own) && strings.HasSuffix(job, "@"+a.ref) {
		job = strings.TrimSuffix(job, a.ref) + ref
		started = job
	}
	t.sayOurs(agentidp.ClaimJobWorkflowRef, job)
	t.sayOurs(agentidp.ClaimWorkflowRef, started)
	t.say(claimRefProtected, s.wanted(claimRefProtected, a.protected == "", cmp.Or(a.protected, "true")))
	t.sayOurs(agentidp.ClaimSHA, s.wanted("sha", a.commit, anyCommit))
	t.say(claimWorkflowCommit, s.wanted(claimWorkflowCommit, a.commit, anyCommit))
	t.say(claimJobCommit, s.wanted(claimJobCommit, a.commit || a.pinned, anyCommit))
	t.say("sub", "repo:"+s.policy.Repository+":ref:"+ref)
}

// wanted returns the value of a claim: what the policy wants, where that can be had or is
// a pattern, and else what the attacker has.
func (s *search) wanted(claim string, had bool, own string) string {
	exact, filled := values(s.policy, claim)
	switch {
	case len(filled) > 0:
		return filled[0]
	case had && len(exact) > 0:
		return exact[0]
	case had && len(s.compared(claim)) > 0:
		return s.compared(claim)[0]
	}
	return own
}

// failed holds the token against the policy, as long as there may be more tries, and
// returns how far it gets.
func (s *search) failed() int {
	if s.left--; s.left < 0 {
		return -1
	}
	return firstFailure(s.compiled, s.request)
}

// accepted reports whether the policy accepts the token. Where its condition alone is in the way,
// the claims are tried that are neither the attacker's nor fixed.
func (s *search) accepted() bool {
	failed := s.failed()
	if 0 <= failed && failed < len(conditions) && conditions[failed].name == checkCondition && s.condition != nil {
		return s.solve(s.open())
	}
	return failed == len(conditions)
}

// taken are the claims that say who the attacker is.
var taken = []string{"ref", "ref_type", "event_name", "environment", "workflow_ref", "job_workflow_ref", claimRefProtected, "sha", claimWorkflowCommit, claimJobCommit}

// open returns the claims that the condition reads and that any value may be tried of.
func (s *search) open() []string {
	return slices.DeleteFunc(slices.Clone(s.condition.Claims()), func(claim string) bool {
		return s.policy.Repository != "" && slices.Contains(taken, claim) || len(s.policy.Claims[claim]) > 0
	})
}

// solve tries the values of some claims, one after the other.
func (s *search) solve(claims []string) bool {
	if len(claims) == 0 {
		return s.failed() == len(conditions)
	}
	name := claims[0]
	before, was := s.token.said[name]
	tries := []string{before}
	for _, text := range s.compared(name) {
		tries = add(tries, text)
	}
	for _, text := range s.compared(name) {
		tries = add(tries, text+anyText)
	}
	if !was {
		tries = append(tries, anyText)
	}
	for _, value := range append(tries, "") {
		if s.left <= 0 {
			break
		}
		s.token.sayAny(name, value)
		if s.solve(claims[1:]) {
			return true
		}
	}
	s.token.sayAny(name, before)
	return false
}
