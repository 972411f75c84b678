package store

import (
	"context"
	"database/sql"
	"sync/atomic"

	agentidp "github.com/sentryagent/agentidp"
)

const eventColumns = "organization_id, id, at, type, actor, agent_id, policy_id, token_id, decision_id, request_id, data"

var insertEvents = newInserter("events", eventColumns+", repository_folded, code", "")

// eventType is where a row has its type.
const eventType = 3

func eventRow(orgID string, e *agentidp.Event) []any {
	return []any{orgID, e.ID, micros(e.At), string(e.Type), e.Actor, e.AgentID, e.PolicyID, e.TokenID, e.DecisionID, e.RequestID, labelsText(e.Data),
		agentidp.FoldRepository(e.Data[agentidp.DataRepository]), e.Data[agentidp.DataCode]}
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

// eventsQuery finds grants by their decisions, whose id their events have: a grant is
// what most events are, and so it writes no index of them. All other events have
// indexes of their own.
func eventsQuery(orgID string, f *agentidp.EventFilter, before string, limit int) *query {
	q := newQuery("SELECT "+eventColumns+" FROM events", orgID)
	issued := f.Type == agentidp.EventTokenIssued
	narrowed := f.AgentID != "" || f.PolicyID != "" || f.Repository != ""
	switch {
	case f.Code != "" || f.Type != "" && !issued: // no grant can be meant
		q.otherEvents(f, before, limit)
	case !narrowed:
		if issued {
			q.and("type = 'token_issued'")
		}
		q.newestFirst(f.Since, f.Until, before, limit)
	case issued:
		q.grantEvents(f, before, limit)
	default:
		q.otherEvents(f, before, limit)
		grants := q.beside("SELECT " + eventColumns + " FROM events")
		grants.grantEvents(f, before, limit)
		q.args = grants.args
		q.text = "SELECT * FROM (" + q.text + ") AS others UNION ALL SELECT * FROM (" + grants.text + ") AS grants ORDER BY id DESC LIMIT " + q.param(limit)
	}
	return q
}

// otherEvents ends a query of events that are no grants.
func (q *query) otherEvents(f *agentidp.EventFilter, before string, limit int) {
	q.newestWith("policy_id", f.PolicyID)
	q.newestWith("agent_id", f.AgentID)
	q.newestWithSome("repository_folded", agentidp.FoldRepository(f.Repository))
	q.newestWithSome("code", f.Code)
	q.newestWith("type", string(f.Type))
	q.and("type <> 'token_issued'")
	q.newestFirst(f.Since, f.Until, before, limit)
}

// grantEvents ends a query of the events of the grants that pass the filter.
func (q *query) grantEvents(f *agentidp.EventFilter, before string, limit int) {
	grants := q.beside("SELECT id FROM decisions")
	grants.decisions(&agentidp.DecisionFilter{
		PolicyID: f.PolicyID, AgentID: f.AgentID, Repository: f.Repository, Outcome: agentidp.OutcomeAllowed, Since: f.Since, Until: f.Until,
	}, before, limit)
	q.args = grants.args
	q.text += " AND id IN (" + grants.text + ") ORDER BY id DESC"
}

// Append adds events to the audit log: they commit with the change that they
// record, or not at all.
func (t *Tx) Append(ctx context.Context, events ...agentidp.Event) error {
	rows := make([][]any, len(events))
	for i := range events {
		rows[i] = eventRow(events[i].OrganizationID, &events[i])
	}
	t.events = append(t.events, rows...)
	err := insertEvents.each(t.dialect, rows, func(text string, args []any) error {
		_, err := t.exec(ctx, "append event", text, args...)
		return err
	})
	if err != nil {
		return err
	}
	return t.tell(ctx, events)
}

// written counts the events that were committed, by type. Which types there are never
// changes, so counting takes no lock.
type written map[agentidp.EventType]*atomic.Int64

func newWritten() written {
	w := make(written, len(agentidp.EventTypes))
	for _, typ := range agentidp.EventTypes {
		w[typ] = &atomic.Int64{}
	}
	return w
}

func (w written) add(rows [][]any) {
	for _, row := range rows {
		if n := w[agentidp.EventType(row[eventType].(string))]; n != nil {
			n.Add(1)
		}
	}
}

func (w written) counts() map[agentidp.EventType]int64 {
	counts := make(map[agentidp.EventType]int64, len(w))
	for typ, n := range w {
		counts[typ] = n.Load()
	}
	return counts
}
