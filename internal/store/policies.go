package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// policyColumns are those of oidc_trust_policies p, then of its pin n.
const policyColumns = `p.organization_id, p.id, p.provider, p.repository, p.branch, p.tag, p.agent_id, p.repository_id,
	p.repository_owner_id, p.events, p.environment, p.workflow, p.claims, p.condition, p.accept_risk, p.scopes, p.audiences, p.token_ttl_seconds, p.max_agents, p.agent_name_pattern,
	p.trust_registered_agents, p.mode, p.expires_at, p.description, p.created_by, p.created_at, p.updated_at, p.revision,
	coalesce(n.repository_id, ''), coalesce(n.repository_owner_id, ''), coalesce(n.pinned_at, 0)`

// policiesFrom reads whole policies, with their pins and counters, from rows of
// oidc_trust_policies.
func policiesFrom(rows string) string {
	return `
	SELECT ` + policyColumns + `, coalesce(u.last_matched_at, 0), coalesce(u.match_count, 0)
	FROM ` + rows + ` p
	LEFT JOIN pins n ON n.organization_id = p.organization_id AND n.provider = p.provider AND n.repository_folded = p.repository_folded
	LEFT JOIN policy_usage u ON u.organization_id = p.organization_id AND u.policy_id = p.id`
}

var policyQuery = policiesFrom("oidc_trust_policies") + " WHERE p.organization_id = $1 AND p.id = $2"

// candidatesQuery is one statement, so one snapshot: a policy that is replaced
// or a repository that is pinned at the same time is seen before or after, and
// never half. The second part is for renamed repositories.
//
// How it is written keeps SQLite, which has no statistics here, from walking all
// policies of an organization: there is no ORDER BY, which it would serve from
// the primary key, and CROSS JOIN, which it takes as the order of the tables.
func candidatesQuery(columns string) string {
	return `
	SELECT ` + columns + `
	FROM oidc_trust_policies p
	LEFT JOIN pins n ON n.organization_id = p.organization_id AND n.provider = p.provider AND n.repository_folded = p.repository_folded
	WHERE p.organization_id = $1 AND p.provider = $2 AND p.repository_folded = $3
	UNION ALL
	SELECT ` + columns + `
	FROM pins n
	CROSS JOIN oidc_trust_policies p
	WHERE p.organization_id = n.organization_id AND p.provider = n.provider AND p.repository_folded = n.repository_folded
		AND n.organization_id = $1 AND n.provider = $2 AND n.repository_id = $4 AND n.repository_folded <> $3`
}

var (
	wholeCandidates   = candidatesQuery(policyColumns + ", 0, 0")
	candidateVersions = candidatesQuery("p.id, p.revision, p.updated_at, coalesce(n.repository_id, ''), coalesce(n.repository_owner_id, '')")
)

// Candidates returns the policies that an exchange has to look at, by id: those
// for this repository name, and those for another name that is pinned to this
// repository id. For callers without a repository it is those that name none; nothing
// is pinned to no id. Their counters are left out.
func (r reads) Candidates(ctx context.Context, orgID, provider, repository, repositoryID string) ([]agentidp.TrustPolicy, error) {
	found, err := list(ctx, r, "read candidate policies", scanPolicy, wholeCandidates,
		orgID, provider, agentidp.FoldRepository(repository), repositoryID)
	slices.SortFunc(found, func(a, b agentidp.TrustPolicy) int { return cmp.Compare(a.ID, b.ID) })
	return found, err
}

// PolicyVersion is by what a policy that was read before is known to be as it is now:
// whatever administrators change of it counts its revision, and an id is never another
// policy's. The instant tells it from the same revision before the database was restored
// under the server. Its pin changes apart from it.
type PolicyVersion struct {
	ID                              string
	Revision                        int64
	UpdatedAt                       int64  // microseconds
	RepositoryID, RepositoryOwnerID string // of the pin; empty where there is none
}

// VersionOf returns that of a policy.
func VersionOf(p *agentidp.TrustPolicy) PolicyVersion {
	v := PolicyVersion{ID: p.ID, Revision: p.Revision, UpdatedAt: micros(p.UpdatedAt)}
	if p.Pinned != nil {
		v.RepositoryID, v.RepositoryOwnerID = p.Pinned.RepositoryID, p.Pinned.RepositoryOwnerID
	}
	return v
}

// CandidateVersions returns what Candidates would, as far as it takes to see whether
// that has changed: a small part of the work.
func (r reads) CandidateVersions(ctx context.Context, orgID, provider, repository, repositoryID string) ([]PolicyVersion, error) {
	scan := func(rows *sql.Rows, v *PolicyVersion) error {
		return rows.Scan(&v.ID, &v.Revision, &v.UpdatedAt, &v.RepositoryID, &v.RepositoryOwnerID)
	}
	found, err := list(ctx, r, "read versions of candidate policies", scan, candidateVersions,
		orgID, provider, agentidp.FoldRepository(repository), repositoryID)
	slices.SortFunc(found, func(a, b PolicyVersion) int { return cmp.Compare(a.ID, b.ID) })
	return found, err
}

