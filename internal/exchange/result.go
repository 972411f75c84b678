package exchange

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Result is how an exchange ended, in words of which there are few: whatever a caller
// sends, none is made of it.
type Result struct {
	Outcome   string // one of Outcomes
	Code      string // of the error; empty: allowed, or the caller left
	Reason    string // of a refused subject token, also where its sender is not told
	Provider  string // empty: the token names the issuer of none, or it was not asked
	GrantType string // as decisions have it
	Bootstrap bool   // the request named no agent
	Took      time.Duration
}

// Outcomes are how an exchange can end: beside allowed and denied, error where a
// failure of ours or of the issuer left it undecided, and canceled where the caller
// did not wait.
var Outcomes = []string{string(agentidp.OutcomeAllowed), string(agentidp.OutcomeDenied), outcomeError, outcomeCanceled}

const (
	outcomeError    = "error"
	outcomeCanceled = "canceled"
)

// NewResult is how a grant ended in which no CI's token was exchanged.
func NewResult(ctx context.Context, grantType string, err error, took time.Duration) Result {
	r := newResult(ctx, &Request{GrantType: grantType}, err, took)
	r.Bootstrap = false // they are for agents alone
	return r
}

func newResult(ctx context.Context, req *Request, err error, took time.Duration) Result {
	r := Result{Outcome: string(agentidp.OutcomeAllowed), Provider: req.provider, GrantType: cmp.Or(req.GrantType, agentidp.GrantTokenExchange), Bootstrap: req.AgentID == "", Took: took}
	if err == nil {
		return r
	}
	e := agentidp.AsError(err)
	undecided := e.Kind == agentidp.Internal || e.Kind == agentidp.Unavailable
	if undecided && errors.Is(ctx.Err(), context.Canceled) {
		r.Outcome = outcomeCanceled
		return r
	}
	r.Outcome, r.Code = string(agentidp.OutcomeDenied), e.Code
	if undecided {
		r.Outcome = outcomeError
	}
	if reason := verify.Reason(err); e.Kind == agentidp.Unauthenticated && reason != e.Code {
		r.Reason = reason
	}
	return r
}
