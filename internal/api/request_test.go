package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/exchange"
)

// shapes serves the shape of the API's requests without what is behind it.
func shapes() http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, humaConfig("1"))
	type policy struct{ Body agentidp.TrustPolicySpec }
	type agent struct{ Body agentidp.AgentSpec }
	huma.Register(api, huma.Operation{Method: "POST", Path: "/policy"}, func(context.Context, *policy) (*nothing, error) { return nil, nil })
	huma.Register(api, huma.Operation{Method: "POST", Path: "/agent"}, func(context.Context, *agent) (*nothing, error) { return nil, nil })
	huma.Register(api, huma.Operation{Method: "GET", Path: "/decisions"}, func(context.Context, *decisionsQuery) (*nothing, error) { return nil, nil })
	huma.Register(api, huma.Operation{Method: "GET", Path: "/events"}, func(context.Context, *eventsQuery) (*nothing, error) { return nil, nil })
	huma.Register(api, huma.Operation{Method: "GET", Path: "/list"}, func(context.Context, *Page) (*nothing, error) { return nil, nil })
	return mux
}

func TestWhatIsWrongIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	api := shapes()
	const base = `{"provider": "github", "repository": "acme/deploy", `
	for _, tt := range []struct{ name, request, body, field, reason string }{
		{"nothing", "POST /policy", "", "body", "is missing; send a JSON object"},
		{"not an object", "POST /policy", `[]`, "body", "must be a JSON object"},
		{"a required member is missing", "POST /policy", `{"repository": "acme/deploy"}`, "provider", "is required"},
		{"an unknown member", "POST /policy", base + `"id": "x"}`, "id", "is unknown here, or read-only; leave it out"},
		{"a number for a string", "POST /policy", base + `"branch": 1}`, "branch", "must be a string"},
		{"a string for a number", "POST /policy", base + `"maxAgents": "1"}`, "maxAgents", "must be a whole number"},
		{"a fraction", "POST /policy", base + `"maxAgents": 1.5}`, "maxAgents", "must be a whole number"},
		{"an exponent", "POST /policy", base + `"maxAgents": 1e2}`, "maxAgents", "is not in a form that can be read; write whole numbers in digits alone"},
		{"a string for a list", "POST /policy", base + `"events": "push"}`, "events", "must be an array"},
		{"a number in a list", "POST /policy", base + `"events": ["push", 1]}`, "events[1]", "must be a string"},
		{"a number for the value of a claim", "POST /policy", base + `"claims": {"pipeline": 7}}`, "claims.pipeline", "must be a string or a list of strings; write numbers and booleans as strings"},
		{"a number among them", "POST /policy", base + `"claims": {"pipeline": ["6", 7]}}`, "claims.pipeline", "must be a string or a list of strings; write numbers and booleans as strings"},
		{"no value at all", "POST /policy", base + `"claims": {"pipeline": null}}`, "claims.pipeline", "must be a string or a list of strings; write numbers and booleans as strings"},
		{"a list for an object", "POST /agent", `{"name": "abc", "labels": []}`, "labels", "must be a JSON object"},
		{"an empty string", "POST /policy", base + `"branch": ""}`, "branch", "is empty; give a value or leave it out"},
		{"an empty list", "POST /policy", base + `"events": []}`, "events", "is empty; leave it out for the default, or name at least one"},
		{"too short", "POST /agent", `{"name": "ab"}`, "name", "must be at least 3 characters long"},
		{"too long", "POST /agent", `{"name": "abc", "version": "` + strings.Repeat("1", 101) + `"}`, "version", "must be at most 100 characters long"},
		{"too many", "POST /agent", `{"name": "abc", "capabilities": [` + strings.Repeat(`"a:b", `, 100) + `"a:b"]}`, "capabilities", "must have at most 100 elements"},
		{"too small", "POST /policy", base + `"tokenTtlSeconds": 59}`, "tokenTtlSeconds", "must be at least 60"},
		{"too great", "POST /policy", base + `"maxAgents": 1000001}`, "maxAgents", "must be at most 1000000"},
		{"another value", "POST /policy", base + `"mode": "audit"}`, "mode", "must be one of: enforce, shadow, disabled"},
		{"no instant", "POST /policy", base + `"expiresAt": "tomorrow"}`, "expiresAt", "must be an instant as in RFC 3339, such as 2030-01-31T12:00:00Z"},
		{"a word for a limit", "GET /list?limit=all", "", "limit", "must be a whole number"},
		{"a limit too great", "GET /list?limit=201", "", "limit", "must be at most 200"},
		{"a parameter without a value", "GET /list?cursor&limit=1", "", "cursor", "is empty; give a value or leave it out"},
		{"an empty parameter", "GET /list?limit=", "", "limit", "is empty; give a value or leave it out"},
		{"a parameter twice", "GET /list?limit=1&limit=2", "", "limit", "is given more than once; give it once"},
		{"a value that is not encoded", "GET /decisions?repository=50%", "", "repository", "is not percent-encoded; write % as %25"},
		{"nothing between two &", "GET /list?&limit=1", "", "query", "must be name=value, joined by &, with other characters percent-encoded"},
		{"a semicolon for an &", "GET /list?cursor=x;limit=1", "", "query", "must be name=value, joined by &, with other characters percent-encoded"},
		{"an owner alone", "GET /decisions?repository=acme", "", "repository", "must be owner/name, such as acme/deploy"},
		{"a repository with a control character", "GET /decisions?repository=acme/a%00", "", "repository", "must be owner/name, such as acme/deploy"},
		{"a name for an id", "GET /decisions?repositoryId=acme", "", "repositoryId", "must be the repository's numeric id, in digits alone"},
		{"an id in upper case", "GET /events?agentId=0193A5B0-0000-7000-8000-00000000000A", "", "agentId", "is not an id; give the UUID in lower case"},
		{"another outcome", "GET /decisions?outcome=refused", "", "outcome", "must be one of: allowed, denied"},
		{"a day for an instant", "GET /decisions?since=2030-01-31", "", "since", "must be an instant as in RFC 3339, such as 2030-01-31T12:00:00Z; in a URL, write + as %2B"},
		{"a period that ends before it begins", "GET /events?since=2030-01-31T12:00:00Z&until=2030-01-31T12:00:00Z", "", "until", "must be later than since"},
		{"an unknown query parameter", "GET /list?page=2", "", "page", "is unknown here; leave it out"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		r := httptest.NewRequest(method, path, strings.NewReader(tt.body))
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		var got struct{ Details []agentidp.FieldError }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 400 {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
			continue
		}
		if diff := cmp.Diff([]agentidp.FieldError{{Field: tt.field, Reason: tt.reason}}, got.Details); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

func TestARefusalSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	op := operation{scope: agentidp.ScopeAgentsRead, principals: []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent}}
	const (
		kind  = "This operation is not open to a token of kind bootstrap: present one of kind admin or agent."
		scope = "The token presented lacks the scope agents:read, which this operation needs: get one with that scope."
	)
	own := op
	own.ownScope = agentidp.ScopeCredentialsSelf
	both := op
	both.alsoScope = agentidp.ScopeAuditRead
	const gets = ", which this operation needs: get one with both agents:read and audit:read."
	scopeOrOwn := strings.Replace(scope, "needs:", "needs (credentials:self for what is the agent's own):", 1)
	for _, tt := range []struct {
		name   string
		op     operation
		kind   agentidp.PrincipalKind
		scopes []string
		of     string // the agent
		want   string
	}{
		{"nothing", op, agentidp.PrincipalAgent, []string{"agents:read"}, "", ""},
		{"the scope", op, agentidp.PrincipalAdmin, []string{"agents:write"}, "", scope},
		{"the kind", op, agentidp.PrincipalBootstrap, []string{"agents:read"}, "", kind},
		{"both", op, agentidp.PrincipalBootstrap, []string{"agents:write"}, "", kind + " " + scope},
		{"nothing, of its own", own, agentidp.PrincipalAgent, []string{"credentials:self"}, "me", ""},
		{"nothing, of another's", own, agentidp.PrincipalAgent, []string{"agents:read"}, "you", ""},
		{"the scope, of another's", own, agentidp.PrincipalAgent, []string{"credentials:self"}, "you", scopeOrOwn},
		{"the scope, of nobody's", own, agentidp.PrincipalAgent, []string{"credentials:self"}, "", scopeOrOwn},
		{"either scope, of its own", own, agentidp.PrincipalAgent, []string{"agents:write"}, "me", scopeOrOwn},
		{"the scope, of its own, where that is nothing", op, agentidp.PrincipalAgent, []string{"credentials:self"}, "me", scope},
		{"the scope, of who is no agent", own, agentidp.PrincipalAdmin, []string{"credentials:self"}, "me", scopeOrOwn},
		{"nothing, of two scopes", both, agentidp.PrincipalAgent, []string{"agents:read", "audit:read"}, "", ""},
		{"nothing, of two scopes, for admin", both, agentidp.PrincipalAgent, []string{"admin"}, "", ""},
		{"the one of two scopes", both, agentidp.PrincipalAgent, []string{"audit:read"}, "", "The token presented lacks the scope agents:read" + gets},
		{"the other of two scopes", both, agentidp.PrincipalAgent, []string{"agents:read"}, "", "The token presented lacks the scope audit:read" + gets},
		{"both of two scopes", both, agentidp.PrincipalAgent, []string{"agents:write"}, "", "The token presented lacks the scope agents:read and the scope audit:read" + gets},
	} {
		err := tt.op.permit(&agentidp.Principal{Kind: tt.kind, Scopes: tt.scopes, AgentID: "me"}, tt.of)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if e := agentidp.AsError(err); e.Message != tt.want || e.Code != agentidp.CodeInsufficientScope || e.Scope != strings.TrimSpace(tt.op.scope+" "+tt.op.alsoScope) {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
}

// room notes how much it was offered at first.
type room struct {
	io.Reader
	first int
}

func (r *room) Read(p []byte) (int, error) {
	if r.first == 0 {
		r.first = len(p)
	}
	return r.Reader.Read(p)
}

func TestNoRoomIsMadeForBytesThatDoNotCome(t *testing.T) {
	t.Parallel()
	for _, claimed := range []int64{-1, 0, 100, 4 << 10, maxBody} {
		body := &room{Reader: bytes.NewReader([]byte(`{"token": "x"}`))}
		r := httptest.NewRequest("POST", ExchangePath, body)
		r.ContentLength = claimed
		req := &exchange.Request{}
		if err := readExchange(httptest.NewRecorder(), r, req); err != nil || req.Token != "x" {
			t.Errorf("%d claimed: %v", claimed, err)
		}
		if body.first > 4<<10 {
			t.Errorf("%d claimed: %d bytes were made ready", claimed, body.first)
		}
	}
}