// CountPolicies counts the policies of a provider that name a repository, or with ""
// those that name none.
func (r reads) CountPolicies(ctx context.Context, orgID, provider, repository string) (int, error) {
	n, err := one(ctx, r, "count policies", scanValue[int],
		"SELECT count(*) FROM oidc_trust_policies WHERE organization_id = $1 AND provider = $2 AND repository_folded = $3",
		orgID, provider, agentidp.FoldRepository(repository))
	if err != nil {
		return 0, err
	}
	return *n, nil
}

// Policy returns one policy, or ErrNotFound.
func (r reads) Policy(ctx context.Context, orgID, id string) (*agentidp.TrustPolicy, error) {
	return one(ctx, r, "read policy", scanPolicy, policyQuery, orgID, id)
}

// Policies returns at most limit policies that pass the filter and whose id is
// greater than after (empty: all), by id.
func (r reads) Policies(ctx context.Context, orgID string, f *agentidp.PolicyFilter, after string, limit int) ([]agentidp.TrustPolicy, error) {
	q := policiesQuery(orgID, f, after, limit)
	return list(ctx, r.unprepared(), "list policies", scanPolicy, q.text, q.args...)
}

func policiesQuery(orgID string, f *agentidp.PolicyFilter, after string, limit int) *query {
	q := newQuery("SELECT * FROM oidc_trust_policies", orgID)
	leads := leadsNeverMatched(f)
	if leads {
		q = newQuery(neverMatched, orgID)
		q.id = "policy_id"
		q.and("usage_of = $1 AND id = policy_id")
	}
	q.oldestWith("agent_id", f.AgentID)
	q.oldestWith("repository_folded", agentidp.FoldRepository(f.Repository))
	if !f.ExpiresBefore.IsZero() {
		q.expiring(f.ExpiresBefore)
	}
	switch f.Grants {
	case agentidp.PrincipalBootstrap:
		q.oldestExactly("agent_id", "")
	case agentidp.PrincipalAgent:
		q.and("agent_id <> ''") // as the index says it, or it is not used
	}
	q.oldestWith("mode", string(f.Mode))
	q.oldestWith("provider", f.Provider)
	if f.NeverMatched && !leads {
		q.and("NOT EXISTS (SELECT 1 FROM policy_usage WHERE organization_id = $1 AND policy_id = id AND match_count > 0)")
	}
	q.oldestFirst(after, limit)
	q.text = policiesFrom("("+q.text+")") + " ORDER BY p.id"
	return q
}

// neverMatched are policies that have granted nothing, in the order of an index of just
// these: where nearly all have granted, a page of the others is not looked for among
// all. CROSS JOIN is as in candidatesQuery.
const neverMatched = `SELECT p.* FROM (SELECT organization_id AS usage_of, policy_id FROM policy_usage WHERE match_count = 0) u
	CROSS JOIN oidc_trust_policies p`

// leadsNeverMatched reports whether the policies that have granted nothing are likely
// the fewest of what is asked for.
func leadsNeverMatched(f *agentidp.PolicyFilter) bool {
	return f.NeverMatched && f.AgentID == "" && f.Repository == "" && f.ExpiresBefore.IsZero() && (f.Mode == "" || f.Mode == agentidp.ModeEnforce)
}

func scanPolicy(rows *sql.Rows, p *agentidp.TrustPolicy) error {
	var pin agentidp.Pin
	err := rows.Scan(&p.OrganizationID, &p.ID, &p.Provider, &p.Repository, &p.Branch, &p.Tag, &p.AgentID, &p.RepositoryID,
		&p.RepositoryOwnerID, jsonColumn{&p.Events}, &p.Environment, &p.Workflow, jsonColumn{&p.Claims}, &p.Condition, &p.AcceptRisk, jsonColumn{&p.Scopes}, jsonColumn{&p.Audiences}, &p.TokenTTLSeconds, &p.MaxAgents, &p.AgentNamePattern,
		&p.TrustRegisteredAgents, &p.Mode, optionalTime{&p.ExpiresAt}, &p.Description, &p.CreatedBy, microsTime{&p.CreatedAt}, microsTime{&p.UpdatedAt}, &p.Revision,
		&pin.RepositoryID, &pin.RepositoryOwnerID, microsTime{&pin.PinnedAt}, optionalTime{&p.LastMatchedAt}, &p.MatchCount)
	if pin.RepositoryID != "" {
		p.Pinned = &pin
	}
	return err
}

