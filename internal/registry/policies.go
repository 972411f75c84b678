package registry

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// CreatePolicy registers a trust policy. Bad input is refused whole, with every
// bad field named; a weak policy is saved with warnings. Errors: Invalid, Denied
// (insufficient_scope), Conflict (policy_exists, policy_limit_reached, pin_conflict,
// agent_decommissioned), Unavailable.
func (r *Registry) CreatePolicy(ctx context.Context, org *agentidp.Organization, c *Caller, spec agentidp.TrustPolicySpec) (*agentidp.TrustPolicy, error) {
	kind, err := r.validPolicy(ctx, org, &spec)
	if err != nil {
		return nil, err
	}
	p := r.newPolicy(org, c, spec)
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		if err := r.holdProvider(ctx, tx, p); err != nil {
			return err
		}
		if err := checkPolicyIn(ctx, tx, org, c, p); err != nil {
			return err
		}
		if err := checkRoom(ctx, tx, p); err != nil {
			return err
		}
		if err := tx.CreatePolicy(ctx, p, policy.Fingerprint(&p.TrustPolicySpec)); err != nil {
			return policyExists(err)
		}
		return tx.Append(ctx, r.policyEvent(c, agentidp.EventPolicyCreated, p))
	})
	if err != nil {
		return nil, public(err, "trust policy")
	}
	p.PolicyAssessment = policy.Assess(p, kind, p.CreatedAt)
	return p, nil
}

// holdProvider keeps the provider that a policy names there until the policy is, or
// finds that it was deleted a moment ago.
func (r *Registry) holdProvider(ctx context.Context, tx *store.Tx, p *agentidp.TrustPolicy) error {
	if r.builtIn(p.Provider) != nil {
		return nil
	}
	err := tx.HoldProvider(ctx, p.OrganizationID, p.Provider)
	if errors.Is(err, store.ErrNotFound) {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "provider", Reason: "names a provider that was deleted just now; register it first (POST /api/v1/oidc/providers)"})
	}
	return err
}

func (r *Registry) newPolicy(org *agentidp.Organization, c *Caller, spec agentidp.TrustPolicySpec) *agentidp.TrustPolicy {
	now := r.Clock()
	return &agentidp.TrustPolicy{
		ID: agentidp.NewID(now), OrganizationID: org.ID, TrustPolicySpec: spec,
		CreatedBy: c.Subject, CreatedAt: now, UpdatedAt: now, Revision: 1,
	}
}

// ReplacePolicy replaces a trust policy whole: a field that is left out returns
// to its default. revision is what the caller last read. A replacement that
// changes nothing leaves the revision as it is.
func (r *Registry) ReplacePolicy(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64, spec agentidp.TrustPolicySpec) (*agentidp.TrustPolicy, error) {
	if !agentidp.IsID(id) {
		return nil, notFound("trust policy")
	}
	kind, err := r.validPolicy(ctx, org, &spec)
	if err != nil {
		return nil, err
	}
	var p *agentidp.TrustPolicy
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		var err error
		if p, err = tx.LockPolicy(ctx, org.ID, id); err != nil {
			return err
		}
		if p.Revision != revision {
			return store.ErrStale
		}
		if err := unchanged(&p.TrustPolicySpec, &spec); err != nil {
			return err
		}
		if reflect.DeepEqual(p.TrustPolicySpec, spec) {
			return nil
		}
		p.TrustPolicySpec, p.Revision, p.UpdatedAt = spec, p.Revision+1, r.Clock()
		if err := checkPolicyIn(ctx, tx, org, c, p); err != nil {
			return err
		}
		if err := tx.ReplacePolicy(ctx, p, policy.Fingerprint(&p.TrustPolicySpec)); err != nil {
			return policyExists(err)
		}
		return tx.Append(ctx, r.policyEvent(c, agentidp.EventPolicyReplaced, p))
	})
	if err != nil {
		return nil, public(err, "trust policy")
	}
	p.PolicyAssessment = policy.Assess(p, kind, r.Clock())
	return p, nil
}

// DeletePolicy ends a trust policy. No exchange that begins after it returned is
// granted by that policy. With revokeIssued, the tokens that it granted end in the
// same commit, and none is missed: whatever was about to be issued was issued before
// the lock was had, or never is. revision 0 deletes whatever the revision is.
func (r *Registry) DeletePolicy(ctx context.Context, org *agentidp.Organization, c *Caller, id string, revision int64, revokeIssued bool) error {
	if !agentidp.IsID(id) {
		return notFound("trust policy")
	}
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.LockPolicy(ctx, org.ID, id)
		if err != nil {
			return err
		}
		if revision != 0 && p.Revision != revision {
			return store.ErrStale
		}
		if err := tx.DeletePolicy(ctx, org.ID, id); err != nil {
			return err
		}
		if err := tx.Append(ctx, r.policyEvent(c, agentidp.EventPolicyDeleted, p)); err != nil || !revokeIssued {
			return err
		}
		return r.revokeIssued(ctx, tx, c, p)
	})
	return public(err, "trust policy")
}

