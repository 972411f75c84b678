package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

func TestEveryKindHasItsStatus(t *testing.T) {
	t.Parallel()
	seen := map[int]agentidp.Kind{}
	for kind := agentidp.Internal; kind <= agentidp.Unavailable; kind++ {
		status := problem.Status(kind)
		if http.StatusText(status) == "" || status < 400 {
			t.Errorf("kind %d has the status %d", kind, status)
		}
		if other, ok := seen[status]; ok {
			t.Errorf("kinds %d and %d have the same status %d", other, kind, status)
		}
		seen[status] = kind
	}
	for kind, want := range map[agentidp.Kind]int{agentidp.Internal: 500, agentidp.Invalid: 400, agentidp.Unauthenticated: 401, agentidp.Denied: 403, agentidp.Stale: 412, agentidp.PreconditionRequired: 428, agentidp.TooMany: 429, agentidp.Unavailable: 503} {
		if got := problem.Status(kind); got != want {
			t.Errorf("kind %d has the status %d, want %d", kind, got, want)
		}
	}
	if _, ok := seen[422]; ok {
		t.Error("the contract has no 422")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	type headers = map[string]string
	newError := agentidp.NewError
	insufficient := newError(agentidp.Denied, agentidp.CodeInsufficientScope, "")
	scoped := *insufficient
	scoped.Scope = "agents:write deploy:staging"
	later := newError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "")
	later.RetryAfter = 1500 * time.Millisecond
	limited := newError(agentidp.TooMany, agentidp.CodeRateLimited, "")
	limited.RetryAfter = time.Millisecond
	full := *limited
	full.RateLimit = &agentidp.RateLimit{Name: "x", Quota: 60, Reset: time.Millisecond}
	for _, tt := range []struct {
		name string
		err  *agentidp.Error
		want headers // of these; the rest must be absent
	}{
		{"no credential: a challenge without a code (RFC 6750 §3.1)", newError(agentidp.Unauthenticated, agentidp.CodeAuthenticationRequired, ""), headers{"WWW-Authenticate": "Bearer"}},
		{"a bad credential", newError(agentidp.Unauthenticated, agentidp.CodeInvalidToken, ""), headers{"WWW-Authenticate": `Bearer error="invalid_token"`}},
		{"a credential without the right", insufficient, headers{"WWW-Authenticate": `Bearer error="insufficient_scope"`}},
		{"and which right", &scoped, headers{"WWW-Authenticate": `Bearer error="insufficient_scope", scope="agents:write deploy:staging"`}},
		{"a refusal of another sort is no challenge", newError(agentidp.Denied, agentidp.CodeTrustPolicyViolation, ""), headers{}},
		{"seconds are rounded up", later, headers{"Retry-After": "2"}},
		{"and never to nothing", limited, headers{"Retry-After": "1"}},
		{"a 503 has one also where it is not known (RFC 9110 §10.2.3)", newError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, ""), headers{"Retry-After": "1"}},
		{"the limit that was reached", &full, headers{"Retry-After": "1", "RateLimit-Policy": `"x";q=60;w=60`, "RateLimit": `"x";r=0;t=1`}},
	} {
		h := http.Header{"Cache-Control": {"public, max-age=300"}}
		problem.SetHeaders(h, tt.err)
		for _, name := range []string{"WWW-Authenticate", "Retry-After", "Allow", "RateLimit-Policy", "RateLimit"} {
			if got := h.Get(name); got != tt.want[name] {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, tt.want[name])
			}
		}
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: it may be cached", tt.name)
		}
	}
}

