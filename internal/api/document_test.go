package api

import (
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write api/openapi.json and docs/trust-policies.schema.json")

const (
	committed       = "../../api/openapi.json"
	committedSchema = "../../docs/trust-policies.schema.json"
)

func TestTheCommittedOpenAPIDocumentIsTheCode(t *testing.T) {
	doc, err := New(http.NewServeMux(), Config{Version: "1"}).Document()
	if err != nil {
		t.Fatal(err)
	}
	holdTheCommitted(t, committed, doc)
}

func TestTheCommittedPolicySchemaIsTheCode(t *testing.T) {
	doc, err := PolicySchema()
	if err != nil {
		t.Fatal(err)
	}
	holdTheCommitted(t, committedSchema, doc)
}

// holdTheCommitted compares a file of the repository with what the code says, or writes
// it.
func holdTheCommitted(t *testing.T, file string, doc []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(doc)); diff != "" {
		t.Errorf("%s is not what the code says; run: make openapi\n%s", file, diff)
	}
}

type (
	schemaDoc struct {
		Description string
		Ref         string               `json:"$ref"`
		Type        any                  `json:"type"`
		Format      string               `json:"format"`
		ReadOnly    bool                 `json:"readOnly"`
		Enum        []any                `json:"enum"`
		Additional  any                  `json:"additionalProperties"`
		Required    []string             `json:"required"`
		Properties  map[string]schemaDoc `json:"properties"`
	}
	contentDoc map[string]struct {
		Schema schemaDoc `json:"schema"`
	}
	operationDoc struct {
		ID         string   `json:"operationId"`
		Summary    string   `json:"summary"`
		Principals []string `json:"x-agentidp-principals"`
		OwnScope   string   `json:"x-agentidp-own-scope"`
		Security   []map[string][]string
		Parameters []struct {
			Name, In, Description string
			Required              bool
		}
		RequestBody struct{ Content contentDoc }
		Responses   map[string]struct {
			Headers map[string]any
			Content contentDoc
		}
	}
)

func readDocument(t *testing.T) (map[string]operationDoc, map[string]schemaDoc) {
	t.Helper()
	raw, err := New(http.NewServeMux(), Config{Version: "1"}).Document()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]operationDoc
		Components struct{ Schemas map[string]schemaDoc }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	ops := map[string]operationDoc{}
	for _, methods := range doc.Paths {
		for _, op := range methods {
			ops[op.ID] = op
		}
	}
	return ops, doc.Components.Schemas
}

