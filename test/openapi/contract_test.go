// Package openapi_test generates requests from the API's own document and sends
// them to the real program: whatever is asked, right or wrong, the answer is one
// that the document describes, and what the document forbids the server refuses.
package openapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"pgregory.net/rapid"
)

// requests is how many are generated.
const requests = "3000"

func TestTheServerAndItsDocumentAgree(t *testing.T) {
	if err := flag.Set("rapid.checks", requests); err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	doc := s.document(t)
	ops := operations(doc)
	lots := slices.Clone(ops)
	for _, op := range ops {
		// Most policies contradict themselves or trust other runs than the emulator's; of
		// those that exchanges need there must be some, however the lots fall.
		if op.id == "createTrustPolicy" || op.id == "exchangeToken" {
			lots = append(lots, op, op, op)
		}
	}
	statuses := map[string]map[int]int{}
	rapid.Check(t, func(rt *rapid.T) {
		op := lots[fair(rt, len(lots), "operation")]
		g := &generator{T: rt, server: s, op: op}
		req := g.request(op)
		invalid := op.against(req)
		status, answer := req.send(rt)
		if statuses[op.id] == nil {
			statuses[op.id] = map[int]int{}
		}
		statuses[op.id][status]++
		op.check(rt, req, status, answer, invalid)
	})
	for _, op := range ops {
		t.Logf("%-24s %v", op.id, statuses[op.id])
		good, bad := 0, 0
		for status, n := range statuses[op.id] {
			if status < 300 {
				good += n
			} else {
				bad += n
			}
		}
		if good == 0 || bad == 0 {
			t.Errorf("%s: %d requests succeeded and %d were refused; both answers must be seen", op.id, good, bad)
		}
	}
}

// fair draws one of n with the same chance for each, from coins: of numbers, rapid draws
// small ones and thereby the first of a list far more often than others.
func fair(t *rapid.T, n int, label string) int {
	number := 0
	for _, heads := range rapid.SliceOfN(rapid.Bool(), 16, 16).Draw(t, label) {
		number *= 2
		if heads {
			number++
		}
	}
	return number * n >> 16
}

// operation is one of the document's.
type operation struct {
	*openapi3.Operation
	id, method, path string
	route            *routers.Route
}

func operations(doc *openapi3.T) []*operation {
	var all []*operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			route := &routers.Route{Spec: doc, Server: &openapi3.Server{}, Path: path, PathItem: item, Method: method, Operation: op}
			all = append(all, &operation{Operation: op, id: op.OperationID, method: method, path: path, route: route})
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return bytes.Compare([]byte(a.id), []byte(b.id)) })
	return all
}

// input is a request as the validator wants it.
func (op *operation) input(req *request) *openapi3filter.RequestValidationInput {
	r := req.http.Clone(req.http.Context())
	r.Body = io.NopCloser(bytes.NewReader(req.body))
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: req.path, Route: op.route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true,
		},
	}
}

// against returns what the document has against a request, or nil.
func (op *operation) against(req *request) error {
	return openapi3filter.ValidateRequest(req.http.Context(), op.input(req))
}

// check holds an answer against the document.
func (op *operation) check(t *rapid.T, req *request, status int, answer *answer, invalid error) {
	describe := func(what string, args ...any) {
		t.Helper()
		t.Fatalf("%s %s with %s\nwas answered %d %s\n"+what, append([]any{op.method, req.http.URL, req.shown(), status, answer.body}, args...)...)
	}
	err := openapi3filter.ValidateResponse(req.http.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: op.input(req), Status: status, Header: answer.header,
		Body:    io.NopCloser(bytes.NewReader(answer.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	switch {
	case err != nil:
		describe("which the document does not describe: %v", err)
	case status >= 500:
		describe("which is a fault of the server")
	case status < 300 && invalid != nil:
		describe("though the document forbids it: %v", invalid)
	case status == http.StatusBadRequest && invalid == nil && !answer.namesFields():
		describe("though the document allows it, and no field is named")
	}
}

// answer is a response that was read.
type answer struct {
	header http.Header
	body   []byte
}

// namesFields reports whether an error says which fields were wrong, and how; those of
// an exchange that concern its scope and audience are named by their code.
func (a *answer) namesFields() bool {
	var problem struct {
		Code    string
		Details []struct{ Field, Reason string }
	}
	if json.Unmarshal(a.body, &problem) != nil {
		return false
	}
	if problem.Code == "invalid_scope" || problem.Code == "invalid_target" {
		return true
	}
	for _, d := range problem.Details {
		if d.Field == "" || d.Reason == "" {
			return false
		}
	}
	return len(problem.Details) > 0
}
