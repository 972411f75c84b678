package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	const subject = "eyJhbGciOiJSUzI1NiJ9.c3ViamVjdA.c2lnbmF0dXJl"
	const spent = "; the subject token may be used up: another attempt takes a fresh one"
	for _, test := range []struct {
		name   string
		answer string
		want   Error
		text   string
	}{
		{
			name: "a problem document is taken over whole",
			answer: `
				403 Forbidden
				Content-Type: application/problem+json; charset=utf-8

				{"type":"urn:agentidp:error:branch_not_permitted","title":"Branch not permitted","status":403,"detail":"The run is for another branch.","code":"branch_not_permitted","message":"The run is for another branch.","claims":{"ref":"refs/heads/evil","ref_type":"branch"},"request_id":"r1","decision_id":"d1"}`,
			want: Error{
				Status: 403, Code: agentidp.CodeBranchNotPermitted, Message: "The run is for another branch.",
				Claims: map[string]string{"ref": "refs/heads/evil", "ref_type": "branch"}, RequestID: "r1", DecisionID: "d1",
			},
			text: `The run is for another branch; ref = "refs/heads/evil"; ref_type = "branch" (403 branch_not_permitted, request r1, decision d1)`,
		},
		{
			name: "every bad field is named",
			answer: `
				400 Bad Request
				Content-Type: application/problem+json

				{"code":"invalid_request","message":"The request is not valid.","details":[{"field":"branch","reason":"has refs/heads/"},{"field":"events[1]","reason":"is unknown"}]}`,
			want: Error{
				Status: 400, Code: agentidp.CodeInvalidRequest, Message: "The request is not valid.",
				Details: []agentidp.FieldError{{Field: "branch", Reason: "has refs/heads/"}, {Field: "events[1]", Reason: "is unknown"}},
			},
			text: "The request is not valid; branch: has refs/heads/; events[1]: is unknown (400 invalid_request)",
		},
		{
			name: "what the sentence says is not said again",
			answer: `
				403 Forbidden
				Content-Type: application/problem+json

				{"code":"trust_policy_violation","message":"events is empty: no policy for the repository acme/deploy (repository_id 74).","details":[{"field":"events","reason":"is empty"}],"claims":{"repository":"acme/deploy","repository_id":"7"}}`,
			want: Error{
				Status: 403, Code: agentidp.CodeTrustPolicyViolation, Message: "events is empty: no policy for the repository acme/deploy (repository_id 74).",
				Details: []agentidp.FieldError{{Field: "events", Reason: "is empty"}},
				Claims:  map[string]string{"repository": "acme/deploy", "repository_id": "7"},
			},
			text: `events is empty: no policy for the repository acme/deploy (repository_id 74); repository_id = "7" (403 trust_policy_violation)`,
		},
		{
			name: "the reason of an invalid token is kept",
			answer: `
				401 Unauthorized
				Content-Type: application/problem+json
				WWW-Authenticate: Bearer error="invalid_token"

				{"code":"invalid_token","detail":"It was used already.","reason":"token_replayed"}`,
			want: Error{Status: 401, Code: agentidp.CodeInvalidToken, Message: "It was used already.", Reason: agentidp.ReasonTokenReplayed},
			text: "It was used already. (401 invalid_token, token_replayed)",
		},
		{
			name: "tokens and what is not printable in a text are taken out",
			answer: `
				500 Internal Server Error
				Content-Type: application/problem+json

				{"code":"internal_error","message":"bad ` + subject + ` \u001b[2J\n::set-output::\u009b\u202e","claims":{"jti":"` + subject + `"}}`,
			want: Error{
				Status: 500, Code: agentidp.CodeInternal, Message: "bad [token]  [2J ::set-output::  ",
				Claims: map[string]string{"jti": "[token]"},
			},
			text: `bad [token]  [2J ::set-output::  ; jti = "[token]" (500 internal_error)` + spent,
		},
		{
			name: "how long to wait is kept",
			answer: `
				429 Too Many Requests
				Content-Type: application/problem+json
				Retry-After: 7

				{"code":"rate_limited","message":"Too many.","request_id":"r1"}`,
			want: Error{Status: 429, Code: agentidp.CodeRateLimited, Message: "Too many.", RequestID: "r1", RetryAfter: 7 * time.Second},
			text: "Too many. (429 rate_limited, request r1, retry after 7s)",
		},
		{
			name: "an OAuth error of ours speaks for itself",
			answer: `
				403 Forbidden
				Content-Type: application/json

				{"error":"insufficient_scope","error_description":"Not ` + subject + `.","code":"insufficient_scope","request_id":"r1"}`,
			want: Error{Status: 403, Code: agentidp.CodeInsufficientScope, Message: "Not [token].", RequestID: "r1"},
			text: "Not [token]. (403 insufficient_scope, request r1)",
		},
		{
			name: "an OAuth error of somebody else becomes a sentence",
			answer: `
				401 Unauthorized
				Content-Type: application/json

				{"error":"invalid_client","error_description":"` + subject + `"}`,
			want: Error{Status: 401, Message: "The server answered 401 Unauthorized without a problem document; is there a proxy in front of it, or is it not an AgentIdP server?"},
			text: "The server answered 401 Unauthorized without a problem document; is there a proxy in front of it, or is it not an AgentIdP server? (401)",
		},
		{
			name: "a proxy's page becomes a sentence",
			answer: `
				502 Bad Gateway
				Content-Type: text/html

				<html>` + subject + `</html>`,
			want: Error{Status: 502, Message: "The server answered 502 Bad Gateway without a problem document; is there a proxy in front of it, or is it not an AgentIdP server?"},
			text: "The server answered 502 Bad Gateway without a problem document; is there a proxy in front of it, or is it not an AgentIdP server? (502)" + spent,
		},
		{
			name: "a problem document that is no JSON becomes a sentence",
			answer: `
				503 Service Unavailable
				Content-Type: application/problem+json

				{"message":`,
			want: Error{Status: 503, Message: "The server answered 503 Service Unavailable without a problem document; is there a proxy in front of it, or is it not an AgentIdP server?"},
			text: "The server answered 503 Service Unavailable without a problem document; is there a proxy in front of it, or is it not an AgentIdP server? (503)" + spent,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reply(t, w, r, test.answer) }))
			defer server.Close()
			_, err := (&Client{BaseURL: server.URL}).Exchange(t.Context(), ExchangeRequest{Token: subject})
			got, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
			if text := "exchange the subject token: " + test.text; err.Error() != text {
				t.Errorf("got  %s\nwant %s", err, text)
			}
		})
	}
}

