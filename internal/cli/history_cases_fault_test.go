//go:build failpoints

package cli

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

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
		"a replay of what was not answered":           {[]request{token(toExchange, isUnknown, 0, 0), token(toExchange, isReplayed, 5, 9)}, porcupine.Ok},
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
		"a deletion without an answer, done too late": {[]request{policy(toDelete, 1, isUnknown, 10, 10), token(toExchange, isRefused, 0, 9)}, porcupine.Illegal},

		"without an answer: a deletion, done late":                 {[]request{policy(toDelete, 1, isUnknown, 0, 0), token(toExchange, isDone, 1, 2), token(toIntrospect, isDone, 3, 4), token(toIntrospect, isNot, 5, 6), policy(toRead, 1, isNot, 7, 8)}, porcupine.Ok},
		"without an answer: a deletion, done and undone":           {[]request{policy(toDelete, 1, isUnknown, 0, 0), policy(toRead, 1, isNot, 1, 2), policy(toRead, 1, isDone, 3, 4)}, porcupine.Illegal},
		"without an answer: a deletion, done to another policy":    {[]request{policy(toDelete, 1, isUnknown, 0, 0), policy(toDelete, 1, isDone, 1, 2), policy(toCreate, 2, isDone, 3, 4), policy(toRead, 2, isNot, 5, 6)}, porcupine.Illegal},
		"without an answer: a creation, in somebody's way":         {[]request{policy(toCreate, 2, isUnknown, 0, 0), policy(toDelete, 1, isDone, 1, 2), token(toExchange, isRefused, 3, 4), policy(toCreate, 3, isNot, 5, 6), token(toExchange, isDone, 7, 8)}, porcupine.Ok},
		"without an answer: a creation, twice":                     {[]request{policy(toCreate, 2, isUnknown, 0, 0), policy(toDelete, 1, isDone, 1, 2), token(toExchange, isDone, 3, 4), policy(toCreate, 3, isDone, 5, 6)}, porcupine.Illegal},
		"without an answer: a suspension, done late":               {[]request{token(toSuspend, isUnknown, 0, 0), token(toExchange, isDone, 1, 2), token(toIntrospect, isNot, 3, 4)}, porcupine.Ok},
		"without an answer: a suspension, done twice":              {[]request{token(toSuspend, isUnknown, 0, 0), token(toExchange, isRefused, 1, 2), token(toReactivate, isDone, 3, 4), token(toExchange, isRefused, 5, 6)}, porcupine.Illegal},
		"without an answer: a reactivation, done late":             {[]request{token(toSuspend, isDone, 0, 1), token(toReactivate, isUnknown, 2, 2), token(toExchange, isRefused, 3, 4), token(toExchange, isDone, 5, 6)}, porcupine.Ok},
		"without an answer: a revocation, done late":               {[]request{token(toExchange, isDone, 0, 1), token(toRevoke, isUnknown, 2, 2), token(toIntrospect, isDone, 3, 4), token(toIntrospect, isNot, 5, 6)}, porcupine.Ok},
		"without an answer: a revocation, done and undone":         {[]request{token(toExchange, isDone, 0, 1), token(toRevoke, isUnknown, 2, 2), token(toIntrospect, isNot, 3, 4), token(toIntrospect, isDone, 5, 6)}, porcupine.Illegal},
		"without an answer: an exchange, done and granted again":   {[]request{token(toExchange, isUnknown, 0, 0), token(toExchange, isReplayed, 1, 2), token(toExchange, isDone, 3, 4)}, porcupine.Illegal},
		"without an answer: an exchange, done before it was asked": {[]request{token(toExchange, isReplayed, 0, 1), token(toExchange, isUnknown, 2, 2)}, porcupine.Illegal},
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

// however many requests had no answer, it is found out what a history is.
func TestR13HistoriesWithManyRequestsWithoutAnAnswer(t *testing.T) {
	for want, answer := range map[porcupine.CheckResult]string{porcupine.Ok: isReplayed, porcupine.Illegal: isDone} {
		h := &history{}
		note := func(q asked, answer string, call, end int64) {
			h.all = append(h.all, porcupine.Operation{Input: q, Call: call, Output: answer, Return: end})
		}
		for k := range int64(60) {
			at := 100 * k
			note(asked{what: toExchange, token: int(k)}, isUnknown, at, at)
			if k%10 == 0 {
				for _, what := range []string{toRevoke, toCreate, toDelete, toSuspend, toReactivate} {
					at++
					note(asked{what, int(k), 1}, isUnknown, at, at)
				}
			}
			note(asked{what: toReactivate}, isDone, 100*k+10, 100*k+90)
			note(asked{what: toIntrospect, token: int(k)}, isNot, 100*k+20, 100*k+80)
		}
		note(asked{what: toExchange, token: 63}, isDone, 6000, 6010)
		note(asked{what: toExchange, token: 63}, answer, 6020, 6030)
		if got := porcupine.CheckOperationsTimeout(agentModel, h.all, time.Minute); got != want {
			t.Errorf("a token that is granted and then %s: %s, want %s", answer, got, want)
		}
	}
}
