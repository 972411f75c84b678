package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// fuzzSecret stands where a request says SECRET: a token that somebody pasted in the wrong
// place.
const fuzzSecret = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzM2NyM3Qtczni3Qtc3NyM3Qifs.c2lnbmF0dXJlLXMzY3IzdA"

// FuzzBody sends any body where a policy or an agent is expected. What is accepted is one
// JSON value whose names are unique and exact; what is not is a problem document that
// says which member is wrong, and repeats no value.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		`{"provider":"github","repository":"acme/deploy","branch":"main","agentId":"018f4e5a-7f6b-7000-8000-000000000001","scopes":["a:b"],"maxAgents":3,"expiresAt":"2030-01-31T12:00:00Z","claims":{"x":["a","b"],"y":"c"}}`,
		`{"name":"deployer","type":"deployer","capabilities":["deploy:production"],"labels":{"a":"b"}}`,
		`{"provider":"github","branch":""}`, `{"provider":"github","branch":null}`,
		`{"provider":"SECRET","provider":"SECRET"}`, `{"Provider":"SECRET"}`,
		`{"provider":"github","isAdmin":true,"organizationId":"SECRET"}`,
		`{"SECRET":"x"}`, `{"claims":{"SECRET":7}}`, `{"provider":["SECRET"]}`, `{"provider":{"a":"SECRET"}}`, `"SECRET"`, `{"maxAgents":"SECRET"}`, `{"maxAgents":1e400}`,
		strings.Repeat("[", 100), strings.Repeat(`{"claims":`, 50), "null", "", "\xff", `{"name":"\ud800"}`, `{"a":1}{"b":2}`,
	} {
		f.Add(body, true)
		f.Add(body, false)
	}
	api := shapes()
	f.Fuzz(func(t *testing.T, body string, policy bool) {
		path := "/agent"
		if policy {
			path = "/policy"
		}
		body = strings.ReplaceAll(body, "SECRET", fuzzSecret)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code < 300 {
			var exact any = &agentidp.AgentSpec{}
			if policy {
				exact = &agentidp.TrustPolicySpec{}
			}
			d := json.NewDecoder(strings.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(exact); err != nil {
				t.Fatalf("%q is accepted: %v", body, err)
			}
			if err := strictjson.Valid([]byte(body), 1000); err != nil {
				t.Fatalf("%q is accepted: %v", body, err)
			}
			return
		}
		refusedWell(t, w)
	})
}

// FuzzQuery asks for a page of a list with any query, cursors among it. What is accepted
// says one thing about each parameter.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "limit=1&cursor=", "cursor=0193a5b0-0000-7000-8000-00000000000a&limit=200", "cursor=SECRET", "token=SECRET", "SECRET", "SECRET=x",
		"cursor=x%27%20OR%201%3D1--", "cursor=%00", "cursor=%ff", "limit=0", "limit=-1", "limit=201", "limit=1e2", "limit=99999999999999999999",
		"limit=1&limit=2", "limit=1;limit=2", "&", "=", "%", "cursor=%", "cursor[]=x", "Cursor=x",
		"repository=acme/deploy&repositoryId=74&agentId=0193a5b0-0000-7000-8000-00000000000a&code=invalid_token&since=2030-01-31T12:00:00Z&until=2031-01-31T12:00:00%2B01:00",
		"outcome=denied&type=token_revoked&since=SECRET",
	} {
		f.Add(query)
	}
	api := shapes()
	f.Fuzz(func(t *testing.T, query string) {
		query = strings.ReplaceAll(query, "SECRET", fuzzSecret)
		for _, path := range []string{"/list", "/decisions", "/events"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			if w.Code >= 300 {
				refusedWell(t, w)
				continue
			}
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatalf("%s?%s is accepted: %v", path, query, err)
			}
			for name, all := range values {
				if len(all) != 1 || all[0] == "" && name != "cursor" {
					t.Fatalf("%s?%s is accepted with %s as %q", path, query, name, all)
				}
			}
		}
	})
}

// refusedWell asserts that an answer is a problem document about what was sent.
func refusedWell(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if bytes.Contains(w.Body.Bytes(), []byte(fuzzSecret)) {
		t.Fatal("the answer repeats a secret")
	}
	var got problem.Document
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code < 400 || w.Code > 499 || len(got.Details) == 0 && w.Code == http.StatusBadRequest {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
}
