package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	agentidp "github.com/sentryagent/agentidp"
)

const agentRows = `
	SELECT organization_id, id, name, description, agent_type, version, capabilities, owner, deployment_env, labels, status,
		registered_by_subject, registered_by_policy_id, registered_by_provider, registered_by_repository,
		registered_by_repository_id, registered_by_ref, registered_by_run_id, registered_by_workload_subject, registered_by_issuer, audiences, may_delegate_to,
		created_at, updated_at, revision
	FROM agents`

const agentQuery = agentRows + " WHERE organization_id = $1 AND "

// Agent returns one agent, or ErrNotFound.
func (r reads) Agent(ctx context.Context, orgID, id string) (*agentidp.Agent, error) {
	return one(ctx, r, "read agent", scanAgent, agentQuery+"id = $2", orgID, id)
}

// AgentByName returns the agent that holds a name, whatever its case or status.
func (r reads) AgentByName(ctx context.Context, orgID, name string) (*agentidp.Agent, error) {
	return one(ctx, r, "read agent by name", scanAgent, agentQuery+"name_folded = $2", orgID, agentidp.FoldAgentName(name))
}

// Agents returns at most limit agents that pass the filter and whose id is greater
// than after (empty: all), by id.
func (r reads) Agents(ctx context.Context, orgID string, f *agentidp.AgentFilter, after string, limit int) ([]agentidp.Agent, error) {
	q := agentsQuery(orgID, f, after, limit)
	return list(ctx, r.unprepared(), "list agents", scanAgent, q.text, q.args...)
}

func agentsQuery(orgID string, f *agentidp.AgentFilter, after string, limit int) *query {
	q := newQuery(agentRows, orgID)
	q.oldestWith("name_folded", agentidp.FoldAgentName(f.Name))
	q.oldestWith("registered_by_policy_id", f.RegisteredByPolicyID)
	q.oldestWith("status", string(f.Status))
	q.oldestFirst(after, limit)
	return q
}

// CountLivingAgents counts the agents that a bootstrap policy registered and
// that are not decommissioned. It is exact while LockPolicy holds the policy.
func (r reads) CountLivingAgents(ctx context.Context, orgID, policyID string) (int, error) {
	n, err := one(ctx, r, "count agents", scanValue[int],
		"SELECT count(*) FROM agents WHERE organization_id = $1 AND registered_by_policy_id = $2 AND status <> $3",
		orgID, policyID, string(agentidp.AgentDecommissioned))
	if err != nil {
		return 0, err
	}
	return *n, nil
}

func scanAgent(rows *sql.Rows, a *agentidp.Agent) error {
	by := &a.RegisteredBy
	return rows.Scan(&a.OrganizationID, &a.AgentID, &a.Name, &a.Description, &a.AgentType, &a.Version, jsonColumn{&a.Capabilities},
		&a.Owner, &a.DeploymentEnv, jsonColumn{&a.Labels}, &a.Status,
		&by.Subject, &by.PolicyID, &by.Provider, &by.Repository, &by.RepositoryID, &by.Ref, &by.RunID, &by.WorkloadSubject, &by.Issuer, jsonColumn{&a.Audiences}, jsonColumn{&a.MayDelegateTo},
		microsTime{&a.CreatedAt}, microsTime{&a.UpdatedAt}, &a.Revision)
}

// CreateAgent inserts a; ErrExists if its name is taken in the organization,
// whatever the case.
func (t *Tx) CreateAgent(ctx context.Context, a *agentidp.Agent) error {
	by := &a.RegisteredBy
	return t.insert(ctx, "create agent", `
		INSERT INTO agents (organization_id, id, name, name_folded, description, agent_type, version, capabilities, owner,
			deployment_env, labels, status, registered_by_subject, registered_by_policy_id, registered_by_provider,
			registered_by_repository, registered_by_repository_id, registered_by_ref, registered_by_run_id,
			registered_by_workload_subject, registered_by_issuer, audiences, may_delegate_to, created_at, updated_at, revision)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
		ON CONFLICT DO NOTHING`,
		a.OrganizationID, a.AgentID, a.Name, agentidp.FoldAgentName(a.Name), a.Description, string(a.AgentType), a.Version, listText(a.Capabilities), a.Owner,
		string(a.DeploymentEnv), labelsText(a.Labels), string(a.Status), by.Subject, by.PolicyID, by.Provider,
		by.Repository, by.RepositoryID, by.Ref, by.RunID, by.WorkloadSubject, by.Issuer,
		listText(a.Audiences), listText(a.MayDelegateTo), micros(a.CreatedAt), micros(a.UpdatedAt), a.Revision)
}

// LockAgent returns the agent and keeps it as it is until the transaction ends:
// nobody else changes it, and nothing is issued for it.
func (t *Tx) LockAgent(ctx context.Context, orgID, id string) (*agentidp.Agent, error) {
	if err := t.lock(ctx, lockAgents, orgID, id); err != nil {
		return nil, err
	}
	return t.Agent(ctx, orgID, id)
}

// UpdateAgent writes what may change of a, with its new revision. ErrStale: the
// stored revision is not a.Revision−1, or the agent is gone. ErrExists: another
// agent has the name. Once the transaction is committed, an agent that is no
// longer active gets nothing more, from any node.
func (t *Tx) UpdateAgent(ctx context.Context, a *agentidp.Agent) error {
	if err := t.lock(ctx, lockAgents, a.OrganizationID, a.AgentID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "update agent", `
		UPDATE agents SET name = $3, name_folded = $4, description = $5, agent_type = $6, version = $7, capabilities = $8, owner = $9,
			deployment_env = $10, labels = $11, status = $12, audiences = $13, may_delegate_to = $14, updated_at = $15, revision = $16
		WHERE organization_id = $1 AND id = $2 AND revision = $17`,
		a.OrganizationID, a.AgentID, a.Name, agentidp.FoldAgentName(a.Name), a.Description, string(a.AgentType), a.Version, listText(a.Capabilities), a.Owner,
		string(a.DeploymentEnv), labelsText(a.Labels), string(a.Status),
		listText(a.Audiences), listText(a.MayDelegateTo), micros(a.UpdatedAt), a.Revision, a.Revision-1)
}

func labelsText(labels map[string]string) string {
	if len(labels) == 0 {
		return "{}"
	}
	return jsonText(labels)
}

// staleIfNotFound turns "there is no such row" into "it is not as it was seen",
// for methods that were given a row which was there.
func staleIfNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the row is gone: %w", ErrStale)
	}
	return err
}
