package app

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/sentryagent/agentidp"
)

// TestTheAuthorizationMatrix: every operation of the document
// that the server serves, by every kind of caller, under the prefix of each of two
// organizations. What an answer must be follows from what the document declares of
// the operation and from what the caller's token is worth.
func TestTheAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	documented := map[string]bool{}
	for _, op := range m.all {
		documented[op.id] = true
		m.hold(op.scope)
	}
	for _, op := range m.all {
		t.Run(op.id, func(t *testing.T) {
			t.Parallel()
			alpha, bravo := m.alpha.in(t), m.bravo.in(t)
			if matrixRequests[op.id] == nil {
				t.Fatalf("The matrix has no valid request for %s (%s %s). Add one to matrixRequests, under %q.", op.id, op.method, op.path, op.id)
			}
			if lacking := op.lacks(alpha); len(lacking) > 0 {
				t.Fatalf("No request of the matrix for %s gives %v. Add what does to matrixRequests[%q].", op.id, lacking, op.id)
			}
			for _, pair := range [][2]*party{{alpha, bravo}, {bravo, alpha}} {
				if op.scope == "" {
					pair[0].exchangedBy(op, pair[1])
				} else {
					pair[0].calledBy(op, pair[1])
				}
			}
		})
	}
	for id := range matrixRequests {
		if !documented[id] {
			t.Errorf("matrixRequests has %s, and the document has no such operation", id)
		}
	}
}

// calledBy makes everybody call an operation. What is refused is one and the same
// request, over and over, and then granted: so no refusal had an effect.
func (p *party) calledBy(op *operation, other *party) {
	p.t.Helper()
	kept := matrixRequests[op.id][0](p)
	var granted []caller
	for _, c := range p.callers(op.scope, other) {
		if c.may(op) {
			granted = append(granted, c)
			continue
		}
		p.refuses(op, p.ask(op, kept, c.token), c)
		p.refuses(op, p.ask(op, broken, c.token), c)
		if op.method == http.MethodGet { // which HEAD is too
			head := *op
			head.method = http.MethodHead
			if status, _, _ := c.wants(op); p.ask(&head, kept, c.token).Status != status {
				p.t.Errorf("HEAD for %s by %s is not %d", op.id, c.name, status)
			}
		}
	}
	for i, c := range granted {
		if i > 0 {
			kept = matrixRequests[op.id][0](p)
		}
		p.succeeds(op, p.ask(op, kept, c.token), c)
	}
	p.calledByItself(op)
	want := 2 * len(op.principals) // of each kind, with admin and with the scope alone
	if slices.Contains(op.principals, agentidp.PrincipalBootstrap) {
		want-- // which is never admin
	}
	if len(granted) != want {
		p.t.Errorf("%s was granted to %d callers, want %d", op.id, len(granted), want)
	}
	for _, build := range matrixRequests[op.id][1:] {
		c := granted[0]
		p.succeeds(op, p.ask(op, build(p), c.token), c)
	}
}

// calledByItself has agents call an operation on what is their own: with the scope for
// that, and with every scope but the two that suffice. The first tries another's, too.
func (p *party) calledByItself(op *operation) {
	p.t.Helper()
	if op.ownScope == "" {
		return
	}
	others := slices.DeleteFunc(slices.Clone(agentidp.ManagementScopes), func(s string) bool {
		return s == op.scope || s == op.ownScope || s == agentidp.ScopeAdmin
	})
	for _, scopes := range [][]string{{op.ownScope, harmless}, append(others, harmless)} {
		token, id := p.agent("", scopes...)
		itself := caller{name: fmt.Sprint("an agent itself, with ", scopes), token: token, kind: agentidp.PrincipalAgent, scopes: scopes}
		anothers, its := matrixRequests[op.id][0](p), matrixRequests[op.id][0](p)
		maps.Copy(*its, *p.credential(id))
		if scopes[0] == op.ownScope {
			p.succeeds(op, p.ask(op, its, token), itself)
		} else {
			p.refuses(op, p.ask(op, its, token), itself)
		}
		p.refuses(op, p.ask(op, anothers, token), itself)
	}
}

// broken is a request whose faults only those learn of who may make it.
var broken = &request{"path.id": "x", "path.agentId": "x", "query.unknown": "x", "header.If-Match": "x", "body.unknown": "x"}

func (p *party) refuses(op *operation, a *answer, c caller) {
	p.t.Helper()
	status, code, challenge := c.wants(op)
	if status == http.StatusUnauthorized {
		challenge = p.leads(challenge, op.scope)
	}
	if got := a.Header.Get("WWW-Authenticate"); a.Status != status || a.str("code") != code || got != challenge {
		p.t.Errorf("%s by %s: %d %s, challenge %q; want %d %s, %q", op.id, c.name, a.Status, a.str("code"), got, status, code, challenge)
	}
	p.isProblem(a)
	p.holds(op, a, c.token)
}

func (p *party) succeeds(op *operation, a *answer, c caller) {
	p.t.Helper()
	if a.Status < 200 || a.Status > 299 {
		p.t.Errorf("%s by %s: %d %s", op.id, c.name, a.Status, a.Raw)
	}
	p.holds(op, a, c.token)
}

// holds asserts what every answer of an operation keeps to.
func (p *party) holds(op *operation, a *answer, token string) {
	p.t.Helper()
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		p.t.Errorf("%s: %d with Cache-Control %q", op.id, a.Status, got)
	}
	if !slices.Contains(op.statuses, fmt.Sprint(a.Status)) {
		p.t.Errorf("%s: %d, which the document does not declare", op.id, a.Status)
	}
	p.shows(a, token)
}

// exchangedBy is calledBy for the exchange. Its caller is authenticated by the
// subject token in the body, and only a CI token for this organization is one: a
// bearer token beside it neither helps nor hinders.
func (p *party) exchangedBy(op *operation, other *party) {
	p.t.Helper()
	var good []*request
	for _, build := range matrixRequests[op.id] {
		good = append(good, build(p))
	}
	var granted []string
	for _, c := range p.callers("", other) {
		for _, r := range good { // with a fresh subject token each time
			p.succeeds(op, p.ask(op, r, c.token), c)
		}
		a := p.ask(op, &request{"body.token": c.token}, p.root)
		p.holds(op, a, c.token)
		switch {
		case a.Status == http.StatusOK:
			granted = append(granted, c.name)
		case c.token == "":
			p.isProblem(p.want(a, 400, agentidp.CodeInvalidRequest))
		case a.Status != http.StatusUnauthorized || a.str("code") != agentidp.CodeInvalidToken:
			p.t.Errorf("%s with the token of %s: %d %s", op.id, c.name, a.Status, a.Raw)
		default:
			p.isProblem(a)
		}
	}
	if !slices.Equal(granted, []string{"a CI token"}) {
		p.t.Errorf("the subject tokens of %q were good, want that of a CI token alone", granted)
	}
}
