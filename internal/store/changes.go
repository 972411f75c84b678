package store

import (
	"context"
	"database/sql"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// What nodes remember is compared with the database wherever something rests on it
// (Issue, and the reads before a refusal). Changes only tells them earlier, so that they
// keep nothing that is gone and need not find out at the cost of an exchange's second
// round. It promises little: a change is told some time after its commit, perhaps more
// than once and, where the clocks of nodes differ by more than is looked back, never.

// changing are the events of what nodes may remember otherwise. What was just created nobody
// remembers, but of a repository that it has no such policy.
var changing = map[agentidp.EventType]bool{
	agentidp.EventPolicyCreated: true, agentidp.EventPolicyReplaced: true, agentidp.EventPolicyDeleted: true, agentidp.EventRepositoryRepinned: true,
	agentidp.EventProviderReplaced: true, agentidp.EventProviderDeleted: true,
	agentidp.EventAgentUpdated: true, agentidp.EventAgentSuspended: true, agentidp.EventAgentReactivated: true, agentidp.EventAgentDecommissioned: true,
	agentidp.EventCredentialRotated: true, agentidp.EventCredentialRevoked: true,
	agentidp.EventSigningKeyCreated: true, agentidp.EventSigningKeyCompromised: true,
	agentidp.EventOrganizationClosed: true, agentidp.EventDatabaseRestored: true,
}

// tell adds to the changes what the events say of one.
func (t *Tx) tell(ctx context.Context, events []agentidp.Event) error {
	for i := range events {
		e := &events[i]
		if !changing[e.Type] {
			continue
		}
		_, err := t.exec(ctx, "tell of a change", `
			INSERT INTO changes (id, organization_id, type, agent_id, policy_id, data) VALUES ($1, $2, $3, $4, $5, $6)`,
			e.ID, e.OrganizationID, string(e.Type), e.AgentID, e.PolicyID, labelsText(e.Data))
		if err != nil {
			return err
		}
		t.told = true
	}
	return nil
}

// Changes returns at most limit changes whose ids are of since or later, by any node and
// in any organization, the oldest first. An id is made before its commit, by the clock of
// its node: whoever follows looks back a little each time.
func (r reads) Changes(ctx context.Context, since time.Time, limit int) ([]agentidp.Event, error) {
	scan := func(rows *sql.Rows, e *agentidp.Event) error {
		return rows.Scan(&e.ID, &e.OrganizationID, &e.Type, &e.AgentID, &e.PolicyID, jsonColumn{&e.Data})
	}
	return list(ctx, r, "read changes", scan,
		"SELECT id, organization_id, type, agent_id, policy_id, data FROM changes WHERE id >= $1 ORDER BY id LIMIT $2", agentidp.FirstID(since), limit)
}

// ForgetChanges removes what was changed before an instant, of all organizations.
func (db *DB) ForgetChanges(ctx context.Context, before time.Time) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "forget changes", "DELETE FROM changes WHERE id < $1", agentidp.FirstID(before))
		return err
	})
}

// Changed has a value when this node has committed a change and not called Notify since.
func (db *DB) Changed() <-chan struct{} { return db.changed }

// signal puts a value into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
