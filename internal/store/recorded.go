package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// Past chooses exchanges that policies decided on, by what a policy is about.
type Past struct {
	Provider     string
	Repository   string // in any case; "": exchanges without one
	RepositoryID string // that Repository is pinned to; "": it is not
	AgentID      string // "": bootstrap
	Since        time.Time
}

// MaxPast is how many decisions of one repository, agent or organization Recorded looks
// at.
const MaxPast = 20_000

const pastPage = 1000 // of them are read at a time

// Recorded returns the newest exchanges of the past, at most limit, the newest first:
// what a list of decisions has of the run, and the claims that are kept, if any are. more
// says that there may be older ones.
//
// A repository may have been renamed, so its exchanges are those of its name and those of
// its id. Of either, and of the agent or else the organization where there is no
// repository, no more than the newest twenty thousand decisions are looked at.
func (r reads) Recorded(ctx context.Context, orgID string, p *Past, limit int) (found []agentidp.Decision, more bool, err error) {
	leads := [][2]string{{"agent_id", p.AgentID}}
	if p.Repository != "" {
		leads = [][2]string{{"repository_folded", agentidp.FoldRepository(p.Repository)}, {"repository_id", p.RepositoryID}}
	}
	for i, lead := range leads {
		if i > 0 && lead[1] == "" {
			break
		}
		some, moreOfThem, err := r.recorded(ctx, orgID, p, lead, limit)
		if err != nil {
			return nil, false, err
		}
		found, more = append(found, some...), more || moreOfThem
	}
	slices.SortFunc(found, func(a, b agentidp.Decision) int { return cmp.Compare(b.ID, a.ID) })
	found = slices.CompactFunc(found, func(a, b agentidp.Decision) bool { return a.ID == b.ID })
	if len(found) > limit {
		return found[:limit], true, nil
	}
	return found, more, nil
}

// recorded is Recorded for one lead.
func (r reads) recorded(ctx context.Context, orgID string, p *Past, lead [2]string, limit int) (found []agentidp.Decision, more bool, err error) {
	scan := func(rows *sql.Rows, d *agentidp.Decision) error {
		return rows.Scan(&d.ID, microsTime{&d.At}, &d.Code, &d.Provider, &d.Repository, &d.Subject, &d.Ref, &d.Event, &d.AgentID, jsonColumn{&d.Claims})
	}
	before := ""
	for range MaxPast / pastPage {
		q := pastQuery(orgID, p, lead, before)
		page, err := list(ctx, r.unprepared(), "read recorded exchanges", scan, q.text, q.args...)
		if err != nil {
			return nil, false, err
		}
		for i := range page {
			if !p.has(&page[i]) {
				continue
			}
			if len(found) == limit {
				return found, true, nil
			}
			found = append(found, page[i])
		}
		if len(page) < pastPage {
			return found, false, nil
		}
		before = page[len(page)-1].ID
	}
	return found, true, nil
}

// pastQuery reads a page of the decisions of a lead, and claims of those alone that are
// of the provider and the agent.
func pastQuery(orgID string, p *Past, lead [2]string, before string) *query {
	q := &query{args: []any{orgID, p.Provider, p.AgentID}}
	q = q.beside(`SELECT id, at, code, provider, repository, subject, ref, event, agent_id,
		CASE WHEN provider = $2 AND agent_id = $3 THEN coalesce((SELECT c.claims FROM recorded_claims c WHERE c.organization_id = $1 AND c.decision_id = decisions.id), '') ELSE '' END
		FROM decisions`)
	if lead[0] == "agent_id" {
		q.newestWith(lead[0], lead[1])
	} else {
		q.newestWithSome(lead[0], lead[1])
	}
	q.newestFirst(p.Since, time.Time{}, before, pastPage)
	return q
}

// has reports whether a decision of a lead is one of the past that was asked for.
func (p *Past) has(d *agentidp.Decision) bool {
	byPolicies := d.Code != agentidp.CodeInvalidToken && d.Code != agentidp.CodeInvalidDPoPProof
	return byPolicies && d.Provider == p.Provider && d.AgentID == p.AgentID && (p.Repository != "" || d.Repository == "")
}
