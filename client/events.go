package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/sentryagent/agentidp"
)

const eventsPath = "/audit/events"

// ListEvents returns one page of the audit events that pass the filter, the newest
// first.
func (c *Client) ListEvents(ctx context.Context, filter agentidp.EventFilter, opts ListOptions) (*Page[agentidp.Event], error) {
	q := opts.query()
	setText(q, "agentId", filter.AgentID)
	setText(q, "policyId", filter.PolicyID)
	setText(q, "repository", filter.Repository)
	setText(q, "code", filter.Code)
	setText(q, "type", filter.Type)
	setTime(q, "since", filter.Since)
	setTime(q, "until", filter.Until)
	var out Page[agentidp.Event]
	err := c.do(ctx, &call{verb: "list events", method: http.MethodGet, path: eventsPath, query: q, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllEvents goes through all audit events that pass the filter, in the order of
// ListEvents, and reads pages as they are needed. An error ends it.
func (c *Client) AllEvents(ctx context.Context, filter agentidp.EventFilter) iter.Seq2[*agentidp.Event, error] {
	return all(func(opts ListOptions) (*Page[agentidp.Event], error) { return c.ListEvents(ctx, filter, opts) })
}
