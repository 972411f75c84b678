package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// ledger is what clients were told, and so what must hold from then on.
type ledger struct {
	installation *installation
	admin        *client.Client
	enough       atomic.Bool // workers end after the request that they are at

	mu           sync.Mutex
	agents       map[string]agentidp.AgentStatus // by id
	policies     map[string]terms                // by id; a deleted one is not in it
	grants       []*grant
	denied       []string       // decision ids
	untold       []*grant       // whose answer was lost: known by the subject token being used up
	acknowledged map[string]int // writes, by what they were
}

// terms are what tells one state of a policy from another.
type terms struct {
	repository, branch, agent string
	revision                  int64
}

// grant is a subject token that was exchanged, and what for.
type grant struct {
	agent, subject, access, decision string
	ended                            bool // the access token was revoked
}

func newLedger(i *installation, token string) *ledger {
	return &ledger{installation: i, admin: i.client(token), agents: map[string]agentidp.AgentStatus{}, policies: map[string]terms{}, acknowledged: map[string]int{}}
}

func (l *ledger) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.acknowledged {
		n += k
	}
	return n
}

// check holds the ledger against the server's lists: agents and policies are these
// and no others, each as the last answer said, and these decisions are recorded.
func (l *ledger) check(ctx context.Context, since time.Time, grants []*grant, denied []string) error {
	agents := map[string]agentidp.AgentStatus{}
	for a, err := range l.admin.AllAgents(ctx, agentidp.AgentFilter{}) {
		if err != nil {
			return err
		}
		agents[a.AgentID] = a.Status
	}
	policies := map[string]terms{}
	for p, err := range l.admin.AllTrustPolicies(ctx, agentidp.PolicyFilter{}) {
		if err != nil {
			return err
		}
		policies[p.ID] = termsOf(p)
	}
	outcomes := map[string]agentidp.Outcome{}
	for d, err := range l.admin.AllDecisions(ctx, agentidp.DecisionFilter{Since: since}) {
		if err != nil {
			return err
		}
		outcomes[d.ID] = d.Outcome
	}
	errs := []error{different("agent", agents, l.agents), different("policy", policies, l.policies)}
	for _, g := range grants {
		if outcomes[g.decision] != agentidp.OutcomeAllowed {
			errs = append(errs, fmt.Errorf("decision %s was a grant and is %q", g.decision, outcomes[g.decision]))
		}
	}
	for _, id := range denied {
		if outcomes[id] != agentidp.OutcomeDenied {
			errs = append(errs, fmt.Errorf("decision %s was a refusal and is %q", id, outcomes[id]))
		}
	}
	return errors.Join(errs...)
}

func termsOf(p *agentidp.TrustPolicy) terms {
	return terms{p.Repository, p.Branch, p.AgentID, p.Revision}
}

// different reports what is lost, what is there unasked, and what is otherwise.
func different[V comparable](noun string, got, want map[string]V) error {
	var errs []error
	for id, w := range want {
		if g, ok := got[id]; !ok {
			errs = append(errs, fmt.Errorf("%s %s is lost: it was %v", noun, id, w))
		} else if g != w {
			errs = append(errs, fmt.Errorf("%s %s is %v, and the last answer said %v", noun, id, g, w))
		}
	}
	for id, g := range got {
		if _, ok := want[id]; !ok {
			errs = append(errs, fmt.Errorf("%s %s is there, and nobody was told so: %v", noun, id, g))
		}
	}
	return errors.Join(errs...)
}

// probe presents again what grants took and gave: subject tokens must be used up,
// and access tokens good or refused as the last answer said.
func (l *ledger) probe(ctx context.Context, grants []*grant) error {
	const atOnce = 16
	errs := make([][]error, atOnce)
	var wg sync.WaitGroup
	for first := range atOnce {
		wg.Go(func() {
			for i := first; i < len(grants); i += atOnce {
				errs[first] = append(errs[first], l.usedUp(ctx, grants[i]), l.access(ctx, grants[i]))
			}
		})
	}
	wg.Wait()
	return errors.Join(slices.Concat(errs...)...)
}

func (l *ledger) access(ctx context.Context, g *grant) error {
	if g.access == "" {
		return nil
	}
	good := !g.ended && l.agents[g.agent] == agentidp.AgentActive
	_, err := l.installation.client(g.access).ListAgents(ctx, agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
	if code, _ := refusal(err); good && err != nil || !good && code != agentidp.CodeInvalidToken {
		return fmt.Errorf("the access token of decision %s: good is %v, and the server %s", g.decision, good, said(err))
	}
	return nil
}

// usedUp presents a subject token again. Of an agent that was suspended, the refusal
// speaks: single use is decided last.
func (l *ledger) usedUp(ctx context.Context, g *grant) error {
	_, err := l.admin.Exchange(ctx, client.ExchangeRequest{Token: g.subject, AgentID: g.agent})
	code, reason := refusal(err)
	if reason == agentidp.ReasonTokenReplayed || l.agents[g.agent] == agentidp.AgentSuspended && code == agentidp.CodeAgentNotActive {
		return nil
	}
	return fmt.Errorf("a subject token that was exchanged (decision %q): the server %s", g.decision, said(err))
}

// said is an answer in words.
func said(err error) string {
	if err == nil {
		return "takes it"
	}
	return "says: " + err.Error()
}

// refusal returns code and reason of the server's refusal; "" if it was none.
func refusal(err error) (code, reason string) {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code, e.Reason
	}
	return "", ""
}

// sample returns at most n of some items.
func sample[T any](rng *rand.Rand, items []T, n int) []T {
	out := make([]T, 0, n)
	for _, k := range rng.Perm(len(items))[:min(n, len(items))] {
		out = append(out, items[k])
	}
	return out
}
