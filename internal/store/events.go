package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

const eventColumns = "organization_id, id, at, type, actor, agent_id, policy_id, token_id, decision_id, request_id, data"

var insertEvents = newInserter("events", eventColumns, "")

func eventRow(orgID string, e *agentidp.Event) []any {
	return []any{orgID, e.ID, micros(e.At), string(e.Type), e.Actor, e.AgentID, e.PolicyID, e.TokenID, e.DecisionID, e.RequestID, labelsText(e.Data)}
}

// Events returns at most limit events whose id is greater than after, by id.
// Ids follow the clocks of the nodes that made them, so an event of another node
// may appear behind a reader that has gone on.
func (r reads) Events(ctx context.Context, orgID, after string, limit int) ([]agentidp.Event, error) {
	scan := func(rows *sql.Rows, e *agentidp.Event) error {
		return rows.Scan(&e.OrganizationID, &e.ID, microsTime{&e.At}, &e.Type, &e.Actor, &e.AgentID, &e.PolicyID, &e.TokenID, &e.DecisionID, &e.RequestID, jsonColumn{&e.Data})
	}
	return list(ctx, r, "list events", scan,
		"SELECT "+eventColumns+" FROM events WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3", orgID, after, limit)
}

// Append adds events to the audit log: they commit with the change that they
// record, or not at all.
func (t *Tx) Append(ctx context.Context, events ...agentidp.Event) error {
	rows := make([][]any, len(events))
	for i := range events {
		rows[i] = eventRow(events[i].OrganizationID, &events[i])
	}
	return insertEvents.each(t.dialect, rows, func(text string, args []any) error {
		_, err := t.exec(ctx, "append event", text, args...)
		return err
	})
}
