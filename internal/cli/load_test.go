package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// worker is one of the clients that write all the time, one request after the
// other. It has an agent with a policy, whose tokens it gets and ends, and policies
// that it only creates, replaces and deletes.
type worker struct {
	*ledger
	admin      *client.Client // of the server that it writes to
	name       string
	rng        *rand.Rand
	made       int // names so far
	agent      string
	repository string   // the agent's
	home       string   // the agent's policy
	good       []*grant // of the agent, not ended
	policies   []string

	doubt *operation // was sent, and no answer came
	why   error      // what came instead
}

// operation is one write. again says that it was sent before and may have been
// done: then an answer that it is done already is as good as any. What it returns
// goes into the ledger.
type operation struct {
	name string
	do   func(ctx context.Context, again bool) (note func(), err error)
}

// run writes until an answer fails to come, or the ledger has enough.
func (w *worker) run(ctx context.Context) error {
	for w.doubt == nil && !w.enough.Load() {
		op := w.next()
		if err := w.perform(ctx, op, false); err != nil {
			if e, ok := errors.AsType[*client.Error](err); ok && e.Status != http.StatusServiceUnavailable {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			w.doubt, w.why = op, err
		}
	}
	return nil
}

// settle repeats what was not answered, as any client would. From then on it is
// known, and held to like all else.
func (w *worker) settle(ctx context.Context) error {
	if w.doubt == nil {
		return nil
	}
	if err := w.perform(ctx, w.doubt, true); err != nil {
		return fmt.Errorf("%s, after its answer was lost: %w", w.doubt.name, err)
	}
	w.doubt, w.why = nil, nil
	return nil
}

func (w *worker) perform(ctx context.Context, op *operation, again bool) error {
	note, err := op.do(ctx, again)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	note()
	w.acknowledged[op.name]++
	return nil
}

// next chooses what to write.
func (w *worker) next() *operation {
	switch n := w.rng.IntN(100); {
	case w.agent == "":
		return w.register()
	case w.home == "":
		return w.settleIn()
	case n < 50:
		return w.exchange()
	case n < 60:
		return w.beRefused()
	case n < 72 || n < 84 && len(w.policies) == 0:
		return w.createPolicy()
	case n < 78:
		return w.replacePolicy()
	case n < 84:
		return w.deletePolicy()
	case n < 91 && len(w.good) > 0:
		return w.revoke()
	case n < 96:
		return w.revokeAll()
	default:
		return w.suspend()
	}
}

func (w *worker) register() *operation {
	w.made++
	name := fmt.Sprintf("%s-%d", w.name, w.made)
	spec := agentidp.AgentSpec{Name: name + "@ci.acme.example", Capabilities: []string{"agents:read"}}
	return &operation{"an agent registered", func(ctx context.Context, again bool) (func(), error) {
		a, err := w.admin.RegisterAgent(ctx, spec)
		if code, _ := refusal(err); again && code == agentidp.CodeAgentNameTaken {
			a, err = found(w.admin.AllAgents(ctx, agentidp.AgentFilter{Name: spec.Name}), func(*agentidp.Agent) bool { return true })
		}
		return func() {
			w.agents[a.AgentID] = a.Status
			w.agent, w.repository, w.home, w.good = a.AgentID, "acme/"+name, "", nil
		}, err
	}}
}

// settleIn creates the policy by which the agent gets its tokens, which the
// management API takes.
func (w *worker) settleIn() *operation {
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: w.repository, Branch: "main", AgentID: w.agent, Audiences: []string{w.installation.url + "/api/v1"}}
	return w.create(spec, func(id string) { w.home = id })
}

func (w *worker) createPolicy() *operation {
	w.made++
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: fmt.Sprintf("acme/%s-%d", w.name, w.made), Branch: "main", AgentID: w.agent}
	return w.create(spec, func(id string) { w.policies = append(w.policies, id) })
}

func (w *worker) create(spec agentidp.TrustPolicySpec, keep func(id string)) *operation {
	return &operation{"a policy created", func(ctx context.Context, again bool) (func(), error) {
		p, err := w.admin.CreateTrustPolicy(ctx, spec)
		if code, _ := refusal(err); again && code == agentidp.CodePolicyExists {
			p, err = found(w.admin.AllTrustPolicies(ctx, agentidp.PolicyFilter{}), func(p *agentidp.TrustPolicy) bool { return p.Repository == spec.Repository })
		}
		return func() {
			w.ledger.policies[p.ID] = termsOf(p)
			keep(p.ID)
		}, err
	}}
}

