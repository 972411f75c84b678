package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// change is one step of a plan: a policy is created (it is none yet), updated, deleted
// (it is wanted no more), or stays as it is.
type change struct {
	have  *agentidp.TrustPolicy
	want  *declared
	draft *agentidp.PolicyDraft // what want will be
}

// plan is what makes policies what files declare, in the order in which it is done.
type plan struct {
	create, update, remove []change
	unchanged              int
	kept                   []*agentidp.TrustPolicy // in no file, and not to be deleted
	have                   []*agentidp.TrustPolicy // all that there are
}

func (p *plan) changes() []change { return slices.Concat(p.create, p.update, p.remove) }

// pairing finds for each wanted policy the one that there is.
type pairing struct {
	want []change                // in the order of the files
	have []*agentidp.TrustPolicy // in the order of their creation
	used map[*agentidp.TrustPolicy]bool
}

// newPlan pairs what is wanted with what there is: first by the ids that files say, then
// what has the same effect, and the rest, where provider, repository and agent are the
// same, by the fewest members that differ. What is left of one side is created, and of
// the other deleted where prune says so.
func newPlan(want []change, have []*agentidp.TrustPolicy, prune func(*agentidp.TrustPolicy) bool) (*plan, error) {
	p := &pairing{want: want, have: have, used: map[*agentidp.TrustPolicy]bool{}}
	if err := errors.Join(p.byID(), p.byEffect()); err != nil {
		return nil, usageError{err}
	}
	p.byLikeness()
	out := &plan{have: have}
	for _, c := range p.want {
		switch {
		case c.have == nil:
			out.create = append(out.create, c)
		case len(differences(&c.have.TrustPolicySpec, &c.draft.TrustPolicySpec)) == 0:
			out.unchanged++
		default:
			out.update = append(out.update, c)
		}
	}
	for _, h := range p.have {
		switch {
		case p.used[h]:
		case prune(h):
			out.remove = append(out.remove, change{have: h})
		default:
			out.kept = append(out.kept, h)
		}
	}
	return out, nil
}

func (p *pairing) pair(c *change, have *agentidp.TrustPolicy) {
	c.have = have
	p.used[have] = true
}

// byID pairs what files name by its id.
func (p *pairing) byID() error {
	byID := map[string]*agentidp.TrustPolicy{}
	for _, h := range p.have {
		byID[h.ID] = h
	}
	var errs []error
	for i := range p.want {
		c := &p.want[i]
		if c.want.ID == "" {
			continue
		}
		h := byID[c.want.ID]
		switch {
		case h == nil:
			errs = append(errs, c.want.problem("id", "there is no such policy; leave it out to create one"))
		case p.used[h]:
			errs = append(errs, c.want.problem("id", "another policy in the files has it too"))
		case groupOf(&h.TrustPolicySpec) != groupOf(&c.draft.TrustPolicySpec):
			errs = append(errs, c.want.problem("id", "it is of a policy with another provider, repository or agentId, which never change; leave it out to create one"))
		default:
			p.pair(c, h)
		}
	}
	return errors.Join(errs...)
}

// byEffect pairs what does the same. There are no two policies of the same effect, so
// none may be in the way of another that is about to get it.
func (p *pairing) byEffect() error {
	byEffect := map[string]*agentidp.TrustPolicy{}
	for _, h := range p.have {
		byEffect[policy.Fingerprint(&h.TrustPolicySpec)] = h
	}
	var errs []error
	for i := range p.want {
		c := &p.want[i]
		h := byEffect[policy.Fingerprint(&c.draft.TrustPolicySpec)]
		switch {
		case h == nil || h == c.have:
		case c.have != nil || p.used[h]:
			errs = append(errs, c.want.problem("id", "the policy "+h.ID+" has this effect already; leave the ids out, and each is taken for the one that is most like it"))
		default:
			p.pair(c, h)
		}
	}
	return errors.Join(errs...)
}

// group is of what never changes in a policy.
type group struct{ provider, repository, agent string }

func groupOf(s *agentidp.TrustPolicySpec) group {
	return group{s.Provider, agentidp.FoldRepository(s.Repository), s.AgentID}
}

// byLikeness pairs the rest of each group, the most alike first; of those that are as
// alike, the first in the files with the one that was created first.
func (p *pairing) byLikeness() {
	type there struct {
		policy *agentidp.TrustPolicy
		says   []string
	}
	free := map[group][]there{}
	for _, h := range p.have {
		if !p.used[h] {
			g := groupOf(&h.TrustPolicySpec)
			free[g] = append(free[g], there{h, spelled(h.TrustPolicySpec)})
		}
	}
	type pair struct {
		want   *change
		have   *agentidp.TrustPolicy
		differ int
	}
	var pairs []pair
	for i := range p.want {
		c := &p.want[i]
		if c.have != nil {
			continue
		}
		says := spelled(c.draft.TrustPolicySpec)
		for _, h := range free[groupOf(&c.draft.TrustPolicySpec)] {
			pairs = append(pairs, pair{c, h.policy, differing(h.says, says)})
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.differ, b.differ) })
	for _, pair := range pairs {
		if pair.want.have == nil && !p.used[pair.have] {
			p.pair(pair.want, pair.have)
		}
	}
}

// difference is a member of a policy that becomes another.
type difference struct{ member, from, to string }

// specMembers are the members of a policy that an administrator says, in their order.
var specMembers = slices.Collect(jsonFields(reflect.TypeFor[agentidp.TrustPolicySpec]()))

// spelled returns what a policy says in each of its members, in a form that is equal where
// the member is. A repository is the same in whatever case it is written.
func spelled(s agentidp.TrustPolicySpec) []string {
	s.Repository = agentidp.FoldRepository(s.Repository)
	all := make([]string, len(specMembers))
	for i, field := range specMembers {
		if v := reflect.ValueOf(s).FieldByIndex(field.Index); !v.IsZero() {
			doc, _ := json.Marshal(v.Interface()) // text, numbers and lists of these cannot fail
			all[i] = string(doc)
		}
	}
	return all
}

// differing counts the members that are not the same.
func differing(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// differences are those between two policies in their effective form, in the order of
// the members.
func differences(from, to *agentidp.TrustPolicySpec) []difference {
	was, is := spelled(*from), spelled(*to)
	var all []difference
	for i, field := range specMembers {
		if was[i] != is[i] {
			all = append(all, difference{memberName(&field), memberText(reflect.ValueOf(from).Elem().FieldByIndex(field.Index)), memberText(reflect.ValueOf(to).Elem().FieldByIndex(field.Index))})
		}
	}
	return all
}

// memberText is how a member of a policy is shown; "" where it says nothing.
func memberText(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	switch value := v.Interface().(type) {
	case []string:
		return strings.Join(value, ", ")
	case *time.Time:
		return value.Format(time.RFC3339Nano)
	case agentidp.ClaimConditions:
		doc, _ := json.Marshal(value) // text cannot fail
		return string(doc)
	}
	return fmt.Sprint(v)
}

// checkTwice refuses two declarations of one effect, which would be one policy.
func checkTwice(want []change) error {
	first := map[string]*declared{}
	var errs []error
	for _, c := range want {
		effect := policy.Fingerprint(&c.draft.TrustPolicySpec)
		if other := first[effect]; other != nil {
			errs = append(errs, fmt.Errorf("%s: it has the same effect as the policy at %s; remove one of them", c.want.at(""), other.at("")))
			continue
		}
		first[effect] = c.want
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}
