package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sentryagent/agentidp"
)

const policiesPath = "/oidc/trust-policies"

// CreateTrustPolicy creates a trust policy. The same effective policy twice is
// agentidp.CodePolicyExists.
func (c *Client) CreateTrustPolicy(ctx context.Context, spec agentidp.TrustPolicySpec) (*agentidp.TrustPolicy, error) {
	var out agentidp.TrustPolicy
	err := c.do(ctx, &call{verb: "create the trust policy", method: http.MethodPost, path: policiesPath, body: spec, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// GetTrustPolicy returns one trust policy, or agentidp.CodeNotFound.
func (c *Client) GetTrustPolicy(ctx context.Context, id string) (*agentidp.TrustPolicy, error) {
	if err := checkID("trust policy", id); err != nil {
		return nil, err
	}
	var out agentidp.TrustPolicy
	err := c.do(ctx, &call{verb: "get the trust policy", method: http.MethodGet, path: policiesPath + "/" + id, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// ListTrustPolicies returns one page of the trust policies that pass the filter, in
// the order of their creation.
func (c *Client) ListTrustPolicies(ctx context.Context, filter agentidp.PolicyFilter, opts ListOptions) (*Page[agentidp.TrustPolicy], error) {
	q := opts.query()
	setText(q, "provider", filter.Provider)
	setText(q, "repository", filter.Repository)
	setText(q, "agentId", filter.AgentID)
	setText(q, "grants", filter.Grants)
	setText(q, "mode", filter.Mode)
	if filter.NeverMatched {
		q.Set("neverMatched", "true")
	}
	setTime(q, "expiresBefore", filter.ExpiresBefore)
	var out Page[agentidp.TrustPolicy]
	err := c.do(ctx, &call{verb: "list trust policies", method: http.MethodGet, path: policiesPath, query: q, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllTrustPolicies goes through all trust policies that pass the filter, in the order of
// ListTrustPolicies, and reads pages as they are needed. An error ends it.
func (c *Client) AllTrustPolicies(ctx context.Context, filter agentidp.PolicyFilter) iter.Seq2[*agentidp.TrustPolicy, error] {
	return all(func(opts ListOptions) (*Page[agentidp.TrustPolicy], error) {
		return c.ListTrustPolicies(ctx, filter, opts)
	})
}

// LintTrustPolicy asks what a policy would be if it were created now, and how strong; or
// what it would be refused for, except what the caller may give, and a policy with the
// same effect. Nothing is saved.
func (c *Client) LintTrustPolicy(ctx context.Context, spec agentidp.TrustPolicySpec) (*agentidp.PolicyDraft, error) {
	var out agentidp.PolicyDraft
	err := c.do(ctx, &call{verb: "look at the trust policy", method: http.MethodPost, path: policiesPath + "/lint", body: spec, out: &out, readOnly: true})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// ReplaceTrustPolicy replaces a policy as a whole: what spec leaves out goes back
// to its default. revision is that of the policy as the caller knows it; if
// someone changed it since, the answer is agentidp.CodePreconditionFailed.
func (c *Client) ReplaceTrustPolicy(ctx context.Context, id string, revision int64, spec agentidp.TrustPolicySpec) (*agentidp.TrustPolicy, error) {
	if err := checkID("trust policy", id); err != nil {
		return nil, err
	}
	var out agentidp.TrustPolicy
	err := c.do(ctx, &call{
		verb: "replace the trust policy", method: http.MethodPut, path: policiesPath + "/" + id,
		ifMatch: `"` + strconv.FormatInt(revision, 10) + `"`, body: spec, out: &out,
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// ChangeTrustPolicy reads a policy, lets change change what it says, and replaces it. If
// someone else changed it in between, the answer is agentidp.CodePreconditionFailed, and
// nothing is changed. So it is when the server's policy says what this package does not
// know: it would be lost, and a policy without one of its conditions grants more.
func (c *Client) ChangeTrustPolicy(ctx context.Context, id string, change func(*agentidp.TrustPolicySpec) error) (*agentidp.TrustPolicy, error) {
	if err := checkID("trust policy", id); err != nil {
		return nil, err
	}
	var doc json.RawMessage
	err := c.do(ctx, &call{verb: "get the trust policy", method: http.MethodGet, path: policiesPath + "/" + id, out: &doc})
	if err != nil {
		return nil, err
	}
	var policy agentidp.TrustPolicy
	if err := decodeKnown(doc, &policy, "trust policy"); err != nil {
		return nil, err
	}
	if err := change(&policy.TrustPolicySpec); err != nil {
		return nil, err
	}
	return c.ReplaceTrustPolicy(ctx, id, policy.Revision, policy.TrustPolicySpec)
}

// Repin makes the server forget the identity to which the policy's repository is
// pinned, for all policies of that repository name, and returns the policy. The
// next exchange that one of them grants pins anew, whichever repository of that
// name it comes from. Where nothing is pinned, it changes nothing.
func (c *Client) Repin(ctx context.Context, id string) (*agentidp.TrustPolicy, error) {
	if err := checkID("trust policy", id); err != nil {
		return nil, err
	}
	var out agentidp.TrustPolicy
	err := c.do(ctx, &call{verb: "repin the repository of the trust policy", method: http.MethodPost, path: policiesPath + "/" + id + "/repin", out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// DeleteOptions say what else a deletion does.
type DeleteOptions struct {
	RevokeIssued bool  // end the tokens that the policy granted, in the same commit
	Revision     int64 // delete this one alone, or agentidp.CodePreconditionFailed; 0: whatever it is
}

// DeleteTrustPolicy deletes a policy. Once it returns, no exchange is granted by
// it; tokens that it granted before live to their end, unless opts say otherwise.
func (c *Client) DeleteTrustPolicy(ctx context.Context, id string, opts DeleteOptions) error {
	if err := checkID("trust policy", id); err != nil {
		return err
	}
	k := call{verb: "delete the trust policy", method: http.MethodDelete, path: policiesPath + "/" + id}
	if opts.RevokeIssued {
		k.query = url.Values{"revokeIssued": {"true"}}
	}
	if opts.Revision != 0 {
		k.ifMatch = `"` + strconv.FormatInt(opts.Revision, 10) + `"`
	}
	return c.do(ctx, &k)
}

// ExplainExchange asks how an exchange would be decided now. Nothing is issued, recorded
// or used up: a token that was explained can still be exchanged.
func (c *Client) ExplainExchange(ctx context.Context, req agentidp.ExplainRequest) (*agentidp.Explanation, error) {
	var out agentidp.Explanation
	err := c.do(ctx, &call{
		verb: "explain the exchange", method: http.MethodPost, path: "/oidc/explain",
		body: req, out: &out, subject: req.Token, beside: true, readOnly: true,
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// BacktestTrustPolicy asks what a change of a policy would have done to the exchanges of
// the past whose claims are kept: with the request's draft in its place, or without one as
// though the policy were enforced. Nothing is changed.
func (c *Client) BacktestTrustPolicy(ctx context.Context, id string, req agentidp.BacktestRequest) (*agentidp.Backtest, error) {
	if err := checkID("trust policy", id); err != nil {
		return nil, err
	}
	return c.backtest(ctx, "/"+id, req)
}

// BacktestTrustPolicyDraft is BacktestTrustPolicy for a policy that is not there yet: the
// request's draft.
func (c *Client) BacktestTrustPolicyDraft(ctx context.Context, req agentidp.BacktestRequest) (*agentidp.Backtest, error) {
	return c.backtest(ctx, "", req)
}

func (c *Client) backtest(ctx context.Context, path string, req agentidp.BacktestRequest) (*agentidp.Backtest, error) {
	var out agentidp.Backtest
	err := c.do(ctx, &call{verb: "back-test the trust policy", method: http.MethodPost, path: policiesPath + path + "/backtest", body: req, out: &out, readOnly: true})
	if err != nil {
		return nil, err
	}
	return &out, nil
}