// CreatePolicy inserts p and its counters; ErrExists if the organization has a policy
// with this fingerprint.
func (t *Tx) CreatePolicy(ctx context.Context, p *agentidp.TrustPolicy, fingerprint string) error {
	err := t.insert(ctx, "create policy", `
		INSERT INTO oidc_trust_policies (organization_id, id, provider, repository, repository_folded, branch, tag, agent_id,
			repository_id, repository_owner_id, events, scopes, audiences, token_ttl_seconds, max_agents, agent_name_pattern,
			trust_registered_agents, mode, expires_at, description, fingerprint, created_by, created_at, updated_at, revision, claims,
			environment, workflow, condition, accept_risk)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)
		ON CONFLICT DO NOTHING`,
		p.OrganizationID, p.ID, p.Provider, p.Repository, agentidp.FoldRepository(p.Repository), p.Branch, p.Tag, p.AgentID,
		p.RepositoryID, p.RepositoryOwnerID, listText(p.Events), listText(p.Scopes), listText(p.Audiences), p.TokenTTLSeconds, p.MaxAgents, p.AgentNamePattern,
		p.TrustRegisteredAgents, string(p.Mode), optionalMicros(p.ExpiresAt), p.Description, fingerprint, p.CreatedBy, micros(p.CreatedAt), micros(p.UpdatedAt), p.Revision, claimsText(p.Claims),
		p.Environment, p.Workflow, p.Condition, p.AcceptRisk)
	if err != nil {
		return err
	}
	return t.insert(ctx, "create policy counters", "INSERT INTO policy_usage (organization_id, policy_id, last_matched_at, match_count) VALUES ($1, $2, 0, 0)",
		p.OrganizationID, p.ID)
}

func claimsText(claims agentidp.ClaimConditions) string {
	if len(claims) == 0 {
		return "{}"
	}
	return jsonText(claims)
}

// LockPolicy returns the policy and keeps it as it is until the transaction
// ends: nobody else changes it, and nothing is issued under it.
func (t *Tx) LockPolicy(ctx context.Context, orgID, id string) (*agentidp.TrustPolicy, error) {
	if err := t.lock(ctx, lockPolicies, orgID, id); err != nil {
		return nil, err
	}
	return t.Policy(ctx, orgID, id)
}

// ReplacePolicy writes what an administrator may change of p, with its new
// revision. ErrStale: the stored revision is not p.Revision−1, or the policy is
// gone. ErrExists: another policy has this fingerprint.
func (t *Tx) ReplacePolicy(ctx context.Context, p *agentidp.TrustPolicy, fingerprint string) error {
	if err := t.lock(ctx, lockPolicies, p.OrganizationID, p.ID); err != nil {
		return staleIfNotFound(err)
	}
	return t.update(ctx, "replace policy", `
		UPDATE oidc_trust_policies SET branch = $3, tag = $4, repository_id = $5, repository_owner_id = $6, events = $7, scopes = $8,
			audiences = $9, token_ttl_seconds = $10, max_agents = $11, agent_name_pattern = $12, trust_registered_agents = $13, mode = $14, expires_at = $15,
			description = $16, fingerprint = $17, updated_at = $18, revision = $19, claims = $20,
			environment = $21, workflow = $22, condition = $23, accept_risk = $24
		WHERE organization_id = $1 AND id = $2 AND revision = $25`,
		p.OrganizationID, p.ID, p.Branch, p.Tag, p.RepositoryID, p.RepositoryOwnerID, listText(p.Events), listText(p.Scopes),
		listText(p.Audiences), p.TokenTTLSeconds, p.MaxAgents, p.AgentNamePattern, p.TrustRegisteredAgents, string(p.Mode), optionalMicros(p.ExpiresAt),
		p.Description, fingerprint, micros(p.UpdatedAt), p.Revision, claimsText(p.Claims),
		p.Environment, p.Workflow, p.Condition, p.AcceptRisk, p.Revision-1)
}

// DeletePolicy removes a policy and its counters; ErrNotFound if there is none.
// The pin stays: it belongs to the repository. Once the transaction is
// committed nothing more is issued under the policy, by any node.
func (t *Tx) DeletePolicy(ctx context.Context, orgID, id string) error {
	if err := t.lock(ctx, lockPolicies, orgID, id); err != nil {
		return err
	}
	n, err := t.exec(ctx, "delete policy", "DELETE FROM oidc_trust_policies WHERE organization_id = $1 AND id = $2", orgID, id)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("delete policy: %w", ErrNotFound)
	}
	_, err = t.exec(ctx, "delete policy counters", "DELETE FROM policy_usage WHERE organization_id = $1 AND policy_id = $2", orgID, id)
	return err
}

func optionalMicros(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return micros(*t)
}