// revokeIssued ends the tokens of a policy that the transaction has locked.
func (r *Registry) revokeIssued(ctx context.Context, tx *store.Tx, c *Caller, p *agentidp.TrustPolicy) error {
	var total int64
	for from := (store.TokenCursor{}); ; {
		n, next, err := tx.RevokeTokens(ctx, p.OrganizationID, &agentidp.TokenSelection{PolicyID: p.ID}, from, r.Clock())
		if err != nil {
			return err
		}
		total += n
		if from = next; from == (store.TokenCursor{}) {
			break
		}
	}
	if total == 0 {
		return nil
	}
	e := r.event(c, agentidp.EventTokensRevoked, map[string]string{"revoked": strconv.FormatInt(total, 10)})
	e.PolicyID, e.AgentID = p.ID, p.AgentID
	return tx.Append(ctx, e)
}

// Policy returns one trust policy with its warnings as of now.
func (r *Registry) Policy(ctx context.Context, org *agentidp.Organization, id string) (*agentidp.TrustPolicy, error) {
	if !agentidp.IsID(id) {
		return nil, notFound("trust policy")
	}
	p, err := r.DB.Policy(ctx, org.ID, id)
	if err != nil {
		return nil, public(err, "trust policy")
	}
	return p, r.warn(ctx, org, p)
}

// Policies returns a page of the trust policies that pass the filter, in the order
// of their creation, and the cursor of the next page, empty at the end. A policy
// that is there all the while is on one page of a walk, whatever is created or
// deleted meanwhile. Errors: Invalid, Unavailable.
func (r *Registry) Policies(ctx context.Context, org *agentidp.Organization, filter agentidp.PolicyFilter, page agentidp.Page) (policies []agentidp.TrustPolicy, next string, err error) {
	bad, err := r.CheckPolicyFilter(ctx, org, filter)
	if err != nil {
		return nil, "", err
	}
	if err := page.Check(bad); err != nil {
		return nil, "", err
	}
	policies, err = r.DB.Policies(ctx, org.ID, &filter, page.Cursor, page.Limit+1)
	if err != nil {
		return nil, "", public(err, "trust policy")
	}
	policies, next = agentidp.CutPage(page, policies, func(p *agentidp.TrustPolicy) string { return p.ID })
	for i := range policies {
		if err := ctx.Err(); err != nil { // to grade a page of them may take seconds
			return nil, "", err
		}
		if err := r.warn(ctx, org, &policies[i]); err != nil {
			return nil, "", err
		}
	}
	return policies, next, nil
}

func (r *Registry) warn(ctx context.Context, org *agentidp.Organization, p *agentidp.TrustPolicy) error {
	kind, err := r.kind(ctx, org.ID, p.Provider)
	if err != nil {
		return err
	}
	p.PolicyAssessment = policy.Assess(p, kind, r.Clock())
	return nil
}

// CheckPolicy returns what is wrong with a policy in itself: one error for every
// bad field.
func (r *Registry) CheckPolicy(ctx context.Context, org *agentidp.Organization, spec agentidp.TrustPolicySpec) ([]agentidp.FieldError, error) {
	kind, err := r.kind(ctx, org.ID, spec.Provider)
	if err != nil {
		return nil, err
	}
	return policy.Validate(&spec, kind, r.Clock()), nil
}

// validPolicy fills defaults and refuses what is wrong in itself.
func (r *Registry) validPolicy(ctx context.Context, org *agentidp.Organization, spec *agentidp.TrustPolicySpec) (*agentidp.ProviderKind, error) {
	kind, err := r.kind(ctx, org.ID, spec.Provider)
	if err != nil {
		return nil, err
	}
	if bad := policy.Validate(spec, kind, r.Clock()); len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	*spec = policy.Normalize(*spec, kind)
	return kind, nil
}

func policyExists(err error) error {
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	return agentidp.NewError(agentidp.Conflict, agentidp.CodePolicyExists,
		"A trust policy with the same effect exists already; look for it in the list of policies.")
}

func (r *Registry) policyEvent(c *Caller, typ agentidp.EventType, p *agentidp.TrustPolicy) agentidp.Event {
	e := r.event(c, typ, map[string]string{
		"provider": p.Provider, agentidp.DataRepository: p.Repository, "branch": p.Branch, "tag": p.Tag,
		"mode": string(p.Mode), "revision": strconv.FormatInt(p.Revision, 10),
	})
	if len(p.Claims) > 0 {
		e.Data["claims"] = strings.Join(slices.Sorted(maps.Keys(p.Claims)), " ")
	}
	for name, value := range map[string]string{"events": strings.Join(p.Events, " "), "environment": p.Environment, "workflow": p.Workflow, "condition": p.Condition, "accept_risk": p.AcceptRisk} {
		if value != "" {
			e.Data[name] = value
		}
	}
	e.PolicyID, e.AgentID = p.ID, p.AgentID
	return e
}
