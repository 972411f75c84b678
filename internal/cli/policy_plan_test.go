package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

const (
	planAgent = "01890000-0000-7000-8000-00000000000a"
	planOther = "01890000-0000-7000-8000-00000000000b"
)

// planned is a policy of acme/deploy in its effective form, in a few words: "main",
// "tag v*", "other main" of another agent, "any push" of one event, with a description
// after a slash, and the policy's own id before a colon.
func planned(words string) (id string, spec agentidp.TrustPolicySpec) {
	id, words, named := strings.Cut(words, ":")
	if !named {
		id, words = "", id
	}
	words, spec.Description, _ = strings.Cut(words, "/")
	spec.Provider, spec.Repository, spec.AgentID = "github", "acme/deploy", planAgent
	spec.Events = []string{"push", "schedule"}
	fields := strings.Fields(words)
	if fields[0] == "other" {
		spec.AgentID, fields = planOther, fields[1:]
	}
	if fields[0] == "UPPER" {
		spec.Repository, fields = "Acme/DEPLOY", fields[1:]
	}
	switch {
	case fields[0] == "tag":
		spec.Tag, fields = fields[1], fields[1:]
	case fields[0] != "any":
		spec.Branch = fields[0]
	}
	if len(fields) > 1 {
		spec.Events = fields[1:]
	}
	return id, policy.Normalize(spec, nil)
}

func TestWhatAPlanPairs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		have, want []string // in words; of what there is, the ids are p1, p2 …
		plan       string
	}{
		{"nothing and nothing", nil, nil, "= 0"},
		{"what is not there is created", nil, []string{"main"}, "+ main\n= 0"},
		{"what is there stays, whatever its place", []string{"main", "release"}, []string{"release", "main"}, "= 2"},
		{"a repository is the same in any case", []string{"main"}, []string{"UPPER main"}, "= 1"},
		{"another text for people is a change of the same policy", []string{"main/a", "main push"}, []string{"main/b"}, "~ p1 main\n= 0\n- p2"},
		{"what differs is updated", []string{"main"}, []string{"release"}, "~ p1 release\n= 0"},
		{"what is left over is deleted", []string{"main", "release"}, []string{"main"}, "= 1\n- p2"},
		{"of two, the one with the fewest differences", []string{"main", "release"}, []string{"release push"}, "~ p2 release\n= 0\n- p1"},
		{"the most alike are paired first, whoever stands first", []string{"main", "release push"}, []string{"tag v* push", "release schedule"}, "~ p1 v*\n~ p2 release\n= 0"},
		{"as alike: the first of the files, and who was there first", []string{"a", "b"}, []string{"c", "d"}, "~ p1 c\n~ p2 d\n= 0"},
		{"another agent's policy is another", []string{"main"}, []string{"other main"}, "+ main\n= 0\n- p1"},
		{"an id says which is meant", []string{"main", "release"}, []string{"p2:tag v*"}, "~ p2 v*\n= 0\n- p1"},
		{"an id frees the others", []string{"a", "b"}, []string{"c", "p1:d"}, "~ p2 c\n~ p1 d\n= 0"},
		{"an id of nothing", []string{"main"}, []string{"p7:main"}, "f:1: id: there is no such policy; leave it out to create one"},
		{"an id twice", []string{"main"}, []string{"p1:a", "p1:b"}, "f:2: id: another policy in the files has it too"},
		{"an id of another agent's", []string{"main"}, []string{"p1:other main"}, "f:1: id: it is of a policy with another provider, repository or agentId, which never change; leave it out to create one"},
		{"an id that would take another's effect", []string{"a", "b"}, []string{"p1:b", "p2:a"}, "f:1: id: the policy p2 has this effect already; leave the ids out, and each is taken for the one that is most like it\nf:2: id: the policy p1 has this effect already; leave the ids out, and each is taken for the one that is most like it"},
	} {
		for _, reversed := range []bool{false, true} { // what there is, in whatever order it is listed
			var have []*agentidp.TrustPolicy
			for i, words := range tt.have {
				_, spec := planned(words)
				have = append(have, &agentidp.TrustPolicy{ID: fmt.Sprint("p", i+1), TrustPolicySpec: spec, Revision: 1})
			}
			if reversed {
				slices.Reverse(have)
				if strings.HasPrefix(tt.name, "as alike") {
					continue // there the order decides
				}
			}
			var want []change
			for i, words := range tt.want {
				id, spec := planned(words)
				want = append(want, change{want: &declared{TrustPolicySpec: spec, ID: id, file: "f", node: &yaml.Node{Line: i + 1}}, draft: &agentidp.PolicyDraft{TrustPolicySpec: spec}})
			}
			got := planText(newPlan(want, have, func(*agentidp.TrustPolicy) bool { return true }))
			if diff := cmp.Diff(tt.plan, got); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
	}
}

