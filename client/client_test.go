package client

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	agentID  = "0193a5b0-0000-7000-8000-00000000000a"
	policyID = "0193a5b0-0000-7000-8000-00000000000b"
)

// conversation is what the client must send and what the server answers, both as
// they are on the wire but for line ends and the headers that do not matter.
type conversation struct {
	name   string
	call   func(t *testing.T, c *Client) (any, error)
	send   string
	answer string
	want   any // checked by fmt.Sprintf("%+v")
}

func (v conversation) run(t *testing.T) {
	t.Helper()
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = transcript(t, r)
		reply(t, w, r, v.answer)
	}))
	defer server.Close()
	got, err := v.call(t, &Client{BaseURL: server.URL, Token: "the-admin-token"})
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	if want := text(v.send); sent != want {
		t.Errorf("sent:\n%s\nwant:\n%s", sent, want)
	}
	if got, want := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", v.want); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// text takes the indentation of the test's source out of a conversation.
func text(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], "\t")
	}
	return strings.Join(lines, "\n")
}

func transcript(t *testing.T, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("read the request: %v", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.RequestURI)
	for _, name := range []string{"Authorization", "Content-Type", "If-Match"} {
		for _, value := range r.Header.Values(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "\n%s", body)
	}
	return strings.TrimSpace(b.String())
}

