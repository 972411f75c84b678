package app

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// denial is an exchange that one policy refuses, among many that are not for it.
type denial struct {
	name    string
	check   string         // the first that fails in this policy; "": there is no policy for the run
	agent   string         // who is asked for; "": bootstrap
	changes map[string]any // of the policy
	run     claims         // beside the usual ones
	asks    map[string]any // beside token and agentId
	pinned  claims         // the ids that the repository had before; nil: it is not pinned
	code    string
	reads   []string // the claims of the run that the answer has
}

// silence is a server whose policies hold markers alone, and what was seen of its
// refusals.
type silence struct {
	*world
	m       *markers
	admin   string
	agents  []string // whom policies name
	tenant  *world
	foreign string          // the other organization's agent
	ghes    string          // another provider of the repository's organization
	seen    map[string]bool // names of checks; true: one of them was the first to fail
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	s := &silence{world: newWorld(t), m: &markers{}, seen: map[string]bool{}}
	s.admin, s.ghes, s.tenant = s.world.admin(), s.m.text(), s.world.tenant("tenant")
	for range 3 {
		s.agents = append(s.agents, s.register(s.admin, s.m.text()+"@ci.acme.example", "deploy:staging", "deploy:"+s.m.text()))
	}
	s.foreign = s.tenant.register(s.tenant.admin(), s.m.text()+"@ci.acme.example")
	s.registerProvider(agentidp.Provider{Name: s.ghes, Issuer: "https://ghes.example", Algorithms: []string{"RS256"}, JWKSURI: "https://ghes.example/jwks"})
	return s
}

func (s *silence) in(t *testing.T) *silence {
	sub := *s
	sub.world = s.world.in(t)
	return &sub
}

// surround creates policies that are not for a run of the repository which asks for the
// agent: they are for others, or grant nothing, though they would.
func (s *silence) surround(repository, agent string) {
	s.t.Helper()
	other := func(id string) string {
		return map[bool]string{true: s.agents[1], false: s.agents[0]}[id == s.agents[0]]
	}
	around := []map[string]any{
		s.m.policy(repository, other(agent), "all", nil),
		s.m.policy(s.m.text()+"/"+s.m.text(), agent, "all", nil),
		s.m.policy(repository, agent, "", map[string]any{"provider": s.ghes}),
		s.m.policy(repository, agent, "", map[string]any{"mode": "disabled"}),
		s.m.policy(repository, agent, "", map[string]any{"mode": "shadow"}),
		s.m.policy(repository, agent, "all", map[string]any{"mode": "shadow"}),
		s.m.policy(repository, agent, "", map[string]any{"expiresAt": s.clock.Now().Add(time.Minute).UTC().Format(time.RFC3339)}),
	}
	if agent != "" {
		around = append(around, s.m.policy(repository, "", "all", map[string]any{"tag": s.m.text() + "*", "branch": nil}))
	}
	for _, p := range around {
		s.policy(s.admin, p)
	}
	for _, id := range []string{"", s.foreign} {
		s.tenant.policy(s.tenant.admin(), s.m.policy(repository, id, "", nil))
	}
}

// deny makes the repository of a denial, its policies and the exchange through each door.
func (s *silence) deny(i int, d *denial) {
	s.t.Helper()
	repository := fmt.Sprintf("acme/repository-%d", i)
	usual := claims{
		"repository": repository, "repository_id": fmt.Sprint(9000 + i), "repository_owner_id": fmt.Sprint(8000 + i), "event_name": "push",
		"ref": "refs/heads/main", "ref_type": "branch", "environment": "staging", "runner_environment": "github-hosted", "repository_visibility": "private", "actor": "octocat",
		"job_workflow_ref": repository + "/.github/workflows/release.yml@refs/heads/main", "workflow_ref": repository + "/.github/workflows/release.yml@refs/heads/main",
	}
	agent := d.agent
	if !slices.Contains(append(s.agents, ""), agent) {
		agent = s.agents[0]
	}
	s.surround(repository, agent)
	if d.check != "" {
		s.policy(s.admin, s.m.policy(repository, d.agent, d.check, d.changes))
	}
	if d.pinned != nil { // after all were created: later the ids of most would contradict it
		p := s.policy(s.admin, map[string]any{"repository": repository})
		before := maps.Clone(usual)
		maps.Copy(before, d.pinned)
		s.granted(exchangeBody(s.subject(before), ""))
		s.want(s.do("DELETE", policiesPath+"/"+p.str("id"), s.admin, nil), http.StatusNoContent)
	}
	if s.agents[2] == d.agent {
		s.want(s.do("POST", agentsPath+"/"+d.agent+"/suspend", s.admin, nil), http.StatusOK)
	}
	s.clock.advance(2 * time.Minute) // one has expired
	maps.Copy(usual, d.run)
	s.silent(d, usual, func() string { return s.subject(usual) })
}

