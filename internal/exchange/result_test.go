package exchange

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

func TestHowAnExchangeEnded(t *testing.T) {
	t.Parallel()
	left, leave := context.WithCancel(context.Background())
	leave()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	_, malformed := verify.Peek("x")
	waits := context.Background()
	for _, tt := range []struct {
		name     string
		ctx      context.Context
		err      error
		provider string
		agent    string
		want     Result
	}{
		{"granted to an agent", waits, nil, "github", "id", Result{Outcome: "allowed", Provider: "github"}},
		{"granted to a bootstrap", waits, nil, "github", "", Result{Outcome: "allowed", Provider: "github", Bootstrap: true}},
		{"granted to somebody who left", left, nil, "github", "id", Result{Outcome: "allowed", Provider: "github"}},
		{"a bad request", waits, agentidp.InvalidFields(agentidp.FieldError{Field: "token"}), "", "", Result{Outcome: "denied", Code: "invalid_request", Bootstrap: true}},
		{"no token at all", waits, malformed, "", "id", Result{Outcome: "denied", Code: "invalid_token", Reason: "format"}},
		{"an issuer that nobody knows", waits, verify.UnknownIssuer("https://x"), "", "id", Result{Outcome: "denied", Code: "invalid_token", Reason: "issuer"}},
		{"a replay", waits, replayed(&agentidp.Claims{}), "github", "id", Result{Outcome: "denied", Code: "invalid_token", Reason: "token_replayed", Provider: "github"}},
		{"another branch", waits, agentidp.NewError(agentidp.Denied, agentidp.CodeBranchNotPermitted, ""), "github", "id", Result{Outcome: "denied", Code: "branch_not_permitted", Provider: "github"}},
		{"a refusal to somebody who left", left, agentidp.NewError(agentidp.Denied, agentidp.CodeBranchNotPermitted, ""), "github", "id", Result{Outcome: "denied", Code: "branch_not_permitted", Provider: "github"}},
		{"too many", waits, agentidp.NewError(agentidp.TooMany, agentidp.CodeRateLimited, ""), "github", "id", Result{Outcome: "denied", Code: "rate_limited", Provider: "github"}},
		{"no storage", waits, unavailable(errors.New("gone")), "github", "id", Result{Outcome: "error", Code: "temporarily_unavailable", Provider: "github"}},
		{"no storage in time", late, unavailable(late.Err()), "github", "id", Result{Outcome: "error", Code: "temporarily_unavailable", Provider: "github"}},
		{"somebody who left", left, unavailable(left.Err()), "github", "id", Result{Outcome: "canceled", Provider: "github"}},
		{"somebody who left early", left, left.Err(), "", "id", Result{Outcome: "canceled"}},
		{"a fault of ours", waits, fmt.Errorf("a fault"), "", "id", Result{Outcome: "error", Code: "internal_error"}},
	} {
		tt.want.GrantType = agentidp.GrantTokenExchange // where the request says nothing
		if got := newResult(tt.ctx, &Request{AgentID: tt.agent, provider: tt.provider}, tt.err, 0); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if got := newResult(waits, &Request{GrantType: agentidp.GrantJWTBearer}, nil, 0); got.GrantType != agentidp.GrantJWTBearer {
		t.Errorf("by another grant: %+v", got)
	}
}
