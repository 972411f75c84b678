package app

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// matrix is a server with two organizations, and the operations that it documents.
type matrix struct {
	*world
	all          []*operation
	alpha, bravo *party
}

// party is an organization with its callers. What it owns bears its name or its
// mark, so that an answer which shows some of it to another can be told.
type party struct {
	*world
	name, mark string
	root       string // an administrator's token
	made       *atomic.Int64
	always     []caller            // at every operation
	scoped     map[string][]caller // at an operation that needs this scope
	first      *granted            // what lists are asked for
}

// caller is somebody who presents a token, and what it is worth under the prefix of
// its own organization.
type caller struct {
	name   string
	token  string
	kind   agentidp.PrincipalKind // "": nothing
	scopes []string
}

// harmless is a capability that every caller with an authority of its own holds. No
// operation needs it, and requests give it: who may give what is a rule of its own
// (nobody gives what they do not hold) and not what the matrix is about.
const harmless = "deploy:matrix"

// newMatrix starts the server. Tokens that will have expired are issued first, and
// then two hours pass.
func newMatrix(t *testing.T) *matrix {
	t.Helper()
	w := newWorld(t)
	m := &matrix{world: w, all: w.operations()}
	m.alpha = &party{world: w, name: "alpha", mark: "771"}
	m.bravo = &party{world: w.tenant("bravo"), name: "bravo", mark: "772"}
	for _, p := range []*party{m.alpha, m.bravo} {
		p.made, p.scoped, p.root = &atomic.Int64{}, map[string][]caller{}, p.admin()
		p.policy(p.root, map[string]any{"repository": p.repository(), "maxAgents": 10_000, "tokenTtlSeconds": 3600})
		agent, _ := p.agent("", agentidp.ScopeAdmin)
		p.always = []caller{
			{name: "an administrator's expired token", token: p.root}, {name: "an agent's expired token", token: agent}, {name: "an expired bootstrap token", token: p.bootstrap(p.run())},
		}
	}
	w.clock.advance(2 * time.Hour)
	for _, p := range []*party{m.alpha, m.bravo} {
		p.root = p.admin()
		p.first = p.grant()
		p.call()
	}
	return m
}

// call fills in those who call every operation.
func (p *party) call() {
	p.t.Helper()
	admin := []string{agentidp.ScopeAdmin}
	issue := func(audience string) string { token, _ := p.agent(audience, admin...); return token }
	gone := []string{p.admin(), issue(""), p.bootstrap(p.run())}
	for _, token := range gone {
		p.ended(p.revoke("", token))
	}
	suspended, id := p.agent("", admin...)
	p.want(p.do("POST", agentsPath+"/"+id+"/suspend", p.root, nil), 200)
	decommissioned, id := p.agent("", admin...)
	p.want(p.do("DELETE", agentsPath+"/"+id, p.root, nil), 204)
	ci := p.run()
	ci["exp"] = p.clock.Now().Add(50 * time.Minute).Unix() // good until the last test of the matrix, however slow
	p.always = append(p.always,
		caller{name: "nobody"},
		caller{name: "garbage", token: "changeme"},
		caller{name: "a CI token", token: p.subject(ci)},
		caller{name: "a CI token for the management API", token: p.subject(claims{"aud": p.url + "/api/v1"})},
		caller{name: "an altered token", token: flipped(p.root)},
		caller{name: "a revoked administrator's token", token: gone[0]},
		caller{name: "a revoked agent's token", token: gone[1]},
		caller{name: "a revoked bootstrap token", token: gone[2]},
		caller{name: "an agent's token for another service", token: issue("https://deploy.example")},
		caller{name: "an agent's token for the issuer itself", token: issue(p.url)},
		caller{name: "a suspended agent", token: suspended},
		caller{name: "a decommissioned agent", token: decommissioned},
		caller{name: "a bootstrap token whose policy is gone", token: p.orphan()},
		caller{name: "a bootstrap token", token: p.bootstrap(p.run()), kind: agentidp.PrincipalBootstrap, scopes: []string{agentidp.ScopeAgentsWrite}},
		caller{name: "admin", token: p.root, kind: agentidp.PrincipalAdmin, scopes: admin},
		caller{name: "an agent that is admin", token: issue(""), kind: agentidp.PrincipalAgent, scopes: admin},
	)
}

// hold fills in, for both parties, those who hold a scope and those who hold every
// other.
func (m *matrix) hold(scope string) {
	if scope == "" || m.alpha.scoped[scope] != nil {
		return
	}
	needed := strings.Fields(scope)
	others := func(needed ...string) []string {
		return append(slices.DeleteFunc(slices.Clone(agentidp.ManagementScopes), func(s string) bool { return slices.Contains(needed, s) || s == agentidp.ScopeAdmin }), harmless)
	}
	for _, p := range []*party{m.alpha, m.bravo} {
		p.scoped[scope] = slices.Concat(
			p.two("with the scope alone", append(slices.Clone(needed), harmless)),
			p.two("with every scope but that", others(needed...)))
		if len(needed) > 1 {
			for _, one := range needed {
				p.scoped[scope] = append(p.scoped[scope], p.two("with every scope but "+one, others(one))...)
			}
		}
	}
}