func reply(t *testing.T, w http.ResponseWriter, r *http.Request, answer string) {
	t.Helper()
	head, body, _ := strings.Cut(text(answer), "\n\n")
	raw := "HTTP/1.1 " + strings.ReplaceAll(head, "\n", "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), r)
	if err != nil {
		t.Errorf("the test's answer: %v", err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	for name, values := range res.Header {
		if name != "Content-Length" {
			w.Header()[name] = slices.Clone(values)
		}
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil && res.StatusCode != http.StatusNoContent {
		t.Errorf("answer: %v", err)
	}
}

func TestConversations(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: "main"}
	bounded := spec
	bounded.ExpiresAt = &expires
	for _, v := range []conversation{
		{
			name: "an exchange sends the subject token in the body and no other",
			call: func(t *testing.T, c *Client) (any, error) {
				r, err := c.Exchange(t.Context(), ExchangeRequest{Token: "ci", AgentID: agentID, Scope: "deploy:production", Audience: "https://deploy.example.com"})
				if err != nil {
					return nil, err
				}
				return *r, nil
			},
			send: `
				POST /api/v1/oidc/token
				Content-Type: application/json

				{"token":"ci","agentId":"0193a5b0-0000-7000-8000-00000000000a","scope":"deploy:production","audience":"https://deploy.example.com"}`,
			answer: `
				200 OK
				Content-Type: application/json
				Cache-Control: no-store

				{"access_token":"at","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","expires_in":900,"expires_at":"2026-11-21T12:15:00Z","scope":"deploy:production","agent_id":"0193a5b0-0000-7000-8000-00000000000a","decision_id":"d1"}`,
			want: ExchangeResponse{
				AccessToken: "at", TokenType: "Bearer", IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token", ExpiresIn: 900,
				ExpiresAt: time.Date(2026, 11, 21, 12, 15, 0, 0, time.UTC), Scope: "deploy:production", AgentID: agentID, DecisionID: "d1",
			},
		},
		{
			name: "a bootstrap exchange names no agent",
			call: func(t *testing.T, c *Client) (any, error) {
				r, err := c.Exchange(t.Context(), ExchangeRequest{Token: "ci"})
				if err != nil {
					return nil, err
				}
				return r.Scope, nil
			},
			send: `
				POST /api/v1/oidc/token
				Content-Type: application/json

				{"token":"ci"}`,
			answer: `
				200 OK

				{"access_token":"at","token_type":"Bearer","expires_in":600,"expires_at":"2026-11-21T12:10:00Z","scope":"agents:write"}`,
			want: "agents:write",
		},
		{
			name: "a policy is created from what was said and nothing else",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.CreateTrustPolicy(t.Context(), spec)
				if err != nil {
					return nil, err
				}
				return []any{p.ID, p.Branch, p.Revision}, nil
			},
			send: `
				POST /api/v1/oidc/trust-policies
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"provider":"github","repository":"acme/deploy","branch":"main"}`,
			answer: `
				201 Created
				Location: /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b
				ETag: "1"

				{"id":"0193a5b0-0000-7000-8000-00000000000b","provider":"github","repository":"acme/deploy","branch":"main","revision":1}`,
			want: []any{policyID, "main", 1},
		},
		{
			name: "a policy is read by its id",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.GetTrustPolicy(t.Context(), policyID)
				if err != nil {
					return nil, err
				}
				return *p.Pinned, nil
			},
			send: `
				GET /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"id":"0193a5b0-0000-7000-8000-00000000000b","pinned":{"repositoryId":"74","repositoryOwnerId":"65","pinnedAt":"2026-12-01T00:00:00Z"}}`,
			want: agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65", PinnedAt: expires},
		},
		{
			name: "a list goes on where the cursor says",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListTrustPolicies(t.Context(), agentidp.PolicyFilter{}, ListOptions{Limit: 2, Cursor: "a+b/c=="})
				if err != nil {
					return nil, err
				}
				return []any{len(p.Items), p.Items[1].Repository, p.NextCursor}, nil
			},
			send: `
				GET /api/v1/oidc/trust-policies?cursor=a%2Bb%2Fc%3D%3D&limit=2
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[{"repository":"acme/a"},{"repository":"acme/b"}],"nextCursor":"next"}`,
			want: []any{2, "acme/b", "next"},
		},
		{
			name: "a replacement names the revision that it replaces",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ReplaceTrustPolicy(t.Context(), policyID, 3, bounded)
				if err != nil {
					return nil, err
				}
				return p.Revision, nil
			},
			send: `
				PUT /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b
				Authorization: Bearer the-admin-token
				Content-Type: application/json
				If-Match: "3"

				{"provider":"github","repository":"acme/deploy","branch":"main","expiresAt":"2026-12-01T00:00:00Z"}`,
			answer: `
				200 OK
				ETag: "4"

				{"revision":4}`,
			want: 4,
		},
		{
			name: "a policy is deleted",
			call: func(t *testing.T, c *Client) (any, error) {
				return nil, c.DeleteTrustPolicy(t.Context(), policyID, DeleteOptions{})
			},
			send:   "DELETE /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b\nAuthorization: Bearer the-admin-token",
			answer: "204 No Content",
		},
		{
			name: "a policy is deleted with its tokens",
			call: func(t *testing.T, c *Client) (any, error) {
				return nil, c.DeleteTrustPolicy(t.Context(), policyID, DeleteOptions{RevokeIssued: true})
			},
			send:   "DELETE /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b?revokeIssued=true\nAuthorization: Bearer the-admin-token",
			answer: "204 No Content",
		},
		{
			name: "a policy is deleted as it was read",
			call: func(t *testing.T, c *Client) (any, error) {
				return nil, c.DeleteTrustPolicy(t.Context(), policyID, DeleteOptions{Revision: 3})
			},
			send:   "DELETE /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b\nAuthorization: Bearer the-admin-token\nIf-Match: \"3\"",
			answer: "204 No Content",
		},
		{
			name: "a policy is looked at before it is saved",
			call: func(t *testing.T, c *Client) (any, error) {
				draft, err := c.LintTrustPolicy(t.Context(), agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy"})
				if err != nil {
					return nil, err
				}
				return []any{draft.MaxAgents, draft.Grade}, nil
			},
			send: `
				POST /api/v1/oidc/trust-policies/lint
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"provider":"github","repository":"acme/deploy"}`,
			answer: `
				200 OK

				{"provider":"github","repository":"acme/deploy","maxAgents":10,"grade":"D","warnings":[]}`,
			want: []any{10, agentidp.GradeD},
		},
		{
			name: "a token is introspected on the caller's authority",
			call: func(t *testing.T, c *Client) (any, error) {
				in, err := c.Introspect(t.Context(), "a.b+c.d")
				if err != nil {
					return nil, err
				}
				return []any{in.Active, in.Subject, in.ExpiresAt, in.Workload.Repository}, nil
			},
			send: `
				POST /oauth2/introspect
				Authorization: Bearer the-admin-token
				Content-Type: application/x-www-form-urlencoded

				token=a.b%2Bc.d`,
			answer: `
				200 OK
				Content-Type: application/json

				{"active":true,"sub":"agent","exp":1795608000,"workload":{"provider":"github","repository":"acme/deploy"}}`,
			want: []any{true, "agent", 1795608000, "acme/deploy"},
		},
		{
			name: "a token is introspected by whoever has it",
			call: func(t *testing.T, c *Client) (any, error) {
				in, err := (&Client{BaseURL: c.BaseURL}).Introspect(t.Context(), "a.b.c")
				if err != nil {
					return nil, err
				}
				return *in, nil
			},
			send: `
				POST /oauth2/introspect
				Content-Type: application/x-www-form-urlencoded

				token=a.b.c`,
			answer: `
				200 OK
				Content-Type: application/json

				{"active":false}`,
			want: agentidp.Introspection{},
		},
		{
			name: "a token revokes itself, and no other token is sent",
			call: func(t *testing.T, c *Client) (any, error) { return nil, c.RevokeToken(t.Context(), "a.b+c.d") },
			send: `
				POST /oauth2/revoke
				Content-Type: application/x-www-form-urlencoded

				token=a.b%2Bc.d`,
			answer: "200 OK\nCache-Control: no-store",
		},
		{
			name: "a token is revoked by its id, on the caller's authority",
			call: func(t *testing.T, c *Client) (any, error) { return nil, c.RevokeToken(t.Context(), agentID) },
			send: `
				POST /oauth2/revoke
				Authorization: Bearer the-admin-token
				Content-Type: application/x-www-form-urlencoded

				token=0193a5b0-0000-7000-8000-00000000000a`,
			answer: "200 OK",
		},
		{
			name: "tokens are revoked by what is said of them",
			call: func(t *testing.T, c *Client) (any, error) {
				return c.RevokeTokens(t.Context(), agentidp.TokenSelection{AgentID: agentID, IssuedBefore: &expires})
			},
			send: `
				POST /api/v1/tokens/revoke
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","issuedBefore":"2026-12-01T00:00:00Z"}`,
			answer: `
				200 OK
				Content-Type: application/json

				{"revoked":3}`,
			want: 3,
		},
		{
			name: "an agent is registered with the members that are set",
			call: func(t *testing.T, c *Client) (any, error) {
				return agentState(c.RegisterAgent(t.Context(), agentidp.AgentSpec{Name: "deployer@ci.acme.example", Version: "1.2.0"}))
			},
			send: `
				POST /api/v1/agents
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"name":"deployer@ci.acme.example","version":"1.2.0"}`,
			answer: `
				201 Created
				Location: /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","name":"deployer@ci.acme.example","status":"active"}`,
			want: []any{agentID, "deployer@ci.acme.example", agentidp.AgentActive},
		},
		{
			name: "an agent is read by its id",
			call: func(t *testing.T, c *Client) (any, error) { return agentState(c.GetAgent(t.Context(), agentID)) },
			send: `
				GET /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","name":"a@b.example","status":"active"}`,
			want: []any{agentID, "a@b.example", agentidp.AgentActive},
		},
		{
			name: "a list of policies is narrowed by what is asked for",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListTrustPolicies(t.Context(), agentidp.PolicyFilter{
					Provider: "github", Repository: "acme/deploy", AgentID: agentID, Grants: agentidp.PrincipalAgent, Mode: agentidp.ModeEnforce,
					NeverMatched: true, ExpiresBefore: time.Date(2026, 12, 5, 13, 0, 0, 0, time.FixedZone("", 3600)),
				}, ListOptions{Limit: 2})
				if err != nil {
					return nil, err
				}
				return len(p.Items), nil
			},
			send: `
				GET /api/v1/oidc/trust-policies?agentId=0193a5b0-0000-7000-8000-00000000000a&expiresBefore=2026-12-05T12%3A00%3A00Z&grants=agent&limit=2&mode=enforce&neverMatched=true&provider=github&repository=acme%2Fdeploy
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[]}`,
			want: 0,
		},
		{
			name: "a list of agents is narrowed by what is asked for",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListAgents(t.Context(), agentidp.AgentFilter{Status: agentidp.AgentActive, Name: "deployer@ci.acme.example", RegisteredByPolicyID: policyID}, ListOptions{})
				if err != nil {
					return nil, err
				}
				return len(p.Items), nil
			},
			send: `
				GET /api/v1/agents?name=deployer%40ci.acme.example&registeredByPolicyId=0193a5b0-0000-7000-8000-00000000000b&status=active
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[]}`,
			want: 0,
		},
		{
			name: "repin sends no body",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.Repin(t.Context(), policyID)
				if err != nil {
					return nil, err
				}
				return []any{p.ID, p.Pinned}, nil
			},
			send: `
				POST /api/v1/oidc/trust-policies/0193a5b0-0000-7000-8000-00000000000b/repin
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK
				ETag: "1"

				{"id":"0193a5b0-0000-7000-8000-00000000000b","revision":1}`,
			want: []any{policyID, (*agentidp.Pin)(nil)},
		},
		{
			name: "the first page of agents has no query",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListAgents(t.Context(), agentidp.AgentFilter{}, ListOptions{})
				if err != nil {
					return nil, err
				}
				return []any{len(p.Items), p.NextCursor}, nil
			},
			send: `
				GET /api/v1/agents
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[{"agentId":"0193a5b0-0000-7000-8000-00000000000a"}]}`,
			want: []any{1, ""},
		},
		{
			name: "decisions are listed by all that is asked for",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListDecisions(t.Context(), agentidp.DecisionFilter{
					Repository: "acme/deploy", RepositoryID: "74", AgentID: agentID, PolicyID: policyID, Code: agentidp.CodeBranchNotPermitted,
					Outcome: agentidp.OutcomeDenied, Since: expires.Add(-time.Microsecond), Until: expires.In(time.FixedZone("", 3600)),
				}, ListOptions{Limit: 2})
				if err != nil {
					return nil, err
				}
				return []any{len(p.Items), p.Items[0].Ref, p.NextCursor}, nil
			},
			send: `
				GET /api/v1/oidc/decisions?agentId=0193a5b0-0000-7000-8000-00000000000a&code=branch_not_permitted&limit=2&outcome=denied&policyId=0193a5b0-0000-7000-8000-00000000000b&repository=acme%2Fdeploy&repositoryId=74&since=2026-11-30T23%3A59%3A59.999999Z&until=2026-12-01T00%3A00%3A00Z
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[{"outcome":"denied","ref":"refs/heads/dev"}],"nextCursor":"next"}`,
			want: []any{1, "refs/heads/dev", "next"},
		},
		{
			name: "a decision is read by its id",
			call: func(t *testing.T, c *Client) (any, error) {
				d, err := c.GetDecision(t.Context(), policyID)
				if err != nil {
					return nil, err
				}
				return d.Checks, nil
			},
			send: `
				GET /api/v1/oidc/decisions/0193a5b0-0000-7000-8000-00000000000b
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"id":"0193a5b0-0000-7000-8000-00000000000b","checks":[{"check":"ref","expected":"refs/heads/main","got":"refs/heads/dev","ok":false}]}`,
			want: []agentidp.Check{{Check: "ref", Expected: "refs/heads/main", Got: "refs/heads/dev"}},
		},
		{
			name: "events are listed, and what is not asked for is not sent",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListEvents(t.Context(), agentidp.EventFilter{Type: agentidp.EventExchangeDenied, AgentID: agentID, Repository: "acme/deploy", Code: agentidp.CodeInvalidScope}, ListOptions{Cursor: "x"})
				if err != nil {
					return nil, err
				}
				return p.Items[0].Actor, nil
			},
			send: `
				GET /api/v1/audit/events?agentId=0193a5b0-0000-7000-8000-00000000000a&code=invalid_scope&cursor=x&repository=acme%2Fdeploy&type=exchange_denied
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"items":[{"type":"exchange_denied","actor":"github:acme/deploy"}]}`,
			want: "github:acme/deploy",
		},
		{
			name: "refusals without a record are read whole",
			call: func(t *testing.T, c *Client) (any, error) {
				r, err := c.ListRefusals(t.Context())
				if err != nil {
					return nil, err
				}
				return []any{r.Counts[0].Count, r.Latest[0].RequestID}, nil
			},
			send: `
				GET /api/v1/oidc/refusals
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"since":"2026-12-01T00:00:00Z","counts":[{"reason":"issuer","count":9007199254740993}],"latest":[{"requestId":"r","reason":"issuer"}]}`,
			want: []any{9007199254740993, "r"},
		},
		{
			name: "an update is a merge patch in which null removes",
			call: func(t *testing.T, c *Client) (any, error) {
				return agentState(c.UpdateAgent(t.Context(), agentID, map[string]any{"description": nil, "version": "2"}))
			},
			send: `
				PATCH /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a
				Authorization: Bearer the-admin-token
				Content-Type: application/merge-patch+json

				{"description":null,"version":"2"}`,
			answer: `
				200 OK

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","name":"a@b.example","status":"active"}`,
			want: []any{agentID, "a@b.example", agentidp.AgentActive},
		},
		{
			name: "an agent is suspended",
			call: func(t *testing.T, c *Client) (any, error) { return agentState(c.SuspendAgent(t.Context(), agentID)) },
			send: `
				POST /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/suspend
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","name":"a@b.example","status":"suspended"}`,
			want: []any{agentID, "a@b.example", agentidp.AgentSuspended},
		},
		{
			name: "an agent is reactivated",
			call: func(t *testing.T, c *Client) (any, error) { return agentState(c.ReactivateAgent(t.Context(), agentID)) },
			send: `
				POST /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/reactivate
				Authorization: Bearer the-admin-token`,
			answer: `
				200 OK

				{"agentId":"0193a5b0-0000-7000-8000-00000000000a","name":"a@b.example","status":"active"}`,
			want: []any{agentID, "a@b.example", agentidp.AgentActive},
		},
		{
			name: "a credential is created",
			call: func(t *testing.T, c *Client) (any, error) {
				created, err := c.CreateCredential(t.Context(), agentID, agentidp.CredentialSpec{Type: agentidp.CredentialSecret, Description: "d"})
				if err != nil {
					return nil, err
				}
				return []any{created.CredentialID, created.ClientID, created.ClientSecret}, nil
			},
			send: `
				POST /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/credentials
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"type":"secret","description":"d"}`,
			answer: `
				201 Created

				{"credentialId":"c","clientId":"0193a5b0-0000-7000-8000-00000000000a","clientSecret":"s","type":"secret"}`,
			want: []any{"c", agentID, "s"},
		},
		{
			name: "a credential is rotated, with grace",
			call: func(t *testing.T, c *Client) (any, error) {
				created, err := c.RotateCredential(t.Context(), agentID, policyID, time.Hour)
				if err != nil {
					return nil, err
				}
				return created.ClientSecret, nil
			},
			send: `
				POST /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/credentials/` + policyID + `/rotate
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"graceSeconds":3600}`,
			answer: `
				201 Created

				{"clientSecret":"s"}`,
			want: "s",
		},
		{
			name: "a credential is read",
			call: func(t *testing.T, c *Client) (any, error) {
				got, err := c.GetCredential(t.Context(), agentID, policyID)
				if err != nil {
					return nil, err
				}
				return []any{got.CredentialID, got.ClientID, got.Type}, nil
			},
			send: "GET /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/credentials/" + policyID + "\nAuthorization: Bearer the-admin-token",
			answer: `
				200 OK

				{"credentialId":"c","clientId":"0193a5b0-0000-7000-8000-00000000000a","type":"public_key"}`,
			want: []any{"c", agentID, agentidp.CredentialPublicKey},
		},
		{
			name: "a credential is deleted",
			call: func(t *testing.T, c *Client) (any, error) {
				return nil, c.DeleteCredential(t.Context(), agentID, policyID)
			},
			send:   "DELETE /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a/credentials/" + policyID + "\nAuthorization: Bearer the-admin-token",
			answer: "204 No Content",
		},
		{
			name:   "an agent is decommissioned",
			call:   func(t *testing.T, c *Client) (any, error) { return nil, c.DecommissionAgent(t.Context(), agentID) },
			send:   "DELETE /api/v1/agents/0193a5b0-0000-7000-8000-00000000000a\nAuthorization: Bearer the-admin-token",
			answer: "204 No Content",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.run(t)
		})
	}
}

