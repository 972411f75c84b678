package store

import (
	"context"
	"database/sql"

	agentidp "github.com/sentryagent/agentidp"
)

const decisionColumns = "organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id, ref, event, run_id, agent_id, policy_id, token_id, subject, grant_type, credential_id, actor_id, parent_token_id"

var (
	insertDecisions = newInserter("decisions", decisionColumns+", repository_folded, checks, nearest, shadow", "")
	insertClaims    = newInserter("recorded_claims", "organization_id, decision_id, claims", "")
)

func decisionRow(orgID string, d *agentidp.Decision) []any {
	checks, nearest, shadow := "[]", "", ""
	if len(d.Checks) > 0 {
		checks = jsonText(d.Checks)
	}
	if d.Nearest != nil {
		nearest = jsonText(d.Nearest)
	}
	if len(d.Shadow) > 0 {
		shadow = jsonText(d.Shadow)
	}
	return []any{orgID, d.ID, d.RequestID, micros(d.At), string(d.Outcome), d.Code, d.Reason, d.Provider, d.Repository, d.RepositoryID,
		d.RepositoryOwnerID, d.Ref, d.Event, d.RunID, d.AgentID, d.PolicyID, d.TokenID, d.Subject, d.GrantType, d.CredentialID, d.ActorID, d.ParentTokenID, agentidp.FoldRepository(d.Repository), checks, nearest, shadow}
}

// claimsRow returns the row of the claims that are kept with a decision, or nil.
func claimsRow(orgID string, d *agentidp.Decision) []any {
	if len(d.Claims) == 0 {
		return nil
	}
	return []any{orgID, d.ID, string(d.Claims)}
}

// Decision returns the record of one exchange with the claims that are still kept, or
// ErrNotFound.
func (r reads) Decision(ctx context.Context, orgID, id string) (*agentidp.Decision, error) {
	scan := func(rows *sql.Rows, d *agentidp.Decision) error {
		return rows.Scan(append(decisionFields(d), jsonColumn{&d.Checks}, jsonColumn{&d.Nearest}, jsonColumn{&d.Shadow}, jsonColumn{&d.Claims})...)
	}
	return one(ctx, r, "read decision", scan, "SELECT "+decisionColumns+`, checks, nearest, shadow,
		coalesce((SELECT claims FROM recorded_claims WHERE organization_id = $1 AND decision_id = $2), '')
		FROM decisions WHERE organization_id = $1 AND id = $2`, orgID, id)
}

// DecisionThatUsed returns the record of the exchange that used up a subject token, by
// its provider and replay key, or ErrNotFound.
func (r reads) DecisionThatUsed(ctx context.Context, orgID string, p *agentidp.Provider, replayKey string) (*agentidp.Decision, error) {
	scan := func(rows *sql.Rows, d *agentidp.Decision) error { return rows.Scan(decisionFields(d)...) }
	return one(ctx, r, "read the decision that used a token", scan, "SELECT "+decisionColumns+` FROM decisions WHERE organization_id = $1 AND id =
		(SELECT decision_id FROM used_tokens WHERE organization_id = $1 AND provider = $2 AND replay_key = $3)`, orgID, usedOf(p), replayKey)
}

// Decisions returns at most limit decisions that pass the filter and whose id is
// less than before (empty: all), the newest first and without their checks.
func (r reads) Decisions(ctx context.Context, orgID string, f *agentidp.DecisionFilter, before string, limit int) ([]agentidp.Decision, error) {
	scan := func(rows *sql.Rows, d *agentidp.Decision) error { return rows.Scan(decisionFields(d)...) }
	q := decisionsQuery(orgID, f, before, limit)
	return list(ctx, r.unprepared(), "list decisions", scan, q.text, q.args...)
}

func decisionsQuery(orgID string, f *agentidp.DecisionFilter, before string, limit int) *query {
	q := newQuery("SELECT "+decisionColumns+" FROM decisions", orgID)
	q.decisions(f, before, limit)
	return q
}

// decisions ends a query of the decisions that pass the filter.
func (q *query) decisions(f *agentidp.DecisionFilter, before string, limit int) {
	q.newestWithSome("policy_id", f.PolicyID)
	q.newestWith("agent_id", f.AgentID)
	q.newestWithSome("repository_id", f.RepositoryID)
	q.newestWithSome("repository_folded", agentidp.FoldRepository(f.Repository))
	q.newestWith("code", f.Code)
	if f.Code != "" || f.Outcome == agentidp.OutcomeDenied {
		q.and("outcome = 'denied'") // as the index says it, or it is not used
	}
	if f.Outcome == agentidp.OutcomeAllowed {
		q.and("outcome = 'allowed'")
	}
	q.newestFirst(f.Since, f.Until, before, limit)
}

// decisionFields are where decisionColumns go.
func decisionFields(d *agentidp.Decision) []any {
	return []any{&d.OrganizationID, &d.ID, &d.RequestID, microsTime{&d.At}, &d.Outcome, &d.Code, &d.Reason, &d.Provider, &d.Repository, &d.RepositoryID,
		&d.RepositoryOwnerID, &d.Ref, &d.Event, &d.RunID, &d.AgentID, &d.PolicyID, &d.TokenID, &d.Subject, &d.GrantType, &d.CredentialID, &d.ActorID, &d.ParentTokenID}
}
