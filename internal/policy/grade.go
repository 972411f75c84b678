package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// Assess says how strong a stored policy is, and what is weak about it. kind is that of
// its provider; where nothing is known of that, there is no grade. None of it keeps a
// policy from being saved or from granting.
//
// The grade is that of the weakest subject token that the policy accepts. It is found by
// trying those of attackers, from the weakest on, with the comparisons that decide
// exchanges, at most maxForged of them. What a condition (in CEL) asks of a token is
// guessed from the texts in it; one that no guess meets is graded as though it were not
// there. Nor is it known that a token ever has a claim which the kind does not name: the
// grade is as though it could, and Who says so. How a grade is given may change with what is known of a provider; no grant
// depends on it.
func Assess(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind, now time.Time) agentidp.PolicyAssessment {
	a := agentidp.PolicyAssessment{Warnings: Warnings(p, kind, now)}
	switch {
	case kind == nil:
	case p.Repository == "":
		a.Grade, a.Weakest = gradeWorkload(p, kind, now)
	default:
		a.Grade, a.Weakest = gradeRepository(p, kind, now)
	}
	if unknown := unknownClaimsOf(p, kind); a.Weakest != nil && len(unknown) > 0 {
		a.Weakest.Who += fmt.Sprintf("; but nobody, as far as is known: no token of kind %s is known to have the claim %s", kind.Name, plain(unknown[0]))
	}
	return a
}

// gradeRepository grades a policy for the runs of a repository. Where no token is found
// that it accepts, what is not understood is left out, the condition first.
func gradeRepository(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind, now time.Time) (agentidp.Grade, *agentidp.WeakestToken) {
	repository, owner := fixedIdentity(p)
	fixed := repository != "" && owner != ""
	s := newSearch(p, kind, now)
	if a, ok := s.weakest(fixed); ok {
		return a.grade(fixed), &agentidp.WeakestToken{Who: s.who(&a), Claims: s.token.tell(p, s.readByCondition())}
	}
	rest := *p
	for _, leave := range []struct {
		out  func()
		what string
	}{
		{func() { rest.Condition = "" }, ", as far as the condition lets them"},
		{func() { rest.Claims = nil }, ", as far as the claims let them"},
		{func() { s.anyEvent = true }, ", if there are such runs"},
	} {
		anyEvent := s.anyEvent
		leave.out()
		anyEvent = anyEvent || s.anyEvent
		s = newSearch(&rest, kind, now)
		s.anyEvent = anyEvent
		if a, ok := s.weakest(fixed); ok {
			return a.grade(fixed), &agentidp.WeakestToken{Who: s.who(&a) + leave.what}
		}
	}
	return "", nil // a branch and a tag at once, which Validate refuses
}

// gradeWorkload grades a policy that is as strong as its claims: C where they say whose
// the token is, or who started the job, B where they say more.
func gradeWorkload(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind, now time.Time) (agentidp.Grade, *agentidp.WeakestToken) {
	s := newSearch(p, kind, now)
	weakest := &agentidp.WeakestToken{Who: whoIsGiven(p, kind)}
	grade := agentidp.GradeC
	saysMore := func(name string) bool {
		return !slices.Contains(kind.IdentityClaims, name) && kind.PersonClaims[name] == ""
	}
	for name, patterns := range p.Claims {
		if saysMore(name) && !slices.ContainsFunc(patterns, func(s string) bool { return strings.Trim(s, "*/") == "" }) {
			grade = agentidp.GradeB
		}
	}
	found := s.accepted()
	if found && slices.ContainsFunc(s.readByCondition(), saysMore) {
		grade = agentidp.GradeB
	}
	if found {
		weakest.Claims = s.token.tell(p, s.readByCondition())
	} else {
		weakest.Who += ", as far as the condition lets them"
	}
	return grade, weakest
}

// readByCondition returns the claims that the condition reads.
func (s *search) readByCondition() []string {
	if s.condition == nil {
		return nil
	}
	return s.condition.Claims()
}
