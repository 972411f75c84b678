//go:build failpoints

package cli

import (
	"fmt"
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
	may         unanswered
}

// unanswered is what was asked for and not answered. It may be done at any time from then
// on, or never. If Porcupine had to find the place of each, it would try all places of all
// of them; but it is enough to take it for done where an answer says so.
type unanswered struct {
	use, end            uint64 // tokens
	create, remove      bool   // a policy; the policy that there is
	suspend, reactivate int    // how often
}

// unnamed is a policy whose creator got no answer. So nobody can read or delete it.
const unnamed = -1

// grants says whether a new token would be exchanged.
func (s agentState) grants() bool { return s.policy != 0 && !s.suspended }

// step returns the states that a single server may be in after a request and its answer;
// none: it would not have given it.
func (s agentState) step(q asked, answer string) (all []agentState) {
	if answer == isUnknown {
		return []agentState{s.without(q)}
	}
	for _, before := range s.meanwhile() {
		if after, can := before.answer(q, answer); can {
			all = append(all, after)
		}
	}
	return all
}

// without is the state after a request without an answer.
func (s agentState) without(q asked) agentState {
	switch q.what {
	case toExchange:
		s.may.use |= 1 << q.token
	case toRevoke:
		s.may.end |= 1 << q.token
	case toCreate:
		s.may.create = true
	case toDelete: // of one that is gone already it does nothing
		s.may.remove = s.may.remove || s.policy == q.policy
	case toSuspend:
		s.may.suspend++
	case toReactivate:
		s.may.reactivate++
	}
	return s
}

// meanwhile returns the state, and those that it may have become by what was not answered.
// What is about one token alone is left to the answers about that.
func (s agentState) meanwhile() []agentState {
	all := []agentState{s}
	if s.may.remove {
		all = append(all, s.removed())
	}
	for _, s := range all {
		if s.may.create && s.policy == 0 {
			s.policy, s.may.create = unnamed, false
			all = append(all, s)
		}
	}
	for _, s := range all {
		switch {
		case s.suspended && s.may.reactivate > 0:
			s.may.reactivate--
		case !s.suspended && s.may.suspend > 0:
			s.may.suspend--
		default:
			continue
		}
		s.suspended = !s.suspended
		all = append(all, s)
	}
	return all
}

// removed is the state after the policy was deleted with its tokens.
func (s agentState) removed() agentState {
	s.policy, s.ended, s.may.remove = 0, s.ended|s.used, false
	return s
}

// answer returns the state after a request with this answer, and whether it can be given.
func (s agentState) answer(q asked, answer string) (after agentState, can bool) {
	after = s
	token, done := uint64(1)<<q.token, answer == isDone
	switch q.what {
	case toExchange:
		after.used |= token
		switch answer {
		case isDone:
			return after, s.grants() && s.used&token == 0
		case isReplayed:
			return after, s.grants() && (s.used|s.may.use)&token != 0
		}
		return s, !s.grants()
	case toIntrospect:
		active := s.used&token != 0 && s.ended&token == 0 && !s.suspended
		if active && !done && s.may.end&token != 0 {
			after.ended |= token
			return after, true
		}
		return s, active == done
	case toRevoke:
		after.ended |= token
	case toCreate:
		if can = s.policy == 0; can {
			after.policy = q.policy
		}
		return after, can == done
	case toDelete:
		if can = s.policy == q.policy; can {
			after = s.removed()
		}
		return after, can == done
	case toRead:
		return s, (s.policy == q.policy) == done
	case toSuspend:
		after.suspended = true
	case toReactivate:
		after.suspended = false
	}
	return after, true
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
	if answer == isUnknown { // it may be done at any time from its sending on
		end = int64(call)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: q, Call: int64(call), Output: answer, Return: end})
}

// check asserts that the history is linearizable.
func (h *history) check(t *testing.T) {
	t.Helper()
	switch got := porcupine.CheckOperationsTimeout(agentModel, h.all, time.Minute); got {
	case porcupine.Ok:
	case porcupine.Illegal:
		t.Errorf("no single server could have answered so:\n%s", h)
	default: // which says nothing about the servers
		t.Errorf("whether a single server could have answered so was not found out in a minute:\n%s", h)
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
