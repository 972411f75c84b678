package app

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

// matrixRequests are valid requests for every operation of the document, by its
// operationId. TestTheAuthorizationMatrix fails for an operation that is not here,
// and for a parameter, or a member of a body that names something, which no request
// gives.
//
// The first request of an operation is what every caller tries. Each must succeed
// whenever it is made anew, for any caller whom the document admits: so it brings
// the objects that it changes or ends, and gives no authority but harmless.
var matrixRequests = map[string][]func(*party) *request{
	"exchangeToken": {
		func(p *party) *request {
			g := p.grant()
			r := withSubject(g.run)
			(*r)["body.agentId"], (*r)["header.DPoP"] = g.agent, "a fresh proof"
			return r
		},
		func(p *party) *request {
			name, run := p.strange()
			p.policy(p.root, map[string]any{"repository": name})
			return withSubject(run)
		},
	},

	"registerAgent": {func(p *party) *request {
		return &request{"body.name": p.fresh() + "@ci.acme.example", "body.description": "d", "body.agentType": "monitor", "body.version": "1"}
	}},
	"listAgents": {
		with("query.limit", "200"), of("query.cursor", func(g *granted) string { return g.agent }), with("query.status", "active"),
		of("query.name", func(g *granted) string { return g.name }), of("query.registeredByPolicyId", func(g *granted) string { return g.registrar }),
	},
	"getAgent": {func(p *party) *request { return &request{"path.agentId": p.newAgent()} }},
	"updateAgent": {func(p *party) *request {
		return &request{"path.agentId": p.newAgent(), "header.If-Match": `"1"`, "body.description": "changed"}
	}},
	"suspendAgent":      {func(p *party) *request { return &request{"path.agentId": p.newAgent()} }},
	"decommissionAgent": {func(p *party) *request { return &request{"path.agentId": p.newAgent(), "header.If-Match": `"1"`} }},
	"reactivateAgent": {func(p *party) *request {
		id := p.newAgent()
		p.want(p.do("POST", agentsPath+"/"+id+"/suspend", p.root, nil), 200)
		return &request{"path.agentId": id}
	}},

	"createCredential": {func(p *party) *request { return &request{"path.agentId": p.newAgent(), "body.type": "secret"} }},
	"listCredentials": {
		of("path.agentId", func(g *granted) string { return g.agent }),
		func(p *party) *request {
			return &request{"path.agentId": p.first.agent, "query.limit": "200", "query.cursor": p.first.agent} // any id will do
		},
	},
	"getCredential": {func(p *party) *request { return p.credential(p.newAgent()) }},
	"rotateCredential": {func(p *party) *request {
		r := p.credential(p.newAgent())
		(*r)["body.graceSeconds"] = 60
		return r
	}},
	"deleteCredential": {func(p *party) *request { return p.credential(p.newAgent()) }},

	"createTrustPolicy": {func(p *party) *request { return p.newPolicy() }},
	"listTrustPolicies": {
		with("query.limit", "200"), of("query.cursor", func(g *granted) string { return g.policy }), with("query.provider", "github"), with("query.grants", "agent"),
		with("query.mode", "enforce"), with("query.neverMatched", "true"), with("query.expiresBefore", "2036-01-01T00:00:00Z"), of("query.repository", func(g *granted) string { return g.repository }), of("query.agentId", func(g *granted) string { return g.agent }),
	},
	"lintTrustPolicy": {
		func(p *party) *request { return p.newPolicy() },
		func(p *party) *request {
			return &request{"body.provider": "github", "body.repository": p.first.repository}
		},
	},
	"repinTrustPolicy": {func(p *party) *request { return &request{"path.id": p.grant().policy, "header.If-Match": `"1"`} }},
	"getTrustPolicy":   {func(p *party) *request { return &request{"path.id": p.grant().policy} }},
	"replaceTrustPolicy": {func(p *party) *request {
		r := p.newPolicy()
		(*r)["path.id"] = p.want(p.do("POST", policiesPath, p.root, r.part("body")), 201).str("id")
		(*r)["header.If-Match"], (*r)["body.description"] = `"1"`, "changed"
		return r
	}},
	"backtestTrustPolicy": {func(p *party) *request { return &request{"path.id": p.grant().policy, "body.limit": 1} }},
	"backtestTrustPolicyDraft": {func(p *party) *request {
		return &request{"body.policy": p.newPolicy().part("body")}
	}},
	"deleteTrustPolicy": {func(p *party) *request {
		return &request{"path.id": p.grant().policy, "header.If-Match": `"1"`, "query.revokeIssued": "true"}
	}},

	"createProvider": {func(p *party) *request { return p.newProvider() }},
	"listProviders": {
		with("query.limit", "200"), of("query.cursor", func(g *granted) string { return g.agent }), // any id will do
	},
	"getProvider": {func(p *party) *request { return &request{"path.name": p.registered().str("name")} }},
	"replaceProvider": {func(p *party) *request {
		r := p.newProvider()
		p.want(p.do("POST", providersPath, p.root, r.part("body")), 201)
		(*r)["path.name"], (*r)["header.If-Match"], (*r)["body.maxTokenAgeSeconds"] = (*r)["body.name"], `"1"`, 300
		return r
	}},
	"deleteProvider": {func(p *party) *request {
		return &request{"path.name": p.registered().str("name"), "header.If-Match": `"1"`}
	}},
	"testProvider": {func(p *party) *request { return &request{"path.name": p.registered().str("name")} }},

	"revokeTokens": {
		func(p *party) *request { return &request{"body.agentId": p.grant().agent} },
		func(p *party) *request { return &request{"body.policyId": p.grant().policy} },
		func(p *party) *request { return &request{"body.repositoryId": p.grant().run["repository_id"]} },
	},

	"explainExchange": {
		func(p *party) *request {
			g := p.grant()
			r := withSubject(g.run)
			(*r)["body.agentId"] = g.agent
			return r
		},
		func(p *party) *request {
			g := p.grant()
			return &request{"body.claims": jwtClaims(p.t, p.subject(g.run)), "body.agentId": g.agent, "body.provider": "github", "body.scope": harmless}
		},
	},

	"getDecision": {func(p *party) *request { return &request{"path.id": p.grant().decision} }},
	"listDecisions": {
		with("query.limit", "200"), with("query.code", agentidp.CodeBranchNotPermitted), with("query.outcome", "allowed"),
		with("query.since", "2001-01-01T00:00:00Z"), with("query.until", "2101-01-01T00:00:00Z"),
		of("query.cursor", func(g *granted) string { return g.decision }), of("query.agentId", func(g *granted) string { return g.agent }),
		of("query.policyId", func(g *granted) string { return g.policy }), of("query.repository", func(g *granted) string { return g.repository }),
		of("query.repositoryId", func(g *granted) string { return g.run["repository_id"].(string) }),
	},
	"listRefusals": {func(*party) *request { return &request{} }},
	"listEvents": {
		with("query.limit", "200"), with("query.type", string(agentidp.EventAgentRegistered)),
		with("query.since", "2001-01-01T00:00:00Z"), with("query.until", "2101-01-01T00:00:00Z"),
		of("query.cursor", func(g *granted) string { return g.decision }), of("query.agentId", func(g *granted) string { return g.agent }),
		of("query.policyId", func(g *granted) string { return g.policy }), of("query.repository", func(g *granted) string { return g.repository }),
		with("query.code", agentidp.CodeBranchNotPermitted),
	},
}

