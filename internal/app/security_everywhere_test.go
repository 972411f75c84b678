package app

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// endpoint is a route as somebody asks it whom it would answer: what is then changed is all
// that an answer can be about.
type endpoint struct {
	name, method, path, token string
	media                     string // of the body; "": it takes none
	body                      string
}

// everyEndpoint returns each route of the server with a request that succeeds, made anew.
func (m *matrix) everyEndpoint() map[string]func(t *testing.T) *endpoint {
	all := map[string]func(t *testing.T) *endpoint{}
	for _, op := range m.all {
		all[op.id] = func(t *testing.T) *endpoint { return m.alpha.in(t).endpoint(op) }
	}
	for _, pattern := range publicRoutes {
		method, path, _ := strings.Cut(pattern, " ")
		all[pattern] = func(*testing.T) *endpoint { return &endpoint{name: pattern, method: method, path: path} }
	}
	for path, form := range map[string]func(p *party) string{
		tokenPath:         func(p *party) string { g := p.grant(); return stsDoor.form(exchangeBody(p.subject(g.run), g.agent)) },
		introspectionPath: func(p *party) string { return "token=" + p.admin() },
		revocationPath:    func(p *party) string { return "token=" + p.admin() },
	} {
		all["POST "+path] = func(t *testing.T) *endpoint {
			return &endpoint{name: path, method: "POST", path: path, media: formType, body: form(m.alpha.in(t))}
		}
	}
	return all
}

// endpoint spells the first request of an operation.
func (p *party) endpoint(op *operation) *endpoint {
	p.t.Helper()
	r := matrixRequests[op.id][0](p)
	e := &endpoint{name: op.id, method: op.method, path: op.path, token: p.root}
	for name, value := range r.part("path") {
		e.path = strings.ReplaceAll(e.path, "{"+name+"}", url.PathEscape(value.(string)))
	}
	members := r.part("body")
	if run := r.part("run"); run != nil {
		members = exchangeBody(p.subject(run), members["agentId"].(string))
	}
	if op.scope == "" {
		e.token = ""
	}
	if members != nil {
		raw, err := json.Marshal(members)
		if err != nil {
			p.t.Fatal(err)
		}
		e.media, e.body = op.media, string(raw)
	}
	return e
}

// asked sends a request to an endpoint, with the revision that it may want.
func (w *world) asked(e *endpoint, media, body string, headers ...string) *answer {
	w.t.Helper()
	if media != "" {
		headers = append(headers, "Content-Type", media)
	}
	if e.method == "PUT" || e.method == "PATCH" || e.method == "DELETE" {
		headers = append(headers, "If-Match", `"1"`)
	}
	var b any
	if body != "" {
		b = body
	}
	return w.do(e.method, e.path, e.token, b, headers...)
}

// TestEveryEndpointHasTheSameLimits: size, media type, encoding, repetition and depth of a
// body, and the size of headers, are bounded at every route in the same way. No such
// request has an effect: the good one succeeds after them all.
func TestEveryEndpointHasTheSameLimits(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	for name, build := range m.everyEndpoint() {
		t.Run(name, func(t *testing.T) {
			e := build(t)
			m.in(t).limitsOfHeaders(e)
			for _, r := range e.badBodies() {
				t.Run(r.name, func(t *testing.T) {
					w := m.in(t)
					a := w.asked(e, r.media, r.body, r.headers...)
					w.isRefusal(e.path, w.want(a, r.status, r.code))
					if len(a.Raw) > 16<<10 {
						t.Errorf("%d bytes were answered with %d", len(r.body), len(a.Raw))
					}
				})
			}
			if e.media == "" {
				t.Run("A-199 a body where none belongs", func(t *testing.T) {
					if a := m.in(t).asked(e, "", strings.Repeat(" ", 64<<10+1)); a.Status >= 500 || a.Status < 400 && e.method != "GET" {
						t.Errorf("%d %s", a.Status, a.Raw)
					}
				})
			}
			if a := m.in(t).asked(e, e.media, e.body); a.Status > 299 {
				t.Errorf("the good request: %d %s", a.Status, a.Raw)
			}
		})
	}
}

// badBody is a body that no endpoint reads, or none as a good request.
type badBody struct {
	name, media, body string
	headers           []string
	status            int
	code              string
}

// badBodies are such, made of the endpoint's good one. What costs a reader the most are
// names without end and depth.
func (e *endpoint) badBodies() []badBody {
	if e.media == "" {
		return nil
	}
	const bad, deep = agentidp.CodeInvalidRequest, 30_000
	front := func(member string) string { return "{" + member + "," + e.body[1:] }
	pad, name := " ", `"x%x":0,`
	if e.media == formType {
		pad, name = "&x=", "&x%[1]x=1&x%[1]x=2"
	}
	var many strings.Builder
	for i := 0; len(e.body)+many.Len() < 63<<10; i++ {
		fmt.Fprintf(&many, name, i)
	}
	twice, names := front(`"`+firstMember(e.body)+`":"x"`), "{"+many.String()+e.body[1:]
	if e.media == formType {
		twice, names = e.body+"&"+e.body, e.body+many.String()
	}
	all := []badBody{
		{"A-199 one byte too much", e.media, e.body + pad + strings.Repeat(" ", 64<<10+1-len(e.body)-len(pad)), nil, 413, agentidp.CodePayloadTooLarge},
		{"A-194 as text", "text/plain", e.body, nil, 415, agentidp.CodeUnsupportedMediaType},
		{"A-200 compressed", e.media, "\x1f\x8b", []string{"Content-Encoding", "gzip"}, 415, agentidp.CodeUnsupportedMediaType},
		{"A-195 something twice", e.media, twice, nil, 400, bad},
		{"A-229 thousands of names", e.media, names, nil, 400, bad},
	}
	if e.media == formType { // which has no depth
		return all
	}
	return append(all,
		badBody{"A-198 thirty thousand deep", e.media, front(`"x":` + strings.Repeat("[", deep) + strings.Repeat("]", deep)), nil, 400, bad},
		badBody{"A-198 nine thousand objects deep", e.media, front(`"x":` + strings.Repeat(`{"x":`, deep/3-1000) + "0" + strings.Repeat("}", deep/3-1000)), nil, 400, bad})
}

// firstMember returns the name of an object's first member.
func firstMember(object string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(object, `{"`), `"`)
	return name
}

// limitsOfHeaders holds an endpoint to what headers may take.
func (w *world) limitsOfHeaders(e *endpoint) {
	w.t.Helper()
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("X-%d", i), strings.Repeat("x", 32))
	}
	for name, headers := range map[string][]string{
		"A-204 a header of 32 KiB": {"X-Long", strings.Repeat("x", 32<<10)},
		"A-204 a thousand headers": many,
		"A-193 a long query":       nil,
	} {
		w.t.Run(name, func(t *testing.T) {
			long := *e
			if headers == nil {
				long.path += "?x=" + strings.Repeat("x", 32<<10)
			}
			if a := w.in(t).asked(&long, e.media, e.body, headers...); a.Status != 431 {
				t.Errorf("%d %s", a.Status, a.Raw)
			}
		})
	}
}