func TestEveryOperationIsDocumented(t *testing.T) {
	t.Parallel()
	ops, _ := readDocument(t)
	for id, op := range ops {
		if op.Summary == "" {
			t.Errorf("%s has no summary", id)
		}
		if id != "exchangeToken" && (len(op.Principals) == 0 || len(op.Security) == 0 || len(op.Security[0]["bearer"]) == 0) {
			t.Errorf("%s does not say whom it takes: %v %v", id, op.Principals, op.Security)
		}
		var own []string
		for i, alternative := range op.Security {
			if i > 0 {
				own = append(own, alternative["bearer"]...)
			}
		}
		if strings.Join(own, " ") != op.OwnScope || (op.OwnScope != "") != strings.HasSuffix(id, "Credential") && id != "listCredentials" {
			t.Errorf("%s takes for what is an agent's own %q, and x-agentidp-own-scope is %q", id, own, op.OwnScope)
		}
		for _, p := range op.Parameters {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", id, p.Name)
			}
		}
		for _, status := range []string{"400", "401", "403", "429", "500", "503"} {
			if op.Responses[status].Content["application/problem+json"].Schema.Ref != "#/components/schemas/Problem" {
				t.Errorf("%s does not answer %s with a problem", id, status)
			}
		}
		for status, r := range op.Responses {
			if _, ok := r.Headers["Location"]; ok != (status == "201") {
				t.Errorf("%s answers %s with a Location: %v", id, status, ok)
			}
		}
	}
	for id, want := range map[string]string{
		"exchangeToken":      "200 400 401 403 413 415 429 500 503",
		"registerAgent":      "200 201 400 401 403 409 413 415 429 500 503",
		"createCredential":   "201 400 401 403 404 409 413 415 429 500 503",
		"getCredential":      "200 400 401 403 404 429 500 503",
		"rotateCredential":   "201 400 401 403 404 409 413 415 429 500 503",
		"replaceProvider":    "200 400 401 403 404 409 412 413 415 428 429 500 503",
		"replaceTrustPolicy": "200 400 401 403 404 409 412 413 415 428 429 500 503",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(ops[id].Responses)), " "); got != want {
			t.Errorf("%s answers %s, want %s", id, got, want)
		}
	}
	for _, p := range ops["replaceTrustPolicy"].Parameters {
		if !p.Required {
			t.Errorf("a replacement does not require %s", p.Name)
		}
	}
	patch := ops["updateAgent"].RequestBody.Content
	for _, media := range []string{mediaJSON, mediaMergePatch} {
		if len(patch) != 2 || patch[media].Schema.Ref != "#/components/schemas/AgentPatch" {
			t.Errorf("the merge patch is documented as %v", patch)
		}
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	_, schemas := readDocument(t)
	want := []string{"Agent", "AgentList", "AgentPatch", "AgentRequest", "Backtest", "BacktestChange", "BacktestExample", "BacktestRequest", "Check", "CreatedCredential", "Credential", "CredentialList", "CredentialRequest", "CredentialRotationRequest", "Decision", "DecisionList", "DraftBacktestRequest", "Event", "EventList", "ExchangeRequest", "ExchangeResponse", "ExplainRequest", "Explanation", "FieldError", "Miss", "Pin",
		"Problem", "Provider", "ProviderDiscovery", "ProviderKey", "ProviderList", "ProviderReport", "ProviderRequest", "Refusal", "RefusalCount", "Refusals", "RegisteredBy", "Repair", "Shadow", "TokenRevocation", "TokenRevocationRequest", "TrustPolicy", "TrustPolicyDraft", "TrustPolicyList", "TrustPolicyRequest", "Warning", "WeakestToken"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(schemas))); diff != "" {
		t.Error(diff)
	}
	for name, s := range schemas {
		request := strings.HasSuffix(name, "Request") || name == "AgentPatch"
		if request != (s.Additional == false) {
			t.Errorf("%s: additionalProperties is %v", name, s.Additional)
		}
		for member, m := range s.Properties {
			_, nullable := m.Type.([]any)
			if draft := name == "BacktestRequest" && member == "policy"; nullable != (request && !draft && !slices.Contains(s.Required, member)) { // a reference, to what is not null
				t.Errorf("%s.%s is of type %v", name, member, m.Type)
			}
			if nullable && m.Enum != nil && !slices.Contains(m.Enum, nil) {
				t.Errorf("%s.%s may be null and its values are %v", name, member, m.Enum)
			}
			if id := slices.Contains(uuids, member) && !slices.Contains(quoted, name+"."+member); (m.Format == "uuid") != (id && !request) {
				t.Errorf("%s.%s has the format %q", name, member, m.Format)
			}
		}
	}
	// What explains a decision is read by people, who have nothing but the description.
	for _, name := range []string{"Backtest", "BacktestChange", "BacktestExample", "BacktestRequest", "Check", "Decision", "DraftBacktestRequest", "ExplainRequest", "Explanation", "Miss", "Repair", "Shadow", "WeakestToken"} {
		for member, m := range schemas[name].Properties {
			if m.Description == "" && m.Ref == "" {
				t.Errorf("%s.%s has no description", name, member)
			}
		}
	}
	// What only the server says is what a request does not have.
	for response, request := range map[string]string{"Agent": "AgentRequest", "CreatedCredential": "CredentialRequest", "TrustPolicy": "TrustPolicyRequest", "Provider": "ProviderRequest"} {
		for member, m := range schemas[response].Properties {
			if _, sent := schemas[request].Properties[member]; sent == m.ReadOnly {
				t.Errorf("%s.%s: readOnly is %v", response, member, m.ReadOnly)
			}
		}
	}
}

// Not parallel: it counts allocations.
func TestDocumentsAreRenderedOnceAndCached(t *testing.T) {
	mux := http.NewServeMux()
	New(mux, Config{Version: "1"})
	for path, media := range map[string]string{"/api/v1/openapi.json": mediaJSON, "/api/v1/openapi.yaml": "application/yaml", "/api/v1/docs": "text/html; charset=utf-8"} {
		get := func(match string) *http.Response {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("If-None-Match", match)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Result()
		}
		first := get("")
		etag := first.Header.Get("ETag")
		if first.StatusCode != 200 || first.Header.Get("Content-Type") != media || len(etag) < 10 {
			t.Fatalf("%s: %d %v", path, first.StatusCode, first.Header)
		}
		for match, status := range map[string]int{etag: 304, "W/" + etag: 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200} {
			a := get(match)
			if a.StatusCode != status || a.Header.Get("ETag") != etag || a.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("%s with If-None-Match %s: %d %v", path, match, a.StatusCode, a.Header)
			}
		}
		r := httptest.NewRequest("GET", path, nil)
		if n := testing.AllocsPerRun(10, func() { mux.ServeHTTP(httptest.NewRecorder(), r) }); n > 100 {
			t.Errorf("%s is rendered for every request: %.0f allocations", path, n)
		}
	}
}