// request is what is sent, by place and name: "path.id", "query.limit",
// "header.If-Match", "body.name"; and "run.repository" for a claim of the subject token
// that the body gets.
type request map[string]any

// with returns a request of one parameter that is everybody's, and of one that
// speaks of the party's first grant, which was there before anything was asked.
func with(input, value string) func(*party) *request {
	return func(*party) *request { return &request{input: value} }
}

func of(input string, value func(*granted) string) func(*party) *request {
	return func(p *party) *request { return &request{input: value(p.first)} }
}

// withSubject returns an exchange with the subject token of a run.
func withSubject(run claims) *request {
	r := request{}
	for name, value := range run {
		r["run."+name] = value
	}
	return &r
}

// granted is one exchange that was granted, and all that it rests on.
type granted struct {
	agent, name, policy, decision, repository string
	registrar                                 string // the bootstrap policy by which the agent was registered
	run                                       claims
}

func (p *party) grant() *granted {
	p.t.Helper()
	g := &granted{name: p.fresh() + "@ci.acme.example"}
	g.repository, g.run = p.strange()
	home, run := p.strange() // another, so that one policy alone is of g.repository
	g.registrar = p.policy(p.root, map[string]any{"repository": home}).str("id")
	g.agent = p.want(p.do("POST", agentsPath, p.bootstrap(run), map[string]any{"name": g.name}), 201).str("agentId")
	g.policy = p.policy(p.root, map[string]any{"repository": g.repository, "agentId": g.agent, "scopes": []string{harmless}}).str("id")
	g.decision = p.granted(exchangeBody(p.subject(g.run), g.agent)).str("decision_id")
	return g
}

