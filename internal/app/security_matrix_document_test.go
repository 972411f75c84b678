package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// operation is what the server's own OpenAPI document says of one operation, as
// far as it matters to who may call it and with what.
type operation struct {
	id, method, path string
	scope            string // or scopes, all of which it takes; "": it takes no bearer token
	ownScope         string // suffices an agent for what is its own; "": nothing does
	principals       []agentidp.PrincipalKind
	inputs           []string // as "path.id", "query.limit", "header.If-Match", and of the body what names something: "body.agentId"
	media            string   // of the body
	statuses         []string
}

// operations reads them from the document that the server serves, in the order of
// their ids.
func (w *world) operations() []*operation {
	w.t.Helper()
	var doc struct {
		Paths      map[string]map[string]*declared
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(w.want(w.do("GET", "/api/v1/openapi.json", "", nil), 200).Raw, &doc); err != nil {
		w.t.Fatal(err)
	}
	var all []*operation
	for path, item := range doc.Paths {
		for method, d := range item {
			op, err := d.operation()
			if err != nil {
				w.t.Fatalf("%s %s: %v", method, path, err)
			}
			op.method, op.path = strings.ToUpper(method), path
			if schema, ok := strings.CutPrefix(d.RequestBody.Content[op.media].Schema.Ref, "#/components/schemas/"); ok {
				for member := range doc.Components.Schemas[schema].Properties {
					if strings.HasSuffix(member, "Id") {
						op.inputs = append(op.inputs, "body."+member)
					}
				}
			}
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// declared is an operation in the words of OpenAPI.
type declared struct {
	OperationID string                   `json:"operationId"`
	Principals  []agentidp.PrincipalKind `json:"x-agentidp-principals"`
	OwnScope    string                   `json:"x-agentidp-own-scope"`
	Security    []map[string][]string    `json:"security"`
	Parameters  []struct{ In, Name string }
	RequestBody struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
	Responses map[string]any
}

// operation takes from the declaration what the matrix understands, and nothing
// silently else.
func (d *declared) operation() (*operation, error) {
	op := &operation{id: d.OperationID, principals: d.Principals, ownScope: d.OwnScope, statuses: slices.Sorted(maps.Keys(d.Responses))}
	for _, p := range d.Parameters {
		op.inputs = append(op.inputs, p.In+"."+p.Name)
	}
	for media := range d.RequestBody.Content {
		if op.media == "" || media == "application/json" {
			op.media = media
		}
	}
	switch {
	case op.id == "":
		return nil, fmt.Errorf("it has no operationId")
	case d.Security == nil:
		return nil, fmt.Errorf("it does not say whether it needs a token: security is missing")
	case len(d.Security) == 0:
		return op, nil
	case len(d.Security) == 2 && d.OwnScope != "" && fmt.Sprint(d.Security[1]) == "map[bearer:["+d.OwnScope+"]]":
		d.Security = d.Security[:1]
	}
	if len(d.Security) > 1 || len(d.Security[0]) > 1 || len(d.Security[0]["bearer"]) == 0 {
		return nil, fmt.Errorf("its security is %v; the matrix knows operations that need scopes of one bearer token, so teach it this one", d.Security)
	}
	op.scope = strings.Join(d.Security[0]["bearer"], " ")
	return op, nil
}

// asks are the operations that change nothing, although what they are asked about is too
// much for a URL.
var asks = map[string]bool{"explainExchange": true, "lintTrustPolicy": true, "backtestTrustPolicy": true, "backtestTrustPolicyDraft": true}

// What the document declares is what the product promises, before anybody is asked
// whether the server keeps to it.
func TestWhoMayCallWhatByTheDocument(t *testing.T) {
	t.Parallel()
	for _, op := range newWorld(t).operations() {
		if op.scope == "" {
			if op.id != "exchangeToken" || op.principals != nil {
				t.Errorf("%s needs no token; only the exchange is authenticated by its body", op.id)
			}
			continue
		}
		for scope := range strings.FieldsSeq(op.scope) {
			if !agentidp.IsManagementScope(scope) || scope == agentidp.ScopeAdmin {
				t.Errorf("%s needs %s, which is not the scope of an operation", op.id, scope)
			}
		}
		if credentials := strings.HasPrefix(op.path, agentsPath+"/{agentId}/credentials"); (op.ownScope == agentidp.ScopeCredentialsSelf) != credentials || op.ownScope != "" && !credentials {
			t.Errorf("%s needs of an agent for what is its own %q", op.id, op.ownScope)
		}
		if reads := op.method == http.MethodGet || asks[op.id]; reads != strings.HasSuffix(op.scope, ":read") {
			t.Errorf("%s: %s with the scope %s; what changes something needs more than leave to read, and what reads no more", op.id, op.method, op.scope)
		}
		bootstrap := op.method+" "+op.path == "POST "+agentsPath // all that its token is good for
		for kind, want := range map[agentidp.PrincipalKind]bool{agentidp.PrincipalAdmin: true, agentidp.PrincipalBootstrap: bootstrap} {
			if slices.Contains(op.principals, kind) != want {
				t.Errorf("%s takes %v: %s is %v among them, want %v", op.id, op.principals, kind, !want, want)
			}
		}
		for _, status := range []string{"401", "403"} {
			if !slices.Contains(op.statuses, status) {
				t.Errorf("%s does not declare %s", op.id, status)
			}
		}
	}
}

// Whatever the server serves is an operation of the document, an endpoint that the
// matrix has a row for, or a public page. Routes have one mux, so none is missed. Not
// seen here is what leads to a route under another path (place, in server.go), or what
// a handler does with a query or a body.
func TestEveryRouteIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := map[string]bool{}
	for _, op := range w.operations() {
		known[op.method+" "+op.path] = true
	}
	for _, pattern := range slices.Concat(slices.Collect(maps.Keys(protocolEndpoints)), publicRoutes, []string{"POST " + tokenPath}) {
		if known[pattern] {
			t.Errorf("%s is known twice", pattern)
		}
		known[pattern] = true
	}
	for _, pattern := range w.app.routes.patterns {
		if !known[pattern] {
			t.Errorf("the server has a route %q that is neither in its OpenAPI document nor in protocolEndpoints nor in publicRoutes nor the token endpoint: say who may use it", pattern)
		}
		delete(known, pattern)
	}
	for pattern := range known {
		t.Errorf("%s is known, and the server has no such route", pattern)
	}
}