//
func TestA243RedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL+"/elsewhere?secret=1", status))
		// The caller's own CheckRedirect must not open the door.
		follow := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		_, err := (&Client{BaseURL: server.URL, HTTP: follow}).Exchange(t.Context(), ExchangeRequest{Token: "ci"})
		server.Close()
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != status || !strings.Contains(e.Message, strings.TrimPrefix(other.URL, "http://")) || strings.Contains(e.Message, "secret") {
			t.Errorf("%d: got %v, want an error that names the other host alone", status, err)
		}
		if follow.CheckRedirect == nil {
			t.Error("the caller's http.Client was changed")
		}
	}
}

func TestAnswersThatAreNoAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, want string }{
		{"a web page", "<html>the-secret</html>", "not the JSON expected"},
		{"a value of another type", `{"access_token":"at","token_type":"Bearer","expires_in":900,"expires_at":"the-secret"}`, "not the JSON expected"},
		{"no token", `{"token_type":"Bearer","expires_in":900}`, "without a usable bearer token"},
		{"a token of another type", `{"access_token":"the-secret","token_type":"DPoP","expires_in":900}`, "without a usable bearer token"},
		{"a token that has expired", `{"access_token":"the-secret","token_type":"Bearer","expires_in":-1}`, "without a usable bearer token"},
		{"more than the limit", `"` + strings.Repeat("x", maxResponse) + `"`, "larger than 8 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			_, err := (&Client{BaseURL: server.URL}).Exchange(t.Context(), ExchangeRequest{Token: "ci"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "the-secret") {
				t.Errorf("the error repeats the body: %v", err)
			}
		})
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := (&Client{BaseURL: server.URL, Token: "the-secret"}).ListAgents(ctx, agentidp.AgentFilter{}, ListOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if strings.Contains(err.Error(), "the-secret") {
		t.Errorf("the error repeats the token: %v", err)
	}
}
