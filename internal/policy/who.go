package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// who says in words who can get the token of an attacker.
func (s *search) who(a *attacker) string {
	if a.start == byOutsider {
		return s.whoOutside(a)
	}
	who, of := "anyone ", ""
	if a.guarded {
		who, of = "whoever the rules of "+s.environmentNamed(a)+" let deploy, ", "of all "
	}
	return who + of + s.whoStarts(a) + s.butOnly(a)
}

func (s *search) whoOutside(a *attacker) string {
	event := a.events[0]
	who := "anyone on GitHub"
	if exact, _ := values(s.policy, claimVisibility); len(exact) > 0 && !slices.Contains(exact, "public") {
		who = "anyone who can read " + s.policy.Repository
	}
	who += ", through " + event
	if how := s.kind.OutsiderEvent[event].How; how != "" {
		who += " " + how
	}
	if a.guarded {
		who += ", as far as the rules of " + s.environmentNamed(a) + " let the run deploy"
	}
	return who + s.butOnly(a)
}

func (s *search) environmentNamed(a *attacker) string {
	names := []string{a.environment}
	if exact, _ := values(s.policy, "environment"); slices.Contains(exact, a.environment) {
		names = exact
	}
	return "the environment " + strings.Join(names, " or ")
}

// whoStarts says who can start the run, as a clause.
func (s *search) whoStarts(a *attacker) string {
	repository, event := s.policy.Repository, a.events[0]
	what := s.refNamed(a)
	switch kind := s.kind.EventRefs[event]; {
	case s.anyEvent:
	case kind == agentidp.RefMergedPullRequest:
		return fmt.Sprintf("who can merge a pull request into %s of %s", what, repository)
	case kind == agentidp.RefMergeQueue:
		return fmt.Sprintf("who can add a pull request to the merge queue of %s", repository)
	case kind == agentidp.RefTag:
		return fmt.Sprintf("who can publish a release of %s in %s", what, repository)
	}
	started := ""
	if _, path, _ := strings.Cut(strings.TrimSuffix(a.job, "@"+a.ref), "/"+workflowsFolder); s.startable() && path != "" {
		started = ", or start a workflow on it"
		if file := workflowsFolder + path; !a.pinned && file != anyWorkflow {
			started = ", or start " + file + " on it"
		}
	}
	switch {
	case a.start == onAnyBranch || a.start == onAnyTag:
		return fmt.Sprintf("who can push %s to %s", what, repository)
	case a.start == onTag:
		if a.among || strings.Contains(s.policy.Tag, "*") {
			started = strings.Replace(started, " on it", " on one", 1)
		}
		return fmt.Sprintf("who can push %s to %s%s", what, repository, started)
	case a.start != onProtected && a.protected == "true":
		return fmt.Sprintf("whom the protection of %s of %s lets push to it%s", what, repository, strings.Replace(started, ", or", ", or who can", 1))
	}
	return fmt.Sprintf("who can push to %s of %s%s", what, repository, started)
}

// startable reports whether some event starts a run without a push.
func (s *search) startable() bool {
	return slices.ContainsFunc(s.policy.Events, func(event string) bool {
		return slices.Contains([]string{"workflow_dispatch", "repository_dispatch", "deployment"}, event)
	})
}

func (s *search) refNamed(a *attacker) string {
	name := strings.TrimPrefix(strings.TrimPrefix(a.ref, branchPrefix), tagPrefix)
	protected := ""
	if a.protected == "true" {
		protected = "protected "
	}
	switch a.start {
	case onAnyBranch:
		return "any branch"
	case onAnyTag:
		return "any tag"
	case onProtected:
		return "a protected branch"
	case onDefaultBranch:
		return "the default branch"
	case onTag:
		switch {
		case strings.Contains(s.policy.Tag, "*") && name == fill(s.policy.Tag):
			return "a " + protected + "tag that matches " + s.policy.Tag
		case a.among || strings.Contains(s.policy.Tag, "*"):
			return "a " + protected + "tag such as " + name
		}
		return "the " + protected + "tag " + name
	}
	if a.among {
		return "a branch such as " + name
	}
	return "the branch " + name
}

// butOnly says what binds the attacker to code that is not theirs.
func (s *search) butOnly(a *attacker) string {
	if !a.pinned {
		return ""
	}
	path, ref, _ := strings.Cut(a.job, "@")
	switch own := strings.HasPrefix(a.job, s.policy.Repository+"/"); {
	case a.commit:
		return ", but only to run one commit"
	case own && ref == a.ref:
		return ", but only to run " + strings.TrimPrefix(path, s.policy.Repository+"/")
	case own || isCommit(ref):
		return ", but only to run " + a.job
	}
	repository, _, _ := strings.Cut(path, "/"+workflowsFolder)
	return ", but only to run " + a.job + ", as whoever can push to " + repository + " writes it"
}

// whoIsGiven says whose tokens satisfy a policy without a repository.
func whoIsGiven(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) string {
	var is []string
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		if slices.Contains(kind.IdentityClaims, name) {
			is = append(is, name+" is "+strings.Join(p.Claims[name], " or "))
		}
	}
	return fmt.Sprintf("whoever the issuer of provider %s gives a token whose %s", p.Provider, strings.Join(is, " and "))
}