func agentState(a *agentidp.Agent, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return []any{a.AgentID, a.Name, a.Status}, nil
}

func TestOtherOrganizationsAreBelowTheirOwnPrefix(t *testing.T) {
	t.Parallel()
	var uri string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri = r.RequestURI
		_, _ = io.WriteString(w, `{"items":[]}`)
	}))
	defer server.Close()
	c := &Client{BaseURL: server.URL + "/o/acme/", Token: "t"}
	if _, err := c.ListAgents(t.Context(), agentidp.AgentFilter{}, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := "/o/acme/api/v1/agents"; uri != want {
		t.Errorf("requested %s, want %s", uri, want)
	}
}

func TestNothingIsSentWhen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		client Client
		call   func(c *Client) error
		want   string
	}{
		{name: "the base URL is empty", client: Client{Token: "t"}, want: "not an absolute https URL"},
		{name: "the base URL has no host", client: Client{BaseURL: "https:///x", Token: "t"}, want: "not an absolute https URL"},
		{name: "the base URL is of another scheme", client: Client{BaseURL: "ftp://idp.example.com", Token: "t"}, want: "not an absolute https URL"},
		{name: "the base URL holds a password", client: Client{BaseURL: "https://u:hunter2@idp.example.com", Token: "t"}, want: "user name or password"},
		{name: "the base URL has a query", client: Client{BaseURL: "https://idp.example.com?x=1", Token: "t"}, want: "query or fragment"},
		{name: "plain http would cross a network", client: Client{BaseURL: "http://idp.example.com", Token: "t"}, want: "in the clear"},
		{name: "a host only looks like loopback", client: Client{BaseURL: "http://localhost.example.com", Token: "t"}, want: "in the clear"},
		{name: "there is no access token", client: Client{BaseURL: "https://idp.example.com"}, want: "Client.Token: it is empty"},
		{
			name: "an id would change the path", client: Client{BaseURL: "https://idp.example.com", Token: "t"},
			call: func(c *Client) error { return c.DecommissionAgent(t.Context(), "../oidc/trust-policies/x") },
			want: "is not a UUID",
		},
		{
			name: "an id is empty", client: Client{BaseURL: "https://idp.example.com", Token: "t"},
			call: func(c *Client) error { return c.DeleteTrustPolicy(t.Context(), "", DeleteOptions{}) },
			want: "is not a UUID",
		},
		{
			name: "there is no token to revoke", client: Client{BaseURL: "https://idp.example.com", Token: "t"},
			call: func(c *Client) error { return c.RevokeToken(t.Context(), "") },
			want: "it is empty",
		},
		{
			name: "there is no token to introspect", client: Client{BaseURL: "https://idp.example.com"},
			call: func(c *Client) error { _, err := c.Introspect(t.Context(), ""); return err },
			want: "it is empty",
		},
		{
			name: "there is no subject token", client: Client{BaseURL: "https://idp.example.com", Token: "t"},
			call: func(c *Client) error { _, err := c.Exchange(t.Context(), ExchangeRequest{}); return err },
			want: "ExchangeRequest.Token is empty",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.client.HTTP = &http.Client{Transport: unreachable{t}}
			call := test.call
			if call == nil {
				call = func(c *Client) error {
					_, err := c.ListAgents(t.Context(), agentidp.AgentFilter{}, ListOptions{})
					return err
				}
			}
			err := call(&test.client)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

// unreachable is a network that must not be used.
type unreachable struct{ t *testing.T }

func (u unreachable) RoundTrip(r *http.Request) (*http.Response, error) {
	u.t.Errorf("a request was sent to %s", r.URL)
	return nil, http.ErrUseLastResponse
}

func TestPlainHTTPIsForLoopbackOrTheInsistent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		base     string
		insecure bool
	}{
		{base: "http://localhost:8080"},
		{base: "http://127.0.0.1:8080"},
		{base: "http://[::1]:8080"},
		{base: "http://idp.internal", insecure: true},
	} {
		c := Client{InsecureAllowHTTP: test.insecure}
		if _, err := c.parseURL("BaseURL", test.base); err != nil {
			t.Errorf("%s: %v", test.base, err)
		}
	}
}
