package policy

import (
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// A start is a way to have a run started, by what it takes.
type start int

// From the easiest on.
const (
	byOutsider      start = iota // an event that takes no right in the repository
	onAnyBranch                  // a push of a branch of one's choice
	onAnyTag                     // the same of a tag
	onProtected                  // a push to any branch that is protected
	onDefaultBranch              // the default branch, where the events run for no other
	onBranch                     // one branch
	onTag                        // one tag, or one of a pattern
)

// An attacker is somebody who wants a token, with the least that it takes.
type attacker struct {
	start  start
	events []string // any of which starts the run
	ref    string   // the whole ref
	other  string   // where the choice is theirs, another one that must do as well
	among  bool     // others do as well as this one

	protected string // whether the ref is; "": as the policy wants it

	environment string // that the job names; "": none
	guarded     bool   // it is one that the policy names, so that its rules stand before the token

	job    string // job_workflow_ref
	pinned bool   // what runs is not theirs to write
	commit bool   // of one commit alone
}

// grade is how hard it is to be this attacker. Only where the repository's identity is
// fixed does nobody else become one by taking over its name.
func (a *attacker) grade(fixed bool) agentidp.Grade {
	behind := a.guarded || a.pinned
	switch {
	case a.start == byOutsider && !behind:
		return agentidp.GradeF
	case a.start == byOutsider:
		return agentidp.GradeD
	case a.guarded && fixed && (a.start >= onDefaultBranch || a.pinned):
		return agentidp.GradeA
	case behind:
		return agentidp.GradeB
	case a.start == onAnyBranch || a.start == onAnyTag:
		return agentidp.GradeD
	case a.start >= onDefaultBranch && a.protected == "true":
		return agentidp.GradeB
	}
	return agentidp.GradeC
}

// starts returns the ways to start a run that may satisfy the policy.
func (s *search) starts() []attacker {
	p := s.policy
	var all []attacker
	on := func(start start, ref, other, protected string, events []string) {
		if len(events) > 0 {
			all = append(all, attacker{start: start, events: events, ref: ref, other: other, protected: protected})
		}
	}
	heads := s.branches()
	for _, event := range reachable(p.Events, s.kind) {
		for _, head := range add(heads[:len(heads):len(heads)], branchPrefix+"main") {
			on(byOutsider, head, "", "", []string{event})
		}
	}
	on(onAnyBranch, branchPrefix+anyName, branchPrefix+"0", "false", s.events("", agentidp.RefMergedPullRequest))
	deep := strings.Repeat("/"+anyName, strings.Count(p.Tag, "/"))
	on(onAnyTag, tagPrefix+anyName+deep, tagPrefix+"0"+strings.ReplaceAll(deep, anyName, "0"), "false", s.events("", agentidp.RefTag))
	on(onProtected, branchPrefix+anyName, branchPrefix+"0", "true", s.events("", agentidp.RefMergedPullRequest))
	for _, protected := range []string{"false", "true"} {
		for _, head := range heads {
			if strings.HasPrefix(head, branchPrefix+mergeQueueBranch) {
				on(onBranch, head, "", protected, s.events("", agentidp.RefMergeQueue))
				continue
			}
			on(onBranch, head, "", protected, s.events("", agentidp.RefMergedPullRequest, agentidp.RefDefaultBranch))
		}
		if p.Branch == "" {
			on(onDefaultBranch, branchPrefix+"main", "", protected, s.events(agentidp.RefDefaultBranch))
		}
		for _, tag := range s.tags() {
			on(onTag, tag, "", protected, s.events("", agentidp.RefTag))
		}
	}
	return all
}

// events returns the events of the policy that take a right in the repository and whose
// runs are for such a ref; those first that are easy to cause.
func (s *search) events(refs ...agentidp.EventRef) []string {
	var fit []string
	for _, event := range s.policy.Events {
		if s.anyEvent || slices.Contains(refs, s.kind.EventRefs[event]) && !s.kind.OutsiderEvent[event].ForkReachable {
			fit = append(fit, event)
		}
	}
	slices.SortStableFunc(fit, func(a, b string) int { return easy(b) - easy(a) })
	return fit
}

func easy(event string) int { return slices.Index([]string{"workflow_dispatch", "push"}, event) }

// branches returns the whole names of those that the policy may name.
func (s *search) branches() []string {
	if s.policy.Branch != "" {
		return []string{branchPrefix + s.policy.Branch}
	}
	return s.heads()
}

func (s *search) tags() []string {
	if s.policy.Tag != "" {
		return add([]string{tagPrefix + fill(s.policy.Tag)}, s.tagged()...)
	}
	return s.tagged()
}

// findRefs finds the refs of which a condition or a workflow speaks.
func (s *search) findRefs(prefix string) []string {
	var refs []string
	for _, workflow := range s.workflows() {
		if _, ref, _ := strings.Cut(workflow, "@"); strings.HasPrefix(ref, prefix) {
			refs = add(refs, ref)
		}
	}
	for _, text := range s.compared("ref") {
		name := strings.TrimPrefix(text, prefix)
		for _, ref := range []string{name, name + anyText, anyText + name} {
			if refProblem(ref) == "" {
				refs = add(refs, prefix+ref)
			}
		}
	}
	return refs
}

// findWorkflows finds those of which the policy speaks by their repositories.
func (s *search) findWorkflows() []string {
	p := s.policy
	var all []string
	for _, claim := range []string{"job_workflow_ref", "workflow_ref"} {
		exact, filled := values(p, claim)
		all = add(add(all, exact...), filled...)
		for _, text := range s.compared(claim) {
			path, _, hasRef := strings.Cut(text, "@")
			switch {
			case !hasRef:
				all = add(all, path+"@"+branchPrefix+"main")
			case strings.HasSuffix(text, "@"):
				all = add(all, text+branchPrefix+"main")
			default:
				all = add(all, text, text+anyText)
			}
		}
	}
	if compileWorkflow(p.Workflow).repository != "" {
		all = add(all, p.Workflow)
	}
	return all
}

// environments returns what a job may name, as a has it.
func (s *search) environments(a attacker) []attacker {
	exact, own := values(s.policy, "environment")
	exact = add(exact, s.policy.Environment)
	for _, text := range s.compared("environment") {
		own, exact = add(own, text+anyText), add(exact, text)
	}
	if s.reads("environment") {
		own = add(own, anyName)
	}
	all := []attacker{a}
	for _, name := range own {
		// A workflow that names an environment which is not there makes it, without
		// rules. Only who cannot write one depends on those that are.
		a.environment, a.guarded = name, a.start == byOutsider
		all = append(all, a)
	}
	for _, name := range exact {
		a.environment, a.guarded = name, true
		all = append(all, a)
	}
	return all
}

// jobs returns in which workflow's file the job may stand, as a has it.
func (s *search) jobs(a attacker) []attacker {
	repository := s.policy.Repository
	folded := agentidp.FoldRepository(repository)
	own := []string{anyWorkflow}
	if s.policy.Workflow != "" && compileWorkflow(s.policy.Workflow).repository == "" {
		own = add(own, s.policy.Workflow)
	}
	var elsewhere []string
	for _, workflow := range s.workflows() {
		path, ref, _ := strings.Cut(workflow, "@")
		if i := strings.Index(path, "/"+workflowsFolder); i > 0 {
			own = add(own, path[i+1:])
		}
		if rest, ok := cutRepository(workflow, folded); !ok || ref != a.ref || rest == "" {
			elsewhere = add(elsewhere, workflow)
		}
	}
	commits := []bool{false}
	if s.reads("sha") || s.reads(claimWorkflowCommit) || s.reads(claimJobCommit) {
		commits = append(commits, true)
	}
	var all []attacker
	for _, commit := range commits {
		for _, path := range own {
			a.job, a.commit = repository+"/"+path+"@"+a.ref, commit
			a.pinned = commit || a.start == byOutsider && path != anyWorkflow
			all = append(all, a)
		}
		for _, workflow := range elsewhere {
			a.job, a.commit, a.pinned = workflow, commit, true
			all = append(all, a)
		}
	}
	return all
}
