package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/sentryagent/agentidp"
)

const decisionsPath = "/oidc/decisions"

// ListDecisions returns one page of the decisions that pass the filter, the newest
// first and without their checks.
func (c *Client) ListDecisions(ctx context.Context, filter agentidp.DecisionFilter, opts ListOptions) (*Page[agentidp.Decision], error) {
	q := opts.query()
	setText(q, "repository", filter.Repository)
	setText(q, "repositoryId", filter.RepositoryID)
	setText(q, "agentId", filter.AgentID)
	setText(q, "policyId", filter.PolicyID)
	setText(q, "code", filter.Code)
	setText(q, "outcome", filter.Outcome)
	setTime(q, "since", filter.Since)
	setTime(q, "until", filter.Until)
	var out Page[agentidp.Decision]
	err := c.do(ctx, &call{verb: "list decisions", method: http.MethodGet, path: decisionsPath, query: q, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllDecisions goes through all decisions that pass the filter, in the order of
// ListDecisions, and reads pages as they are needed. An error ends it.
func (c *Client) AllDecisions(ctx context.Context, filter agentidp.DecisionFilter) iter.Seq2[*agentidp.Decision, error] {
	return all(func(opts ListOptions) (*Page[agentidp.Decision], error) { return c.ListDecisions(ctx, filter, opts) })
}

// GetDecision returns one decision with its checks, or agentidp.CodeNotFound.
func (c *Client) GetDecision(ctx context.Context, id string) (*agentidp.Decision, error) {
	if err := checkID("decision", id); err != nil {
		return nil, err
	}
	var out agentidp.Decision
	err := c.do(ctx, &call{verb: "get the decision", method: http.MethodGet, path: decisionsPath + "/" + id, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}
