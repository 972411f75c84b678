package client

import (
	"context"
	"net/http"

	"github.com/sentryagent/agentidp"
)

// ListRefusals returns what the node that answers counted of subject tokens that were
// refused without a record, and a sample of the latest.
func (c *Client) ListRefusals(ctx context.Context) (*agentidp.Refusals, error) {
	var out agentidp.Refusals
	err := c.do(ctx, &call{verb: "list refusals", method: http.MethodGet, path: "/oidc/refusals", out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}