func planText(p *plan, err error) string {
	if err != nil {
		return err.Error()
	}
	var lines []string
	short := func(c *change) string { return c.draft.Branch + c.draft.Tag }
	for _, c := range p.create {
		lines = append(lines, "+ "+short(&c))
	}
	for _, c := range p.update {
		lines = append(lines, "~ "+c.have.ID+" "+short(&c))
	}
	lines = append(lines, fmt.Sprint("= ", p.unchanged))
	for _, c := range p.remove {
		lines = append(lines, "- "+c.have.ID)
	}
	return strings.Join(lines, "\n")
}

func TestMembersThatDifferAreSaidEachOnce(t *testing.T) {
	t.Parallel()
	at := time.Date(2126, 11, 21, 12, 0, 0, 0, time.UTC)
	from := agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: "main", Events: []string{"push"}, MaxAgents: 10, Claims: agentidp.ClaimConditions{"a": {"x|y"}}}
	to := agentidp.TrustPolicySpec{Provider: "github", Repository: "ACME/deploy", Tag: "v*", Events: []string{"push", "release"}, MaxAgents: 5, Claims: agentidp.ClaimConditions{"a": {"x", "y"}}, TrustRegisteredAgents: true, ExpiresAt: &at}
	want := []difference{
		{"branch", "main", ""},
		{"tag", "", "v*"},
		{"events", "push", "push, release"},
		{"claims", `{"a":"x|y"}`, `{"a":["x","y"]}`},
		{"maxAgents", "10", "5"},
		{"trustRegisteredAgents", "", "true"},
		{"expiresAt", "", "2126-11-21T12:00:00Z"},
	}
	if diff := cmp.Diff(want, differences(&from, &to), cmp.AllowUnexported(difference{})); diff != "" {
		t.Error(diff)
	}
}

// Whoever lets a policy be deleted has to see which one it is, and whether anybody needs it.
func TestAPlanSaysWhatIsKnownOfAPolicyThatGoes(t *testing.T) {
	t.Parallel()
	policies := []*agentidp.TrustPolicy{there(1, "main"), there(2, "main"), there(3, "main"), there(4, "main"), there(5, "main"), there(6, "next")}
	policies[0].LastMatchedAt, policies[0].MatchCount = new(time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)), 14
	policies[1].Mode, policies[1].Claims = agentidp.ModeShadow, agentidp.ClaimConditions{"team": {"dev", "ops"}}
	policies[2].Workflow, policies[2].Grade = ".github/workflows/deploy.yml", ""
	policies[3].Environment, policies[3].Mode = "production", agentidp.ModeDisabled
	policies[4].Events, policies[4].Condition, policies[4].Description = []string{"schedule"}, strings.Repeat("claims.ref != '' && ", 9)+"true", "Another."
	policies[5].LastMatchedAt, policies[5].MatchCount = policies[0].LastMatchedAt, 1
	p, err := newPlan(nil, policies, func(p *agentidp.TrustPolicy) bool { return p.Branch == "main" })
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p.print(&out, false)
	const name, id = "github acme/deploy branch ", "01890000-0000-7000-8000-00000000000"
	want := "- delete  " + id + "1  " + name + "main bootstrap  condition: (none), events: push, grade B, last matched 2026-11-20, 14 times\n" +
		"- delete  " + id + "2  github acme/deploy team=dev|ops branch main bootstrap  mode shadow, grade B, never matched\n" +
		"- delete  " + id + "3  " + name + "main workflow .github/workflows/deploy.yml bootstrap  grade -, never matched\n" +
		"- delete  " + id + "4  " + name + "main environment production bootstrap  mode disabled, grade B, never matched\n" +
		"- delete  " + id + "5  " + name + "main bootstrap  condition: claims.ref != '' && claims.ref…' && claims.ref != '' && true, events: schedule, grade B, never matched\n" +
		"  keep    " + id + "6  " + name + "next bootstrap  grade B, last matched 2026-11-20, once  (in no file; --prune deletes it)\n" +
		"= 0 unchanged\nPlan: 0 to create, 0 to update, 5 to delete.\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
