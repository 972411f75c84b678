//go:build failpoints

package cli

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// whatever clients and administrators do at three servers at once, also while one of
// them is killed, a single server could have answered. In the long form for ten minutes.
func TestR13HistoriesOfThreeServersAreLinearizable(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	answers, rounds := map[string]int{}, 0
	for end := time.Now().Add(time.Duration(often(600, 8)) * time.Second); rounds < 3 || time.Now().Before(end); rounds++ {
		agents := make([]*told, 4)
		var wg sync.WaitGroup
		for k := range agents {
			agents[k] = newTold(newHolder(t, nodes, fmt.Sprintf("told-%d-%d", rounds, k), ""))
		}
		for k, a := range agents {
			wg.Go(func() { a.crowd(rand.New(rand.NewPCG(seed, uint64(4*rounds+k+1)))) })
		}
		dead := nodes[rounds%len(nodes)]
		time.Sleep(time.Duration(100+rng.IntN(300)) * time.Millisecond)
		dead.kill()
		wg.Wait()
		dead.start()
		for _, a := range agents {
			a.history.check(t)
			for _, op := range a.history.all {
				answers[op.Input.(asked).what+": "+op.Output.(string)]++
			}
		}
		if t.Failed() {
			break
		}
	}
	for _, answer := range []string{
		toExchange + ": " + isDone, toExchange + ": " + isReplayed, toExchange + ": " + isRefused, toIntrospect + ": " + isDone, toIntrospect + ": " + isNot,
		toRead + ": " + isDone, toRead + ": " + isNot, toCreate + ": " + isDone, toDelete + ": " + isDone, toSuspend + ": " + isDone, toReactivate + ": " + isDone, toRevoke + ": " + isDone,
	} {
		if answers[answer] == 0 {
			t.Errorf("%s: never", answer)
		}
	}
	for _, answer := range slices.Sorted(maps.Keys(answers)) {
		t.Logf("%6d × %s", answers[answer], answer)
	}
	t.Logf("%d histories of %d rounds", 4*rounds, rounds)
}

// told is an agent of which everything that is asked and answered is noted.
type told struct {
	*holder
	history  history
	subjects [64]string // the CI's tokens
	next     atomic.Int64

	mu       sync.Mutex
	got      map[int]string // access tokens, by the CI's token
	policies []string       // by number, from 1
}

func newTold(h *holder) *told {
	a := &told{holder: h, got: map[int]string{}, policies: []string{h.policy}}
	for k := range a.subjects {
		a.subjects[k] = h.subject()
	}
	a.history.began = time.Now()
	return a
}

// crowd lets clients and two administrators work until the CI's tokens are used up.
func (a *told) crowd(rng *rand.Rand) {
	const clients, administrators = 6, 2
	var wg sync.WaitGroup
	for k := range clients + administrators {
		own, do := rand.New(rand.NewPCG(rng.Uint64(), 0)), a.use
		if k >= clients {
			do = a.administer
		}
		wg.Go(func() {
			for node := k; a.next.Load() < int64(len(a.subjects)); {
				if do(own, k, node%len(a.nodes)) == isUnknown {
					node++ // as whoever distributes requests would do
				}
			}
		})
	}
	wg.Wait()
}

// use is one request of a client.
func (a *told) use(rng *rand.Rand, who, node int) string {
	number, policy := a.last()
	switch n := rng.IntN(10); {
	case n < 4:
		return a.present(who, node, int(a.next.Add(1))-1)
	case n < 6: // what somebody presents at this moment, or did
		return a.present(who, node, int(a.next.Load())-1)
	case n < 9:
		token, access := a.some(rng)
		if access == "" {
			return isDone
		}
		return a.look(who, asked{what: toIntrospect, token: token}, func() string {
			answer, err := a.as(node, "").Introspect(a.t.Context(), access)
			if err == nil && !answer.Active {
				return isNot
			}
			return a.outcome(err, nil)
		})
	default:
		return a.look(who, asked{what: toRead, policy: number}, func() string {
			_, err := a.at(node).GetTrustPolicy(a.t.Context(), policy)
			return a.outcome(err, map[string]string{agentidp.CodeNotFound: isNot})
		})
	}
}

