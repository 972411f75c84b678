package store

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// query is a SELECT whose conditions depend on what is asked for. Values are
// parameters; only the texts of this package become SQL.
//
// A list is read from the index of one column, the lead, and each engine has to be kept
// from reading more. It takes two ways, because each fails where the other is needed:
//
//   - newestWith and newestFirst, for what was recorded: ids are bounded from both
//     sides, and given lead = x as well SQLite reads the primary key, and all that the
//     organization did in between. So the bounds are said of pairs, (lead, id).
//   - oldestWith and oldestFirst, for what is kept: of pairs PostgreSQL expects all that
//     lies between their first halves, many times what there is, and sorts it or reads
//     another index. So lead = x is said plainly, which SQLite too follows where ids
//     have one bound, if no other column fits an index.
//
// The tests of the plans fail for either way in the other's place.
type query struct {
	text string
	args []any
	lead string // the column whose index is read; "": that of organization_id
	at   string // the parameter that lead equals
	id   string // what the oldest are first by; "": id
}

// newQuery starts with the rows of one organization.
func newQuery(selection, orgID string) *query {
	return &query{text: selection + " WHERE organization_id = $1", args: []any{orgID}}
}

// beside starts another SELECT of the same organization, to become a part of this
// one's text: it numbers its values behind those of q.
func (q *query) beside(selection string) *query {
	return &query{text: selection + " WHERE organization_id = $1", args: q.args}
}

// param adds a value and returns its place in the text.
func (q *query) param(value any) string {
	q.args = append(q.args, value)
	return "$" + strconv.Itoa(len(q.args))
}

// and adds a condition; each %s in it is the place of a value.
func (q *query) and(condition string, values ...any) {
	places := make([]any, len(values))
	for i, v := range values {
		places[i] = q.param(v)
	}
	q.text += " AND " + fmt.Sprintf(condition, places...)
}

// newestWith keeps the rows whose column is value, unless that is empty. There is an
// index on organization_id, column, id: of several, the one of the first call is
// read, so that should leave the fewest.
func (q *query) newestWith(column, value string) {
	switch {
	case value == "":
	case q.lead == "":
		q.lead, q.at = column, q.param(value)
	default:
		q.and(column+" = %s", value)
	}
}

// newestWithSome is newestWith for an index that leaves out the empty value: what makes
// it partial is said as the index says it, or it is not used.
func (q *query) newestWithSome(column, value string) {
	q.newestWith(column, value)
	if value != "" {
		q.and(column + " <> ''")
	}
}

// newestFirst ends the query: at most limit rows of since or later and before
// until (zero: no bound), whose id is less than before (empty: all), in descending
// order of ids.
//
// Ids begin with the time of their making, so they give the range that is read, to
// the millisecond, and the column at decides within it. An id is made before its
// row is committed, and by the clock of its node: a row may still appear, for a
// moment, above what a reader has passed.
func (q *query) newestFirst(since, until time.Time, before string, limit int) {
	from, to := "", "g" // around all ids
	if before != "" {
		to = before
	}
	if !since.IsZero() {
		q.and("at >= %s", micros(since))
		from = agentidp.FirstID(since)
	}
	if !until.IsZero() {
		q.and("at < %s", micros(until))
		to = min(to, agentidp.FirstID(until.Add(time.Millisecond)))
	}
	if q.lead == "" {
		q.and("id >= %s AND id < %s", from, to)
		q.text += " ORDER BY id DESC LIMIT " + q.param(limit)
		return
	}
	pair := "(" + q.lead + ", id)"
	q.and(pair+" >= ("+q.at+", %s) AND "+pair+" < ("+q.at+", %s)", from, to)
	q.text += " ORDER BY " + q.lead + " DESC, id DESC LIMIT " + q.param(limit)
}

// oldestWith is newestWith for lists that begin with the oldest.
func (q *query) oldestWith(column, value string) {
	if value != "" {
		q.oldestExactly(column, value)
	}
}

// oldestExactly is oldestWith where the empty value is one like any other. All columns
// but the first are dressed up, so that no index fits them: SQLite has no statistics
// and would read any that does.
func (q *query) oldestExactly(column, value string) {
	if q.lead == "" {
		q.lead = column
		q.and(column+" = %s", value)
		return
	}
	q.and(column+" || '' = %s", value)
}

// expiring keeps the rows that expire before an instant. As lead it is the only one that
// is a range: what lies in it is read and sorted. So the id is dressed up: in its order
// both engines would walk all rows that there are.
func (q *query) expiring(before time.Time) {
	if q.lead == "" {
		q.lead, q.id = "expires_at", "id || ''"
		q.and("expires_at <> 0 AND expires_at < %s", micros(before)) // as the index says it
		return
	}
	q.and("expires_at + 0 <> 0 AND expires_at + 0 < %s", micros(before))
}

// oldestFirst ends the query: at most limit rows whose id is greater than after
// (empty: all), in ascending order of ids. A row that is there from the first page
// to the last is met once, whatever is added or removed meanwhile; one whose commit
// is under way may be passed by.
func (q *query) oldestFirst(after string, limit int) {
	id := cmp.Or(q.id, "id")
	q.and(id+" > %s", after)
	q.text += " ORDER BY " + id + " LIMIT " + q.param(limit)
}