func (p *party) newAgent() string {
	p.t.Helper()
	return p.register(p.root, p.fresh()+"@ci.acme.example")
}

// credential makes a credential of an agent, and names both.
func (p *party) credential(agent string) *request {
	p.t.Helper()
	a := p.want(p.do("POST", agentsPath+"/"+agent+"/credentials", p.root, map[string]any{"type": "secret"}), 201)
	return &request{"path.agentId": agent, "path.credentialId": a.str("credentialId")}
}

// newPolicy is a policy that whoever holds policies:write and harmless may make: its
// scopes are named, and the agent can do no more. Its repository is pinned to the ids
// that it names. What the party's lists are asked for is not in it, so that another
// party which says the same says nothing of them.
func (p *party) newPolicy() *request {
	g := p.grant()
	return &request{
		"body.provider": "github", "body.repository": g.repository, "body.branch": "main", "body.agentId": g.agent, "body.scopes": []string{harmless},
		"body.repositoryId": g.run["repository_id"], "body.repositoryOwnerId": g.run["repository_owner_id"],
	}
}

// newProvider is an issuer as whoever holds providers:write may register it.
func (p *party) newProvider() *request {
	name := p.fresh()
	return &request{"body.name": name, "body.kind": "github", "body.issuer": "https://" + name + ".acme.example"}
}

// registered is a provider whose keys need not be fetched.
func (p *party) registered() *answer {
	p.t.Helper()
	body := p.newProvider().part("body")
	body["jwks"] = json.RawMessage(keySet(jwk(ciKey().Public(), p.fresh(), nil)))
	return p.want(p.do("POST", providersPath, p.root, body), 201)
}

// part returns the inputs of one place by their names; nil where there is none.
func (r *request) part(place string) map[string]any {
	var part map[string]any
	for input, value := range *r {
		if name, ok := strings.CutPrefix(input, place+"."); ok {
			if part == nil {
				part = map[string]any{}
			}
			part[name] = value
		}
	}
	return part
}

// ask sends a request to an operation.
func (p *party) ask(op *operation, r *request, token string) *answer {
	p.t.Helper()
	path, query, headers := op.path, url.Values{}, []string(nil)
	for name, value := range r.part("path") {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value.(string)))
	}
	for name, value := range r.part("query") {
		query.Set(name, value.(string))
	}
	for name, value := range r.part("header") {
		if name == "DPoP" { // good for one request, like the token of a run
			value = p.proof(nil, dpoptest.NewKey())
		}
		headers = append(headers, name, value.(string))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var body any
	members := r.part("body")
	if run := r.part("run"); run != nil {
		members = exchangeBody(p.subject(run), "")
		maps.Copy(members, r.part("body"))
	}
	if members != nil {
		body, headers = members, append(headers, "Content-Type", op.media)
	}
	return p.do(op.method, path, token, body, headers...)
}

// lacks returns the inputs of an operation that none of its requests gives.
func (op *operation) lacks(p *party) []string {
	lacking := slices.Clone(op.inputs)
	for _, build := range matrixRequests[op.id] {
		r := build(p)
		lacking = slices.DeleteFunc(lacking, func(input string) bool { _, ok := (*r)[input]; return ok })
	}
	return lacking
}

// What is named by a party or by the server: ids, names, numbers, instants. A number has
// one digit more than the last part of an id, which may be all digits.
var (
	anID      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aName     = regexp.MustCompile(`(alpha|bravo)-\d+`)
	aNumber   = regexp.MustCompile(`\b77[12]\d{10}\b`)
	anInstant = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	aDigit    = regexp.MustCompile(`\d([^\d]*)$`)
)

// nameless returns what an answer says apart from that, and without tokens.
func nameless(s string) string {
	s = jwtPattern.ReplaceAllString(s, "(token)")
	s = anID.ReplaceAllString(s, "(id)")
	s = aName.ReplaceAllString(s, "(name)")
	s = aNumber.ReplaceAllString(s, "(number)")
	return anInstant.ReplaceAllString(s, "(instant)")
}

// nobodys returns the neighbour of a name or id in every order, which nobody has.
func nobodys(value string) string {
	digit := "1"
	if m := aDigit.FindString(value); m != "" && m[0] == '1' {
		digit = "2"
	}
	return aDigit.ReplaceAllString(value, digit+"$1")
}
