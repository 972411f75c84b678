package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// Bounds of one back-test: how many exchanges it replays, and how many examples it gives
// of either change.
const (
	usualReplay = 1000
	maxReplay   = 5000
	maxExamples = 10
)

// replayTime bounds how long exchanges are replayed: ten thousand policies of a
// repository, each with a condition, held against thousands of exchanges are hours.
const replayTime = 5 * time.Second

// Backtest replays the exchanges of the past whose claims are kept, with policies as they
// are now and with a change of one: the request's draft in the place of the policy id, or
// beside the others where id is ""; or without a draft the policy id as though it were
// enforced. Nothing is written. Errors: Invalid, NotFound, Conflict (pin_conflict,
// agent_decommissioned), Unavailable.
func (r *Registry) Backtest(ctx context.Context, org *agentidp.Organization, id string, req *agentidp.BacktestRequest) (*agentidp.Backtest, error) {
	if bad := checkBacktest(id, req); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	p, notes, err := r.changed(ctx, org, id, req.Policy)
	if err != nil {
		return nil, ofDraft(err)
	}
	t, err := r.newReplay(ctx, org, p)
	if err != nil {
		return nil, err
	}
	t.notes = append(t.notes, notes...)
	limit := req.Limit
	if limit == 0 {
		limit = usualReplay
	}
	past, err := r.past(ctx, t, req.Since, limit)
	if err != nil {
		return nil, public(err, "trust policy")
	}
	if err := t.replayAll(ctx, past); err != nil {
		return nil, public(err, "trust policy")
	}
	return t.result(), nil
}

func checkBacktest(id string, req *agentidp.BacktestRequest) (bad []agentidp.FieldError) {
	if id == "" && req.Policy == nil {
		bad = append(bad, agentidp.FieldError{Field: "policy", Reason: "is required: the draft of a policy"})
	}
	if req.Limit < 0 || req.Limit > maxReplay {
		bad = append(bad, agentidp.FieldError{Field: "limit", Reason: fmt.Sprintf("must be between 1 and %d", maxReplay)})
	}
	return bad
}

// ofDraft says of fields that are wrong whose they are.
func ofDraft(err error) error {
	e, ok := errors.AsType[*agentidp.Error](err)
	if !ok || len(e.Details) == 0 {
		return err
	}
	draft := *e
	draft.Details = slices.Clone(e.Details)
	for i := range draft.Details {
		draft.Details[i].Field = "policy." + draft.Details[i].Field
	}
	return &draft
}

// changed returns the policy as it would be, with its pin. Its ID is empty where it is
// no stored policy.
func (r *Registry) changed(ctx context.Context, org *agentidp.Organization, id string, draft *agentidp.TrustPolicySpec) (p *agentidp.TrustPolicy, notes []string, err error) {
	p = &agentidp.TrustPolicy{OrganizationID: org.ID}
	if id != "" {
		if !agentidp.IsID(id) {
			return nil, nil, notFound("trust policy")
		}
		if p, err = r.DB.Policy(ctx, org.ID, id); err != nil {
			return nil, nil, public(err, "trust policy")
		}
	}
	if draft != nil {
		spec := *draft
		if _, err := r.validPolicy(ctx, org, &spec); err != nil {
			return nil, nil, err
		}
		if id != "" {
			if err := unchanged(&p.TrustPolicySpec, &spec); err != nil {
				return nil, nil, err
			}
		}
		p.TrustPolicySpec = spec
		if err := r.checkDraft(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case draft == nil && p.Mode == agentidp.ModeEnforce:
		notes = append(notes, "The policy is enforced already, so nothing changes by it. Give a draft of what it should become.")
	case p.Mode == agentidp.ModeShadow, draft == nil:
		notes = append(notes, "The policy's mode is "+string(p.Mode)+"; it is replayed as though it were enforce.")
		p.Mode = agentidp.ModeEnforce
	}
	return p, notes, nil
}

// past returns the exchanges to replay, as far back as claims are kept.
func (r *Registry) past(ctx context.Context, t *replay, since time.Time, limit int) ([]agentidp.Decision, error) {
	if r.KeepClaims == 0 {
		t.note("No claims are kept (AGENTIDP_KEEP_CLAIMS is 0), so there is nothing to replay.")
		return nil, nil
	}
	if kept := t.input.Now.Add(-r.KeepClaims); since.Before(kept) {
		since = kept
		t.note("Claims are kept for %d days, so exchanges before %s were not looked at.", int(r.KeepClaims/(24*time.Hour)), kept.Format(time.RFC3339))
	}
	p := t.after.Policy
	of := &store.Past{Provider: p.Provider, Repository: p.Repository, AgentID: p.AgentID, Since: since}
	if p.Pinned != nil {
		of.RepositoryID = p.Pinned.RepositoryID
	}
	past, more, err := r.DB.Recorded(ctx, t.org.ID, of, limit)
	if more {
		t.note("There may be older exchanges: only the newest were looked at, %d at most, from among the last %d of the repository or else of the agent.", limit, store.MaxPast)
	}
	return past, err
}

// newReplay makes ready what all exchanges are held against.
func (r *Registry) newReplay(ctx context.Context, org *agentidp.Organization, p *agentidp.TrustPolicy) (*replay, error) {
	provider, err := r.anyProvider(ctx, org, p.Provider)
	if err != nil {
		return nil, err
	}
	kind := r.Kinds[provider.Kind]
	t := &replay{
		Registry: r, org: org, provider: provider, kind: kind, after: policy.Compile(p, kind),
		input:    policy.Input{AgentID: p.AgentID, Organization: org, Now: r.Clock()},
		compiled: map[string]*policy.Compiled{}, sides: map[[2]string]*sides{}, unkept: map[string]bool{},
	}
	if !p.Bootstrap() {
		agent, err := r.DB.Agent(ctx, org.ID, p.AgentID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, public(err, "agent")
		}
		t.input.Agent = agent
		if agent != nil && agent.Status != agentidp.AgentActive {
			t.note("The agent is %s now, so nothing is granted on either side.", agent.Status)
		}
	}
	if p.ExpiresAt != nil && !p.ExpiresAt.After(t.input.Now) {
		t.note("The policy has expired, so it grants nothing.")
	}
	if unkept := t.unkeptOf(t.after); len(unkept) > 0 {
		t.note("The policy reads claims of the tokens that are not kept (%s), so it may accept less here than it would. To keep them from now on: AGENTIDP_RECORD_CLAIMS=%s",
			strings.Join(unkept, ", "), p.Provider+":"+strings.Join(unkept, ","+p.Provider+":"))
	}
	return t, nil
}

// unkeptOf returns the claims that a policy reads and that are not kept.
func (t *replay) unkeptOf(c *policy.Compiled) []string {
	return slices.DeleteFunc(c.Reads(t.kind), func(claim string) bool {
		return t.kind != nil && slices.Contains(t.kind.RecordedClaims, claim) || slices.Contains(t.RecordClaims[t.provider.Name], claim)
	})
}
