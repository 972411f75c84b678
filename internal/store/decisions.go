package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

const decisionColumns = "organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id, ref, event, run_id, agent_id, policy_id, token_id, checks"

var insertDecisions = newInserter("decisions", decisionColumns, "")

func decisionRow(orgID string, d *agentidp.Decision) []any {
	checks := "[]"
	if len(d.Checks) > 0 {
		checks = jsonText(d.Checks)
	}
	return []any{orgID, d.ID, d.RequestID, micros(d.At), string(d.Outcome), d.Code, d.Reason, d.Provider, d.Repository, d.RepositoryID,
		d.RepositoryOwnerID, d.Ref, d.Event, d.RunID, d.AgentID, d.PolicyID, d.TokenID, checks}
}

// Decision returns the record of one exchange, or ErrNotFound.
func (r reads) Decision(ctx context.Context, orgID, id string) (*agentidp.Decision, error) {
	scan := func(rows *sql.Rows, d *agentidp.Decision) error {
		d.Checks = []agentidp.Check{}
		return rows.Scan(&d.OrganizationID, &d.ID, &d.RequestID, microsTime{&d.At}, &d.Outcome, &d.Code, &d.Reason, &d.Provider, &d.Repository, &d.RepositoryID,
			&d.RepositoryOwnerID, &d.Ref, &d.Event, &d.RunID, &d.AgentID, &d.PolicyID, &d.TokenID, jsonColumn{&d.Checks})
	}
	return one(ctx, r, "read decision", scan,
		"SELECT "+decisionColumns+" FROM decisions WHERE organization_id = $1 AND id = $2", orgID, id)
}
