package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// print shows a plan: each change with what it changes, how strong the policy is before
// and after, and what is weak about it.
func (p *plan) print(out io.Writer, prune bool) {
	for i := range p.create {
		c := &p.create[i]
		say(out, "+ create  %s  (%s)", c.name(), c.want.at(""))
		for _, d := range differences(&agentidp.TrustPolicySpec{}, &c.draft.TrustPolicySpec) {
			say(out, "    %s: %s", d.member, d.to)
		}
		c.sayStrength(out)
	}
	for i := range p.update {
		c := &p.update[i]
		say(out, "~ update  %s  %s  (%s)", c.have.ID, c.name(), c.want.at(""))
		for _, d := range differences(&c.have.TrustPolicySpec, &c.draft.TrustPolicySpec) {
			say(out, "    %s: %s → %s", d.member, cmp.Or(d.from, "(none)"), cmp.Or(d.to, "(none)"))
		}
		c.sayStrength(out)
	}
	alike := p.alike()
	for i := range p.remove {
		h := p.remove[i].have
		say(out, "- delete  %s  %s", h.ID, inUse(h, alike))
	}
	for _, k := range p.kept {
		switch {
		case byRegistration(k):
			say(out, "  keep    %s  %s  (in no file; a registration created it)", k.ID, inUse(k, alike))
		case !prune:
			say(out, "  keep    %s  %s  (in no file; --prune deletes it)", k.ID, inUse(k, alike))
		}
	}
	say(out, "= %d unchanged", p.unchanged)
	say(out, "Plan: %d to create, %d to update, %d to delete.", len(p.create), len(p.update), len(p.remove))
}

// alike are the policies that there are, by what people know them by.
func (p *plan) alike() map[string][]*agentidp.TrustPolicy {
	all := map[string][]*agentidp.TrustPolicy{}
	for _, h := range p.have {
		name := specName(&h.TrustPolicySpec)
		all[name] = append(all[name], h)
	}
	return all
}

// inUse is what somebody has to know who takes a policy away: which of those that are
// known by the same name it is, whether it grants anything, to whom, and when it did.
func inUse(p *agentidp.TrustPolicy, alike map[string][]*agentidp.TrustPolicy) string {
	name := specName(&p.TrustPolicySpec)
	grade, _ := gradeOf(&p.PolicyAssessment)
	said := append(unlike(p, alike[name]), "grade "+grade, lastUse(p))
	if p.Mode != agentidp.ModeEnforce {
		said = slices.Insert(said, len(said)-2, "mode "+string(p.Mode))
	}
	return name + "  " + strings.Join(said, ", ")
}

const longest = 60 // of what a member says in a line

// unlike are the members in which a policy differs from others, but for those that are said
// anyway or change nothing.
func unlike(p *agentidp.TrustPolicy, others []*agentidp.TrustPolicy) []string {
	differ := map[string]string{}
	for _, other := range others {
		for _, d := range differences(&other.TrustPolicySpec, &p.TrustPolicySpec) {
			differ[d.member] = d.member + ": " + shorten(cmp.Or(d.to, "(none)"), longest)
		}
	}
	delete(differ, "mode")
	delete(differ, "description")
	var said []string
	for _, name := range slices.Sorted(maps.Keys(differ)) {
		said = append(said, differ[name])
	}
	return said
}

// lastUse is when a policy granted the last time, or would have, and how often it did.
func lastUse(p *agentidp.TrustPolicy) string {
	if p.LastMatchedAt == nil {
		return "never matched"
	}
	times := "once"
	if p.MatchCount != 1 {
		times = fmt.Sprintf("%d times", p.MatchCount)
	}
	return "last matched " + p.LastMatchedAt.UTC().Format(time.DateOnly) + ", " + times
}

// sayStrength says the grade that a policy has and will have, and what is weak about
// what it will be.
func (c *change) sayStrength(out io.Writer) {
	var was agentidp.PolicyAssessment
	if c.have != nil {
		was = c.have.PolicyAssessment
	}
	grade, who := gradeOf(&c.draft.PolicyAssessment)
	switch before, _ := gradeOf(&was); {
	case c.have != nil && before != grade:
		say(out, "    grade: %s → %s%s", before, grade, who)
	default:
		say(out, "    grade: %s%s", grade, who)
	}
	for _, w := range c.draft.Warnings {
		say(out, "    warning: %s: %s", w.Code, w.Message)
	}
}

// gradeOf is a grade, and in parentheses who can get the weakest token; where a policy
// has none, a dash.
func gradeOf(a *agentidp.PolicyAssessment) (grade, who string) {
	if a.Weakest != nil && a.Weakest.Who != "" {
		who = "  (" + a.Weakest.Who + ")"
	}
	return cmp.Or(string(a.Grade), "-"), who
}

// name is what people know the policy by that a change is about.
func (c *change) name() string {
	if c.draft != nil {
		return specName(&c.draft.TrustPolicySpec)
	}
	return specName(&c.have.TrustPolicySpec)
}

// specName is whose runs get what.
func specName(s *agentidp.TrustPolicySpec) string {
	parts := []string{s.Provider}
	for _, known := range []string{s.Repository, claimsShort(s.Claims)} {
		if known != "" {
			parts = append(parts, known)
		}
	}
	for _, member := range []string{"Branch", "Tag", "Environment", "Workflow"} {
		if value := reflect.ValueOf(s).Elem().FieldByName(member).String(); value != "" {
			parts = append(parts, strings.ToLower(member)+" "+value)
		}
	}
	if s.Bootstrap() {
		return strings.Join(append(parts, "bootstrap"), " ")
	}
	return strings.Join(append(parts, "agent "+s.AgentID), " ")
}

// say prints one line of what comes from files and servers.
func say(out io.Writer, format string, args ...any) {
	fmt.Fprintln(out, printable(fmt.Sprintf(format, args...)))
}