// found returns the item of a list that was there before it could be made again.
func found[T any](items iter.Seq2[*T, error], is func(*T) bool) (*T, error) {
	for item, err := range items {
		if err != nil || is(item) {
			return item, err
		}
	}
	return nil, errors.New("it is taken, and not in the list")
}

// known returns one of the worker's policies, and what was last said about it.
func (w *worker) known() (id string, last terms) {
	id = w.policies[w.rng.IntN(len(w.policies))]
	w.mu.Lock()
	defer w.mu.Unlock()
	return id, w.ledger.policies[id]
}

func (w *worker) replacePolicy() *operation {
	id, last := w.known()
	branch := fmt.Sprintf("release-%d", last.revision)
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: last.repository, Branch: branch, AgentID: last.agent}
	return &operation{"a policy replaced", func(ctx context.Context, again bool) (func(), error) {
		p, err := w.admin.ReplaceTrustPolicy(ctx, id, last.revision, spec)
		if code, _ := refusal(err); again && code == agentidp.CodePreconditionFailed {
			p, err = w.admin.GetTrustPolicy(ctx, id)
		}
		if err == nil && (p.Branch != branch || p.Revision != last.revision+1) {
			err = fmt.Errorf("policy %s was %v and is %v, which is neither it nor its replacement", id, last, termsOf(p))
		}
		return func() { w.ledger.policies[id] = termsOf(p) }, err
	}}
}

func (w *worker) deletePolicy() *operation {
	id, _ := w.known()
	return &operation{"a policy deleted", func(ctx context.Context, again bool) (func(), error) {
		err := w.admin.DeleteTrustPolicy(ctx, id, client.DeleteOptions{RevokeIssued: w.made%2 == 0})
		if code, _ := refusal(err); again && code == agentidp.CodeNotFound {
			err = nil
		}
		return func() {
			delete(w.ledger.policies, id)
			w.policies = slices.DeleteFunc(w.policies, func(p string) bool { return p == id })
		}, err
	}}
}

func (w *worker) exchange() *operation {
	g := &grant{agent: w.agent, subject: w.installation.subject(w.repository, "refs/heads/main")}
	return &operation{"a token granted", func(ctx context.Context, again bool) (func(), error) {
		resp, err := w.admin.Exchange(ctx, client.ExchangeRequest{Token: g.subject, AgentID: g.agent})
		if _, reason := refusal(err); again && reason == agentidp.ReasonTokenReplayed {
			return func() { w.untold = append(w.untold, g) }, nil
		}
		return func() {
			g.access, g.decision = resp.AccessToken, resp.DecisionID
			w.grants, w.good = append(w.grants, g), append(w.good, g)
		}, err
	}}
}

func (w *worker) beRefused() *operation {
	r := client.ExchangeRequest{AgentID: w.agent, Token: w.installation.subject(w.repository, "refs/heads/dev")}
	return &operation{"an exchange refused", func(ctx context.Context, _ bool) (func(), error) {
		_, err := w.admin.Exchange(ctx, r)
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Code != agentidp.CodeBranchNotPermitted {
			return nil, err
		}
		return func() { w.denied = append(w.denied, e.DecisionID) }, nil
	}}
}

func (w *worker) revoke() *operation {
	g := w.good[w.rng.IntN(len(w.good))]
	return &operation{"a token revoked", func(ctx context.Context, _ bool) (func(), error) {
		err := w.admin.RevokeToken(ctx, g.access)
		return func() {
			g.ended = true
			w.good = slices.DeleteFunc(w.good, func(other *grant) bool { return other == g })
		}, err
	}}
}

func (w *worker) revokeAll() *operation {
	return &operation{"an agent's tokens revoked", func(ctx context.Context, _ bool) (func(), error) {
		_, err := w.admin.RevokeTokens(ctx, agentidp.TokenSelection{AgentID: w.agent})
		return func() {
			for _, g := range w.good {
				g.ended = true
			}
			w.good = nil
		}, err
	}}
}

// suspend stops the agent, after which the worker takes another.
func (w *worker) suspend() *operation {
	id := w.agent
	return &operation{"an agent suspended", func(ctx context.Context, _ bool) (func(), error) {
		a, err := w.admin.SuspendAgent(ctx, id)
		return func() { w.agents[id], w.agent = a.Status, "" }, err
	}}
}