// look asks for what changes nothing; without an answer it says nothing.
func (a *told) look(who int, q asked, send func() string) string {
	call := time.Since(a.history.began)
	answer := send()
	if answer != isUnknown {
		a.history.note(who, q, call, answer)
	}
	return answer
}

// present exchanges one of the CI's tokens.
func (a *told) present(who, node, token int) string {
	if token < 0 || token >= len(a.subjects) {
		return isDone
	}
	return a.history.ask(who, asked{what: toExchange, token: token}, func() string {
		resp, err := a.as(node, "").Exchange(a.t.Context(), client.ExchangeRequest{Token: a.subjects[token], AgentID: a.agent})
		if err == nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.got[token] = resp.AccessToken
		}
		if _, reason := refusal(err); reason == agentidp.ReasonTokenReplayed {
			return isReplayed
		}
		return a.outcome(err, map[string]string{agentidp.CodeTrustPolicyViolation: isRefused, agentidp.CodeAgentNotActive: isRefused})
	})
}

// administer is one request of an administrator.
func (a *told) administer(rng *rand.Rand, who, node int) string {
	ctx, admin := a.t.Context(), a.at(node)
	number, policy := a.last()
	switch n := rng.IntN(10); {
	case n < 2:
		return a.history.ask(who, asked{what: toDelete, policy: number}, func() string {
			return a.outcome(admin.DeleteTrustPolicy(ctx, policy, client.DeleteOptions{RevokeIssued: true}), map[string]string{agentidp.CodeNotFound: isNot})
		})
	case n < 5:
		return a.create(who, node)
	case n < 6:
		return a.history.ask(who, asked{what: toSuspend}, func() string {
			_, err := admin.SuspendAgent(ctx, a.agent)
			return a.outcome(err, nil)
		})
	case n < 8:
		return a.history.ask(who, asked{what: toReactivate}, func() string {
			_, err := admin.ReactivateAgent(ctx, a.agent)
			return a.outcome(err, nil)
		})
	default:
		token, access := a.some(rng)
		if access == "" {
			return isDone
		}
		return a.history.ask(who, asked{what: toRevoke, token: token}, func() string {
			return a.outcome(admin.RevokeToken(ctx, access), nil)
		})
	}
}

// create puts a policy in the place of one that was deleted. Its number is that of its
// creator's try, so that one without an answer has one too.
func (a *told) create(who, node int) string {
	a.mu.Lock()
	a.policies = append(a.policies, "")
	number := len(a.policies)
	a.mu.Unlock()
	return a.history.ask(who, asked{what: toCreate, policy: number}, func() string {
		p, err := a.at(node).CreateTrustPolicy(a.t.Context(), a.terms())
		if err == nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.policies[number-1] = p.ID
		}
		return a.outcome(err, map[string]string{agentidp.CodePolicyExists: isNot})
	})
}

// last returns the newest policy that somebody was told of.
func (a *told) last() (number int, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for number = len(a.policies); a.policies[number-1] == ""; number-- {
	}
	return number, a.policies[number-1]
}

// some returns one of the access tokens that were got.
func (a *told) some(rng *rand.Rand) (token int, access string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.got) == 0 {
		return 0, ""
	}
	tokens := slices.Sorted(maps.Keys(a.got))
	token = tokens[rng.IntN(len(tokens))]
	return token, a.got[token]
}

// outcome is what an answer says: done, or what a code of its refusal means.
func (a *told) outcome(err error, means map[string]string) string {
	switch code := codeOf(err); {
	case code == "":
		return isDone
	case code == noAnswer || code == agentidp.CodeTemporarilyUnavailable:
		return isUnknown
	case means[code] != "":
		return means[code]
	}
	a.t.Errorf("an answer that nobody expects: %v", err)
	return isUnknown
}
