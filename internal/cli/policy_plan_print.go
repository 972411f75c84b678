package cli

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"

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
	for i := range p.remove {
		c := &p.remove[i]
		say(out, "- delete  %s  %s", c.have.ID, c.name())
	}
	for _, k := range p.kept {
		switch {
		case byRegistration(k):
			say(out, "  keep    %s  %s  (in no file; a registration created it)", k.ID, specName(&k.TrustPolicySpec))
		case !prune:
			say(out, "  keep    %s  %s  (in no file; --prune deletes it)", k.ID, specName(&k.TrustPolicySpec))
		}
	}
	say(out, "= %d unchanged", p.unchanged)
	say(out, "Plan: %d to create, %d to update, %d to delete.", len(p.create), len(p.update), len(p.remove))
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
	parts := []string{s.Provider, cmp.Or(s.Repository, claimsShort(s.Claims))}
	for _, member := range []string{"Branch", "Tag", "Environment"} {
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
