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

// Events returns at most limit events that pass the filter and whose id is less
// than before (empty: all), the newest first.
func (r reads) Events(ctx context.Context, orgID string, f *agentidp.EventFilter, before string, limit int) ([]agentidp.Event, error) {
	scan := func(rows *sql.Rows, e *agentidp.Event) error {
		return rows.Scan(&e.OrganizationID, &e.ID, microsTime{&e.At}, &e.Type, &e.Actor, &e.AgentID, &e.PolicyID, &e.TokenID, &e.DecisionID, &e.RequestID, jsonColumn{&e.Data})
	}
	q := eventsQuery(orgID, f, before, limit)
	return list(ctx, r.unprepared(), "list events", scan, q.text, q.args...)
}

func eventsQuery(orgID string, f *agentidp.EventFilter, before string, limit int) *query {
	q := newQuery("SELECT "+eventColumns+" FROM events", orgID)
	q.indexed("policy_id", f.PolicyID)
	q.indexed("agent_id", f.AgentID)
	if f.Type == agentidp.EventTokenIssued { // that is what most are
		q.and("type = 'token_issued'")
	} else if f.Type != "" {
		q.indexed("type", string(f.Type))
		q.and("type <> 'token_issued'") // as the index says it, or it is not used
	}
	q.newestFirst(f.Since, f.Until, before, limit)
	return q
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
