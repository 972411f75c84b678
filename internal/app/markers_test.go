package app

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// markers are values that stand in one place alone, so that an answer which shows one
// tells where it comes from. Text is zz and letters, and fits wherever a name does;
// numeric ids begin with markedID; lives are seconds that nothing else is; and instants are of
// a year in which nothing else happens.
type markers struct{ n int }

const (
	markedID   = "31337"
	markedYear = 2091
)

func (m *markers) text() string {
	m.n++
	return "zz" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprintf("%05d", m.n))
}

func (m *markers) id() string {
	m.n++
	return fmt.Sprintf("%s%05d", markedID, m.n)
}

func (m *markers) life() int { // in seconds, as many as there are
	m.n++
	return 3000 + m.n%600
}

func (m *markers) instant() string {
	m.n++
	return time.Date(markedYear, 1, 1, 0, 0, m.n, 0, time.UTC).Format(time.RFC3339)
}

// A markedField of a policy that has a condition is marked where its check is to fail, and in
// what follows; before that it says what the run has, beside a marker where it is a list.
// Without a check it is always marked.
type markedField struct {
	name  string
	check string
	holds func(m *markers) any // nil: left out
	marks func(m *markers) any
}

// markedFields are those of policies, in the order of their checks.
var markedFields = []markedField{
	{"repositoryId", "repository_id", nil, func(m *markers) any { return m.id() }},
	{"repositoryOwnerId", "repository_owner_id", nil, func(m *markers) any { return m.id() }},
	{"events", "event", func(m *markers) any { return []string{"push", m.text()} }, func(m *markers) any { return []string{m.text(), m.text()} }},
	{"branch", "ref", func(*markers) any { return "main" }, func(m *markers) any { return m.text() }},
	{"environment", "environment", func(*markers) any { return "staging" }, func(m *markers) any { return m.text() }},
	{"workflow", "workflow", func(*markers) any { return ".github/workflows/release.yml" }, func(m *markers) any { return ".github/workflows/" + m.text() + ".yml" }},
	{"claims", "claims",
		func(m *markers) any {
			return map[string]any{"runner_environment": []string{"github-hosted", m.text()}, "repository_visibility": []string{"priv*", m.text() + "*"}}
		},
		func(m *markers) any {
			return map[string]any{"runner_environment": []string{m.text(), m.text()}, "repository_visibility": m.text() + "*"}
		}},
	{"condition", "condition",
		func(m *markers) any { return fmt.Sprintf("claims.actor in [%q, %q]", "octocat", m.text()) },
		func(m *markers) any {
			return fmt.Sprintf("claims.actor == %q || claims.ref.glob(%q)", m.text(), "refs/heads/"+m.text()+"*")
		}},
	{"scopes", "scope", func(m *markers) any { return []string{"deploy:staging", "deploy:" + m.text()} }, func(m *markers) any { return []string{"deploy:" + m.text()} }},
	{"audiences", "audience", func(m *markers) any { return []string{"https://" + m.text() + ".example", "https://deploy.example"} }, func(m *markers) any { return []string{"https://" + m.text() + ".example"} }},
	{"maxAgents", "", nil, func(m *markers) any { m.n++; return 313370 + m.n%10 }},
	{"agentNamePattern", "", nil, func(m *markers) any { return m.text() + "*@" + m.text() + ".example" }},
	{"tokenTtlSeconds", "", nil, func(m *markers) any { return m.life() }},
	{"expiresAt", "", nil, func(m *markers) any { return m.instant() }},
	{"acceptRisk", "", nil, func(m *markers) any { return "Nobody minds " + m.text() }},
	{"description", "", nil, func(m *markers) any { return "This is " + m.text() }},
}

// ofOneKind are the fields that stand only in policies for agents, or only in the others.
var ofOneKind = map[string]bool{"scopes": true, "audiences": true, "maxAgents": false, "agentNamePattern": false}

// policy returns one whose check of this name fails, and none before; "" for a policy
// that grants. What is changed last counts; nil leaves a field out.
func (m *markers) policy(repository, agentID, failing string, changes map[string]any) map[string]any {
	p := map[string]any{"provider": "github", "repository": repository}
	if agentID != "" {
		p["agentId"] = agentID
	}
	failed := failing == "all"
	for _, f := range markedFields {
		if failed = failed || f.check == failing && failing != ""; failed || f.check == "" {
			p[f.name] = f.marks(m)
		} else if f.holds != nil {
			p[f.name] = f.holds(m)
		}
		if forAgent, one := ofOneKind[f.name]; one && forAgent != (agentID != "") {
			delete(p, f.name)
		}
	}
	maps.Copy(p, changes)
	maps.DeleteFunc(p, func(_ string, v any) bool { return v == nil })
	return p
}

// allMarked asserts that each field that a policy can have is marked in one of them: a
// new field is not forgotten. Ids of agents are unlike each other anyway, and two fields
// have few values.
func (w *world) allMarked(policies []agentidp.TrustPolicy) {
	w.t.Helper()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[agentidp.TrustPolicySpec]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if slices.Contains([]string{"agentId", "mode", "trustRegisteredAgents"}, name) {
			continue
		}
		if !slices.ContainsFunc(policies, func(p agentidp.TrustPolicy) bool {
			return isMarked(fmt.Sprint(reflect.Indirect(reflect.ValueOf(p.TrustPolicySpec).FieldByIndex(field.Index))))
		}) {
			w.t.Errorf("no policy has a marker in %s: put it into markedFields", name)
		}
	}
}

// marked is what every marker has, and nothing else.
var marked = regexp.MustCompile(`zz[a-j]{5}|` + markedID + fmt.Sprintf(`|\b%d-|\b3[0-5][0-9]{2}\b`, markedYear))

func isMarked(said string) bool { return marked.MatchString(said) }
