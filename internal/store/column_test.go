package store

import (
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// What is neither text nor a number in its place would be sent to PostgreSQL the slow way,
// or not at all.
func TestRowsHaveTheTypesOfTheirColumns(t *testing.T) {
	t.Parallel()
	g := &Grant{
		Organization: &agentidp.Organization{ID: "o"}, Provider: &agentidp.Provider{ID: "p"},
		Policy: &agentidp.TrustPolicy{ID: "q"}, Pin: agentidp.Pin{RepositoryID: "7"}, ReplayKey: "k",
		Token:    agentidp.AccessToken{Depth: 1},
		Decision: agentidp.Decision{At: time.Now(), Outcome: agentidp.OutcomeAllowed, Claims: []byte("{}")},
		Events:   []agentidp.Event{{Type: agentidp.EventTokenIssued, Data: map[string]string{"a": "b"}}},
		PinEvent: &agentidp.Event{Type: agentidp.EventRepositoryPinned},
	}
	m := newGrantMember(g)
	for in, row := range map[*inserter][]any{
		insertUsed: m.usedRow, insertPins: m.pinRow, insertDecisions: m.decision, insertClaims: m.claims,
		insertTokens: m.tokenRow, insertEvents: m.events[0],
	} {
		if len(row) != len(in.columns) {
			t.Errorf("%d values for the columns %v", len(row), in.columns)
			continue
		}
		for i, name := range in.columns {
			_, text := row[i].(string)
			_, number := row[i].(int64)
			if number != isNumber(name) || text == number {
				t.Errorf("%s is a %T", name, row[i])
			}
		}
	}
}
