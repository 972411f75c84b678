//go:build failpoints

package cli

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What several clients did with one agent at several servers, and were answered, is a
// history. It is linearizable if there is one order of all requests, each at some moment
// between its sending and its answer, in which a single server that does one thing after
// the other would have given the same answers. Porcupine looks for such an order.

// asked is a request.
type asked struct {
	what   string
	token  int // which of the CI's tokens, of 64
	policy int // which of the agent's policies, from 1
}

// What is asked. All of it is about one agent.
const (
	toExchange   = "exchange a token"
	toIntrospect = "introspect what was got for a token"
	toRevoke     = "revoke what was got for a token"
	toCreate     = "create a policy"
	toDelete     = "delete a policy with its tokens"
	toRead       = "read a policy"
	toSuspend    = "suspend"
	toReactivate = "reactivate"
)

// What is answered. Whoever got no answer knows nothing, and it may still be done later.
const (
	isDone     = "done"      // granted, active, there
	isReplayed = "replayed"  // the CI's token was used before
	isRefused  = "refused"   // an exchange: there is no policy, or the agent is suspended
	isNot      = "it is not" // not active, not there; or there is one already
	isUnknown  = "unknown"
)

// agentState is all that the answers depend on.
type agentState struct {
	policy      int  // 0: none
	suspended   bool // the agent
	used, ended uint64
}

// grants says whether a new token would be exchanged.
func (s agentState) grants() bool { return s.policy != 0 && !s.suspended }

// step returns the states that a single server may be in after a request and its answer;
// none: it would not have given it.
func (s agentState) step(q asked, answer string) []agentState {
	after, before := s, s
	token := uint64(1) << q.token
	var can, silent bool // the answer can be given; what is unknown may have been done
	switch q.what {
	case toExchange:
		after.used |= token
		silent = s.grants() && s.used&token == 0
		switch answer {
		case isDone:
			can = silent
		case isReplayed:
			can, after = s.grants() && s.used&token != 0, before
		case isRefused:
			can, after = !s.grants(), before
		}
	case toIntrospect:
		active := s.used&token != 0 && s.ended&token == 0 && !s.suspended
		can = active == (answer == isDone)
	case toRevoke:
		after.ended |= token
		can, silent = true, true
	case toCreate:
		after.policy = q.policy
		silent = s.policy == 0
		if can = silent == (answer == isDone); answer == isNot {
			after = before
		}
	case toDelete:
		after.policy, after.ended = 0, s.ended|s.used
		silent = s.policy == q.policy
		if can = silent == (answer == isDone); answer == isNot {
			after = before
		}
	case toRead:
		can = (s.policy == q.policy) == (answer == isDone)
	case toSuspend:
		after.suspended, can, silent = true, true, true
	case toReactivate:
		after.suspended, can, silent = false, true, true
	}
	switch {
	case answer == isUnknown && silent:
		return []agentState{before, after}
	case answer == isUnknown:
		return []agentState{before}
	case can:
		return []agentState{after}
	}
	return nil
}

// agentModel is that for Porcupine.
var agentModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{agentState{policy: 1}} },
	Step: func(state, in, out any) []any {
		var all []any
		for _, s := range state.(agentState).step(in.(asked), out.(string)) {
			all = append(all, s)
		}
		return all
	},
	Hash: func(state any) uint64 {
		s := state.(agentState)
		return s.used ^ bits.RotateLeft64(s.ended, 32) ^ uint64(s.policy)<<1
	},
}).ToModel()

// history is what clients did with one agent.
type history struct {
	began time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
}

// ask sends a request and notes what became of it.
func (h *history) ask(client int, q asked, send func() (answer string)) (answer string) {
	call := time.Since(h.began)
	answer = send()
	h.note(client, q, call, answer)
	return answer
}

// note notes an answer that came at this moment, or none.
func (h *history) note(client int, q asked, call time.Duration, answer string) {
	end := int64(time.Since(h.began))
	if answer == isUnknown { // it may be done at any time from now on
		end = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: q, Call: int64(call), Output: answer, Return: end})
}

// check asserts that the history is linearizable.
func (h *history) check(t *testing.T) {
	t.Helper()
	if got := porcupine.CheckOperationsTimeout(agentModel, h.all, time.Minute); got != porcupine.Ok {
		t.Errorf("whether the history is linearizable: %s\n%s", got, h)
	}
}