// two returns an administrator and an agent with these scopes.
func (p *party) two(how string, scopes []string) []caller {
	p.t.Helper()
	token, _ := p.agent("", scopes...)
	return []caller{
		{name: "an administrator " + how, token: p.admin(scopes...), kind: agentidp.PrincipalAdmin, scopes: scopes},
		{name: "an agent " + how, token: token, kind: agentidp.PrincipalAgent, scopes: scopes},
	}
}

// agent returns a token of a new agent for an audience ("": the management API),
// which an administrator's policy permits, and the agent's id.
func (p *party) agent(audience string, scopes ...string) (token, id string) {
	p.t.Helper()
	if audience == "" {
		audience = p.url + "/api/v1"
	}
	id = p.register(p.root, p.fresh()+"@ci.acme.example", scopes...)
	p.policy(p.root, map[string]any{"repository": p.repository(), "agentId": id, "audiences": []string{audience}, "tokenTtlSeconds": 3600})
	return p.granted(exchangeBody(p.subject(p.run()), id)).str("access_token"), id
}

// orphan returns a bootstrap token whose policy was deleted after it was issued.
func (p *party) orphan() string {
	p.t.Helper()
	name, run := p.strange()
	id := p.policy(p.root, map[string]any{"repository": name}).str("id")
	token := p.bootstrap(run)
	p.want(p.do("DELETE", policiesPath+"/"+id, p.root, nil), 204)
	return token
}

// in returns the same party for a subtest.
func (p *party) in(t *testing.T) *party {
	sub := *p
	sub.world = p.world.in(t)
	return &sub
}

// fresh returns a name that nobody has had, nor the one that nobodys makes of it.
func (p *party) fresh() string { return fmt.Sprintf("%s-%d0", p.name, p.made.Add(1)) }

// number is fresh for numeric ids.
func (p *party) number() string { return fmt.Sprintf("%s%09d0", p.mark, p.made.Add(1)) }

// repository is that of the party's callers, and run what its workflows say.
func (p *party) repository() string { return "acme/" + p.name + "-00" }

func (p *party) run() claims {
	return claims{"repository": p.repository(), "repository_id": p.mark + "0000000000", "repository_owner_id": p.mark + "9999999990"}
}

// strange returns the name and the run of a repository that is new.
func (p *party) strange() (string, claims) {
	name := "acme/" + p.fresh()
	return name, claims{"repository": name, "repository_id": p.number(), "repository_owner_id": p.number()}
}

// callers are all who call an operation that needs this scope. Those of the other
// party are worth nothing.
func (p *party) callers(scope string, other *party) []caller {
	all := slices.Concat(p.always, p.scoped[scope])
	for _, c := range slices.Concat(other.always, other.scoped[scope]) {
		if c.token != "" {
			all = append(all, caller{name: "of another organization: " + c.name, token: c.token})
		}
	}
	return all
}

// wants returns what an answer must be: a status (0: any of success), a code, and a
// challenge as RFC 6750 §3 has it. It knows the rules, and nothing of the server.
func (c *caller) wants(op *operation) (status int, code, challenge string) {
	switch {
	case c.token == "":
		return http.StatusUnauthorized, agentidp.CodeAuthenticationRequired, "Bearer"
	case c.kind == "":
		return http.StatusUnauthorized, agentidp.CodeInvalidToken, `Bearer error="invalid_token"`
	case c.may(op):
		return 0, "", ""
	}
	return http.StatusForbidden, agentidp.CodeInsufficientScope, `Bearer error="insufficient_scope", scope="` + op.scope + `"`
}

func (c *caller) may(op *operation) bool {
	lacks := func(scope string) bool { return !slices.Contains(c.scopes, scope) }
	return slices.Contains(op.principals, c.kind) && (!slices.ContainsFunc(strings.Fields(op.scope), lacks) || slices.Contains(c.scopes, agentidp.ScopeAdmin))
}

// shows asserts that an answer has no part of a token that is anybody's to keep:
// of its payload and its signature, in body or headers.
func (w *world) shows(a *answer, token string) {
	w.t.Helper()
	said := string(a.Raw) + fmt.Sprint(slices.Collect(maps.Values(a.Header)))
	for i, part := range strings.Split(token, ".") {
		if i > 0 && len(part) > 20 && strings.Contains(said, part) {
			w.t.Errorf("an answer of status %d repeats a part of the token", a.Status)
		}
	}
}