// A 401 of the API names the scope that is needed and where the API is described, in
// each of its challenges; no other answer does, and nothing outside the API.
func TestA401LeadsToABetterToken(t *testing.T) {
	t.Parallel()
	const root, acme = "https://idp.example", "https://idp.example/o/acme"
	none := agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeAuthenticationRequired, "")
	bad := agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken, "")
	for _, tt := range []struct {
		name, issuer, scope string
		err                 *agentidp.Error
		want                string
	}{
		{"nothing was presented", root, "", none, `Bearer resource_metadata="https://idp.example/.well-known/oauth-protected-resource/api/v1"`},
		{"a bad token", root, "", bad, `Bearer error="invalid_token", resource_metadata="https://idp.example/.well-known/oauth-protected-resource/api/v1"`},
		{"of an organization, and the scope", acme, "agents:read", none, `Bearer scope="agents:read", resource_metadata="https://idp.example/.well-known/oauth-protected-resource/o/acme/api/v1"`},
		{"outside the API", "", "", bad, `Bearer error="invalid_token"`},
		{"it is not the credential that was wrong", root, "x:y", agentidp.NewError(agentidp.Denied, agentidp.CodeInsufficientScope, ""), `Bearer error="insufficient_scope", scope="x:y"`},
		{"no challenge, nothing to add to", root, "", agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, ""), ""},
	} {
		ctx := problem.WithTrace(t.Context(), &problem.Trace{})
		if tt.issuer != "" {
			problem.AsksAPI(ctx, &agentidp.Organization{Issuer: tt.issuer})
		}
		e := *tt.err
		e.Scope = tt.scope
		h := http.Header{}
		problem.SetHeaders(h, &e)
		problem.Lead(ctx, h, &e)
		if got := h.Get("WWW-Authenticate"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhereACallerStands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit          agentidp.RateLimit
		policy, stands string
	}{
		{agentidp.RateLimit{}, "", ""},
		{agentidp.RateLimit{Name: "requests-of-address", Quota: 12_000, Remaining: 11_999, Reset: time.Millisecond}, `"requests-of-address";q=12000;w=60`, `"requests-of-address";r=11999;t=1`},
		{agentidp.RateLimit{Name: "x", Quota: 1, Remaining: 1}, `"x";q=1;w=60`, `"x";r=1;t=0`},
		{agentidp.RateLimit{Name: "x", Quota: 1, Reset: time.Minute}, `"x";q=1;w=60`, `"x";r=0;t=60`},
	} {
		h := http.Header{}
		problem.SetRateLimit(h, &tt.limit)
		if h.Get("RateLimit-Policy") != tt.policy || h.Get("RateLimit") != tt.stands {
			t.Errorf("%+v: %v", tt.limit, h)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	denied := &agentidp.Error{
		Kind: agentidp.Denied, Code: agentidp.CodeBranchNotPermitted, Message: "Not <this> branch.", Reason: "r", DecisionID: "d",
		Claims: map[string]string{"ref": "refs/heads/x"}, Details: []agentidp.FieldError{{Field: "f", Reason: "is wrong"}},
	}
	secret := errors.New("password of the database")
	for _, tt := range []struct {
		name string
		err  error
		want string // a body, without its end of line
	}{
		{"all members", denied, `{"type":"urn:agentidp:error:branch_not_permitted","title":"Branch not permitted","status":403,"detail":"Not <this> branch.","code":"branch_not_permitted",` +
			`"message":"Not <this> branch.","details":[{"field":"f","reason":"is wrong"}],"reason":"r","claims":{"ref":"refs/heads/x"},"request_id":"id","decision_id":"d"}`},
		{"an error within others", fmt.Errorf("a: %w", fmt.Errorf("b: %w", agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "No."))),
			`{"type":"urn:agentidp:error:not_found","title":"Not found","status":404,"detail":"No.","code":"not_found","message":"No.","request_id":"id"}`},
		{"a private cause stays private", agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "Later.").WithCause(secret),
			`{"type":"urn:agentidp:error:temporarily_unavailable","title":"Temporarily unavailable","status":503,"detail":"Later.","code":"temporarily_unavailable","message":"Later.","request_id":"id"}`},
		{"any other error is ours, and tells nothing", secret, `"status":500`},
		{"no error at all is a fault", nil, `"status":500`},
		{"a request that took too long", fmt.Errorf("query: %w", context.DeadlineExceeded), `"code":"temporarily_unavailable"`},
		{"a caller that left", context.Canceled, `"code":"temporarily_unavailable"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			trace := &problem.Trace{RequestID: "id"}
			for _, method := range []string{"GET", "HEAD"} {
				r := httptest.NewRequestWithContext(problem.WithTrace(t.Context(), trace), method, "/", nil)
				w := httptest.NewRecorder()
				problem.Write(w, r, tt.err)
				body := strings.TrimSuffix(w.Body.String(), "\n")
				var doc problem.Document
				switch {
				case w.Header().Get("Content-Type") != "application/problem+json":
					t.Errorf("Content-Type is %q", w.Header().Get("Content-Type"))
				case method == "HEAD":
					if body != "" {
						t.Errorf("HEAD with a body: %s", body)
					}
				case tt.want[0] == '{' && body != tt.want || !strings.Contains(body, tt.want):
					t.Errorf("%s\nwant\n%s", body, tt.want)
				case json.Unmarshal([]byte(body), &doc) != nil || doc.Status != w.Code:
					t.Errorf("status %d: %s", w.Code, body)
				}
				if strings.Contains(body, "password") {
					t.Errorf("the cause is shown: %s", body)
				}
				if !errors.Is(trace.Err, tt.err) {
					t.Errorf("the log gets %v", trace.Err)
				}
			}
		})
	}
}

func TestADocumentWithoutARequest(t *testing.T) {
	t.Parallel()
	if id := problem.RequestID(t.Context()); id != "" {
		t.Errorf("the request is %q", id)
	}
	e := problem.Note(t.Context(), errors.New("x")) // nobody to leave it with
	if e.Kind != agentidp.Internal {
		t.Errorf("%v", e)
	}
	if title := problem.New(&agentidp.Error{Code: agentidp.CodeInvalidDPoPProof}, "").Title; title != "Invalid DPoP proof" {
		t.Errorf("the title is %q", title)
	}
	doc := problem.New(&agentidp.Error{}, "")
	if doc.Title != "" || doc.GetStatus() != 500 || doc.ContentType("application/json") != problem.ContentType || doc.Error() != ": " {
		t.Errorf("%+v", doc)
	}
}