// String lists the requests in the order in which they were sent.
func (h *history) String() string {
	var b strings.Builder
	slices.SortFunc(h.all, func(x, y porcupine.Operation) int { return int(x.Call - y.Call) })
	for _, op := range h.all {
		fmt.Fprintf(&b, "%10d µs to %10d µs, client %d: %+v: %s\n", op.Call/1000, op.Return/1000, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

// histories that no single server could have given are found out.
func TestR13WhichHistoriesAreLinearizable(t *testing.T) {
	type request struct {
		asked
		answer    string
		call, end int64
	}
	token := func(what string, answer string, call, end int64) request {
		return request{asked{what: what}, answer, call, end}
	}
	policy := func(what string, n int, answer string, call, end int64) request {
		return request{asked{what: what, policy: n}, answer, call, end}
	}
	for name, tt := range map[string]struct {
		requests []request
		want     porcupine.CheckResult
	}{
		"a token, and the same again":                 {[]request{token(toExchange, isDone, 0, 9), token(toExchange, isReplayed, 5, 8)}, porcupine.Ok},
		"a token that is granted twice":               {[]request{token(toExchange, isDone, 0, 9), token(toExchange, isDone, 0, 9)}, porcupine.Illegal},
		"a replay of what nobody used":                {[]request{token(toExchange, isReplayed, 0, 9)}, porcupine.Illegal},
		"a replay of what was not answered":           {[]request{token(toExchange, isUnknown, 0, math.MaxInt64), token(toExchange, isReplayed, 5, 9)}, porcupine.Ok},
		"a grant while its policy is deleted":         {[]request{policy(toDelete, 1, isDone, 0, 9), token(toExchange, isDone, 5, 12)}, porcupine.Ok},
		"a grant after its policy was deleted":        {[]request{policy(toDelete, 1, isDone, 0, 9), token(toExchange, isDone, 10, 12)}, porcupine.Illegal},
		"a refusal that nothing explains":             {[]request{token(toExchange, isRefused, 0, 9)}, porcupine.Illegal},
		"a grant while the agent is suspended":        {[]request{token(toSuspend, isDone, 0, 9), token(toExchange, isDone, 10, 12), token(toReactivate, isDone, 13, 15)}, porcupine.Illegal},
		"a grant while it is reactivated":             {[]request{token(toSuspend, isDone, 0, 9), token(toExchange, isDone, 10, 14), token(toReactivate, isDone, 13, 15)}, porcupine.Ok},
		"a token that lives on after its revocation":  {[]request{token(toExchange, isDone, 0, 1), token(toRevoke, isDone, 2, 3), token(toIntrospect, isDone, 4, 5)}, porcupine.Illegal},
		"a token that outlives its policy":            {[]request{token(toExchange, isDone, 0, 1), policy(toDelete, 1, isDone, 2, 3), token(toIntrospect, isDone, 4, 5)}, porcupine.Illegal},
		"a token that ended and is good again":        {[]request{token(toExchange, isDone, 0, 1), token(toRevoke, isDone, 2, 9), token(toIntrospect, isNot, 3, 4), token(toIntrospect, isDone, 5, 6)}, porcupine.Illegal},
		"a policy that is gone at one server only":    {[]request{policy(toDelete, 1, isDone, 0, 9), policy(toRead, 1, isNot, 1, 2), policy(toRead, 1, isDone, 3, 4)}, porcupine.Illegal},
		"a policy that is deleted by two":             {[]request{policy(toDelete, 1, isDone, 0, 9), policy(toDelete, 1, isDone, 0, 9)}, porcupine.Illegal},
		"two policies that are the same":              {[]request{policy(toCreate, 2, isDone, 0, 9)}, porcupine.Illegal},
		"a policy in the place of another":            {[]request{policy(toDelete, 1, isDone, 0, 9), policy(toCreate, 2, isDone, 5, 12), token(toExchange, isDone, 13, 14), policy(toRead, 2, isDone, 15, 16)}, porcupine.Ok},
		"a deletion without an answer, done too late": {[]request{policy(toDelete, 1, isUnknown, 10, math.MaxInt64), token(toExchange, isRefused, 0, 9)}, porcupine.Illegal},
	} {
		h := &history{}
		for k, r := range tt.requests {
			h.all = append(h.all, porcupine.Operation{ClientId: k, Input: r.asked, Call: r.call, Output: r.answer, Return: r.end})
		}
		if got := porcupine.CheckOperationsTimeout(agentModel, h.all, time.Minute); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
