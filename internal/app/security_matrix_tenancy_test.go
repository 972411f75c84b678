package app

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// TestWhatIsAnothersIsLikeWhatIsNot: every request of the matrix that
// names something, made by those who may do anything in their own organization, with
// the names of another's things in place of their own. The answer is that to a name
// that nobody has, and nothing of the other's changes.
func TestWhatIsAnothersIsLikeWhatIsNot(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	sent := map[string]bool{} // what bravo said itself may come back to it
	named := 0
	for _, op := range m.all {
		for i, build := range matrixRequests[op.id] {
			t.Run(fmt.Sprint("A-152 ", op.id, " ", i), func(t *testing.T) {
				x := &intrusion{op, build, m.alpha.in(t), m.bravo.in(t), nil, nil, sent}
				x.theirs = build(x.alpha)
				names := x.theirs.names(build(x.bravo))
				if len(names) == 0 {
					return
				}
				named++
				before := x.alpha.everything(m.all)
				x.marks = x.alpha.marks(before)
				var foreign *answer
				for _, replaced := range sets(names) {
					for _, c := range x.bravo.omnipotent() {
						foreign = x.by(c, replaced)
					}
				}
				if after := x.alpha.everything(m.all); after != before {
					t.Errorf("A-152 the other organization was\n%s\nand is\n%s", before, after)
				}
				// And it names something, which its owner reaches.
				own := x.alpha.ask(op, x.theirs, x.alpha.root)
				if own.Status > 299 || gist(own) == gist(foreign) && !x.marks.Match(own.Raw) {
					t.Errorf("by its owner: %s", gist(own))
				}
			})
		}
	}
	if named == 0 {
		t.Error("no request names anything")
	}
}

// intrusion is an operation that is given, in one organization, the names of things
// of another.
type intrusion struct {
	op           *operation
	build        func(*party) *request
	alpha, bravo *party
	theirs       *request       // valid in alpha
	marks        *regexp.Regexp // of what is alpha's
	sent         map[string]bool
}

// by sends what a caller of bravo would send, with those inputs taken from alpha's
// request, and returns the answer.
func (x *intrusion) by(c caller, inputs []string) *answer {
	t := x.bravo.t
	t.Helper()
	for _, change := range []func(string) string{strings.Clone, nobodys} {
		for _, value := range *(&request{}).naming(inputs, x.theirs, change) {
			x.sent[x.marks.FindString(value.(string))] = true
		}
	}
	foreign := x.bravo.ask(x.op, x.build(x.bravo).naming(inputs, x.theirs, strings.Clone), c.token)
	unknown := x.bravo.ask(x.op, x.build(x.bravo).naming(inputs, x.theirs, nobodys), c.token)
	if got, want := gist(foreign), gist(unknown); got != want {
		t.Errorf("A-152 %s with another organization's %v:\n%s\nand with what there is not:\n%s", c.name, inputs, got, want)
	}
	for _, mark := range x.marks.FindAllString(string(foreign.Raw)+fmt.Sprint(foreign.Header), -1) {
		if !x.sent[mark] {
			t.Errorf("A-152 %s with another organization's %v is shown its %s: %s", c.name, inputs, mark, gist(foreign))
		}
	}
	if filter := inputs[0]; strings.HasPrefix(filter, "query.") && filter != "query.cursor" && fmt.Sprint(foreign.Body["items"]) != "[]" {
		t.Errorf("A-152 %s with another organization's %v: %s", c.name, inputs, foreign.Raw)
	}
	return foreign
}

// names returns the inputs whose values are the party's own: those that differ from
// another party's.
func (r *request) names(other *request) []string {
	var names []string
	for input, value := range *r {
		s, ok := value.(string)
		if ok && s != (*other)[input] {
			names = append(names, input)
		}
	}
	slices.Sort(names)
	return names
}

// sets returns all the names, and each alone where there are several.
func sets(names []string) [][]string {
	var all [][]string
	if len(names) > 1 {
		for _, name := range names {
			all = append(all, []string{name})
		}
	}
	return append(all, names)
}

// naming puts another request's values, changed, in place of those inputs.
func (r *request) naming(inputs []string, other *request, change func(string) string) *request {
	for _, input := range inputs {
		(*r)[input] = change((*other)[input].(string))
	}
	return r
}

// omnipotent are those who may call everything in their organization.
func (p *party) omnipotent() []caller {
	return slices.DeleteFunc(slices.Clone(p.always), func(c caller) bool {
		return !c.may(&operation{principals: []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent}})
	})
}

// gist is what an answer tells: status, headers and body, without what names the
// caller's own things and this one request.
func gist(a *answer) string {
	h := maps.Clone(a.Header)
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
		h.Del(name)
	}
	return nameless(fmt.Sprint(a.Status, " ", h, " ", string(a.Raw)))
}

// usageCounters are kept in memory and written at most once a minute, at any moment.
var usageCounters = regexp.MustCompile(`"(lastMatchedAt|matchCount)":[^,}]*,?`)

// everything returns all that the party's lists show, as it reads it itself: every
// object whole, its decisions and its events.
func (p *party) everything(all []*operation) string {
	p.t.Helper()
	var b strings.Builder
	for _, op := range all {
		if op.method != http.MethodGet || !slices.Contains(op.inputs, "query.cursor") {
			continue
		}
		for r := (&request{"query.limit": "200", "path.agentId": p.first.agent}); ; {
			a := p.want(p.ask(op, r, p.root), 200)
			fmt.Fprintf(&b, "%s\n%s", op.id, usageCounters.ReplaceAll(a.Raw, nil))
			if (*r)["query.cursor"] = a.str("nextCursor"); (*r)["query.cursor"] == "" {
				break
			}
		}
	}
	return b.String()
}

// marks matches whatever bears the party's name or mark, or is an id of its own.
func (p *party) marks(everything string) *regexp.Regexp {
	ids := anID.FindAllString(everything, -1)
	slices.Sort(ids)
	return regexp.MustCompile(p.name + `-\d+|\b` + p.mark + `\d{10}\b|` + strings.Join(slices.Compact(ids), "|"))
}
