package policy

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

// maxTraced bounds how many candidates a decision is traced for, beside the one that
// grants, and maxShown the bytes of each value in it: decisions are stored, and what
// they hold comes partly from the caller.
const (
	maxTraced = 20
	maxShown  = 300
)

// An attempt is a candidate and how far it got.
type attempt struct {
	*Compiled
	failed int // the index of its first condition that does not hold, or len(conditions)
}

// compare orders attempts: the furthest first, and of several that got equally far the
// one with the lowest id.
func (a attempt) compare(b attempt) int {
	if a.failed != b.failed {
		return b.failed - a.failed
	}
	return strings.Compare(a.Policy.ID, b.Policy.ID)
}

// stopped are the candidates that do not grant: how many there are, and those that got
// furthest, in order. It is filled without an allocation, for each exchange has one.
type stopped struct {
	n        int
	furthest [maxTraced]attempt
}

func (s *stopped) add(a attempt) {
	list := s.furthest[:min(s.n, maxTraced)]
	s.n++
	if len(list) == maxTraced && a.compare(list[maxTraced-1]) > 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(list, a, attempt.compare)
	copy(s.furthest[at+1:], list[at:])
	s.furthest[at] = a
}

// traced returns those of which a decision tells, beside the shadows, which are told
// apart from them, and how many more there are.
func (s *stopped) traced(shadows []attempt) (list []attempt, more int) {
	list = s.furthest[:min(s.n, maxTraced)]
	if len(shadows) > 0 {
		list = slices.DeleteFunc(list, func(a attempt) bool { return a.isAmong(shadows) })
	}
	list = list[:min(len(list), maxTraced-len(shadows))]
	return list, s.n - len(shadows) - len(list)
}

// traceRefusal shows all checks of the candidates. There is room for those of the shadows.
func traceRefusal(others *stopped, r *request, shadows []attempt) []agentidp.Check {
	list, more := others.traced(shadows)
	checks := make([]agentidp.Check, 0, (len(list)+len(shadows))*len(conditions)+1)
	for _, a := range list {
		checks = trace(checks, a.Compiled, r)
	}
	return tellMore(checks, more, " more did not grant either")
}

// traceGrant shows all checks of the candidate that grants, and of each other the one that
// stopped it: why not that one, somebody will ask. Others that would grant too are not
// told of. There is room for the checks of the shadows.
func traceGrant(granting *Compiled, others *stopped, r *request, shadows []attempt) []agentidp.Check {
	list, more := others.traced(shadows)
	checks := make([]agentidp.Check, 0, (1+len(shadows))*len(conditions)+len(list)+1)
	checks = trace(checks, granting, r)
	for _, a := range list {
		checks = traceStop(checks, a, r)
	}
	return tellMore(checks, more, " more did not grant")
}

func tellMore(checks []agentidp.Check, more int, what string) []agentidp.Check {
	if more <= 0 {
		return checks
	}
	return append(checks, agentidp.Check{
		Check:    "more_policies",
		Expected: "at most " + strconv.Itoa(maxTraced) + " policies are shown, those that got furthest first",
		Got:      strconv.Itoa(more) + what,
	})
}

// traceStop appends the check at which a candidate was stopped; where that is one of
// several for one condition, the first that failed.
func traceStop(checks []agentidp.Check, a attempt, r *request) []agentidp.Check {
	before := len(checks)
	checks = traceOne(checks, &conditions[a.failed], a.Compiled, r)
	for _, c := range checks[before:] {
		if !c.OK {
			return append(checks[:before], c)
		}
	}
	return checks
}

// trace appends one check for every condition that the policy has, including
// those behind the first that fails: an administrator wants to mend all at once.
func trace(checks []agentidp.Check, c *Compiled, r *request) []agentidp.Check {
	for i := range conditions {
		checks = traceOne(checks, &conditions[i], c, r)
	}
	return checks
}

func traceOne(checks []agentidp.Check, cond *comparison, c *Compiled, r *request) []agentidp.Check {
	if cond.show == nil {
		return traceClaims(checks, cond.name, c, r)
	}
	expected, got := cond.show(c, r)
	if expected == "" {
		return checks
	}
	return append(checks, agentidp.Check{
		PolicyID: c.Policy.ID,
		Check:    cond.name,
		Claim:    string(cond.claim),
		Expected: clip(expected, maxShown),
		Got:      clip(got, maxShown),
		OK:       cond.holds(c, r),
	})
}

// clip shortens s to about n bytes, at a character's edge, and says so.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