// silent sends the exchange of a denial through each door, and looks at the answers.
func (s *silence) silent(d *denial, run claims, token func() string) {
	s.t.Helper()
	for _, door := range allDoors {
		body := exchangeBody(token(), d.agent)
		maps.Copy(body, d.asks)
		status := http.StatusForbidden
		if d.code == agentidp.CodeInvalidScope || d.code == agentidp.CodeInvalidTarget {
			status = http.StatusBadRequest
		}
		w := s.through(door)
		a := w.wantAs(w.exchange(body), status, d.code)
		if got := s.traced(a.str("decision_id")); got != d.check {
			s.t.Errorf("%s failed first, and not %s", got, d.check)
		}
		said := map[string]string{}
		for _, name := range d.reads {
			said[name] = fmt.Sprint(run[map[bool]string{true: "event_name", false: name}[name == "event"]])
		}
		read, _ := a.Body["claims"].(map[string]any)
		if got := fmt.Sprint(read); got != fmt.Sprint(said) && len(read)+len(said) > 0 {
			s.t.Errorf("through %s the answer has the claims %v, want %v", door, read, said)
		}
		s.shows(a, d.agent)
	}
}

// shows asserts that neither the body nor a header of an answer has a marker, the id of
// a policy, or that of an agent but the one that was asked for.
func (s *silence) shows(a *answer, agent string) {
	s.t.Helper()
	text := string(a.Raw)
	for name, values := range a.Header {
		if name != "Content-Length" && name != "Date" { // which are numbers of their own
			text += "\n" + name + ": " + strings.Join(values, " ")
		}
	}
	for _, own := range []string{a.str("decision_id"), a.str("request_id")} { // which are random
		text = strings.ReplaceAll(text, own, "")
	}
	if found := marked.FindString(strings.ToLower(text)); found != "" {
		s.t.Errorf("the answer shows %s, which stands in a policy: %s", found, text)
	}
	for _, p := range s.policies() {
		for _, id := range []string{p.ID, p.CreatedBy, p.AgentID} {
			if id != "" && id != agent && strings.Contains(text, id) {
				s.t.Errorf("the answer shows the id %s: %s", id, text)
			}
		}
	}
}

func (s *silence) policies() []agentidp.TrustPolicy {
	s.t.Helper()
	var all []agentidp.TrustPolicy
	for _, w := range []*world{s.world, s.tenant} {
		found, err := s.app.db.Policies(s.t.Context(), w.org().ID, &agentidp.PolicyFilter{}, "", 10_000)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// traced notes the checks of a decision, and returns the first that failed in the policy
// which answered, if that is for the run.
func (s *silence) traced(decisionID string) string {
	s.t.Helper()
	d := s.decision(decisionID)
	first := map[string]string{} // by policy
	for _, c := range d.Checks {
		if !c.OK && first[c.PolicyID] == "" {
			first[c.PolicyID] = c.Check
		}
		s.seen[c.Check] = s.seen[c.Check] || first[c.PolicyID] == c.Check && !c.OK
	}
	if d.Code == agentidp.CodeTrustPolicyViolation {
		return ""
	}
	return first[d.PolicyID]
}
