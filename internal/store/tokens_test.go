package store_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// token records a token that lives for ten minutes from now, unless changed.
func (f *fixture) token(t *testing.T, change func(*agentidp.AccessToken)) string {
	t.Helper()
	token := f.grant().Token
	change(&token)
	f.write(t, func(tx *store.Tx) error { return tx.CreateToken(t.Context(), &token) })
	return token.ID
}

// revokeAll goes through all that a selection chooses, and returns how many were
// revoked, in how many steps.
func (f *fixture) revokeAll(t *testing.T, chosen agentidp.TokenSelection, at time.Time) (total int64, steps int) {
	t.Helper()
	f.write(t, func(tx *store.Tx) error {
		for from := (store.TokenCursor{}); ; {
			n, next, err := tx.RevokeTokens(t.Context(), f.org.ID, &chosen, from, at)
			if err != nil {
				return err
			}
			total, steps = total+n, steps+1
			if from = next; from == (store.TokenCursor{}) {
				return nil
			}
		}
	})
	return total, steps
}

func TestATokenIsRevokedOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		id := f.token(t, func(*agentidp.AccessToken) {})
		other := f.token(t, func(*agentidp.AccessToken) {})
		revoke := func(orgID, id string, at time.Time, want bool) {
			t.Helper()
			f.write(t, func(tx *store.Tx) error {
				done, err := tx.RevokeToken(t.Context(), orgID, id, at)
				same(t, done, want, err)
				return nil
			})
		}
		revoke("another", id, now, false)
		revoke(f.org.ID, newID(), now, false)
		revoke(f.org.ID, id, now, true)
		revoke(f.org.ID, id, now.Add(time.Hour), false)
		for id, want := range map[string]time.Time{id: now, other: {}} {
			got, err := f.Token(t.Context(), f.org.ID, id)
			same(t, got.RevokedAt, want, err)
		}
	})
}

func TestTokensAreRevokedBySelection(t *testing.T) {
	const agent, policy = "agent-1", "policy-1"
	hour := now.Truncate(time.Second).Add(-time.Hour)
	tokens := map[string]func(*agentidp.AccessToken){
		"agent":      func(a *agentidp.AccessToken) { a.AgentID = agent },
		"policy":     func(a *agentidp.AccessToken) { a.PolicyID = policy },
		"both":       func(a *agentidp.AccessToken) { a.AgentID, a.PolicyID = agent, policy },
		"acts":       func(a *agentidp.AccessToken) { a.AgentID, a.ActorID = "agent-2", agent },
		"acted for":  func(a *agentidp.AccessToken) { a.AgentID, a.ActorID = "agent-2", "agent-3" },
		"repository": func(a *agentidp.AccessToken) { a.RepositoryID = "99" },
		"old":        func(a *agentidp.AccessToken) { a.IssuedAt, a.AgentID = hour.Add(-time.Second), agent },
		"admin": func(a *agentidp.AccessToken) {
			a.Kind, a.AgentID, a.PolicyID, a.RepositoryID, a.IssuedAt = agentidp.PrincipalAdmin, "", "", "", hour
		},
		"expired":      func(a *agentidp.AccessToken) { a.AgentID, a.ExpiresAt = agent, now.Add(-time.Hour) },
		"just expired": func(a *agentidp.AccessToken) { a.AgentID, a.ExpiresAt = agent, now.Add(-time.Second) },
	}
	tests := []struct {
		name   string
		chosen agentidp.TokenSelection
		want   []string
	}{
		{"by agent, and by the clock of a node that is behind", agentidp.TokenSelection{AgentID: agent}, []string{"agent", "both", "acts", "old", "just expired"}},
		{"by the agent that is acted for", agentidp.TokenSelection{AgentID: "agent-2"}, []string{"acts", "acted for"}},
		{"by policy", agentidp.TokenSelection{PolicyID: policy}, []string{"policy", "both"}},
		{"by repository", agentidp.TokenSelection{RepositoryID: "99"}, []string{"repository"}},
		{"members combine with AND", agentidp.TokenSelection{AgentID: agent, PolicyID: policy}, []string{"both"}},
		{"before an instant", agentidp.TokenSelection{IssuedBefore: &hour}, []string{"old"}},
		{"an instant is compared with whole seconds", agentidp.TokenSelection{IssuedBefore: new(hour.Add(time.Microsecond))}, []string{"old", "admin"}},
		{"all of them", agentidp.TokenSelection{IssuedBefore: new(now.Add(time.Hour))}, []string{"agent", "policy", "both", "acts", "acted for", "repository", "old", "admin", "just expired"}},
		{"before all time", agentidp.TokenSelection{IssuedBefore: new(time.Time{})}, nil},
		{"an agent that there is not", agentidp.TokenSelection{AgentID: "nobody"}, nil},
		{"of the wrong sort", agentidp.TokenSelection{AgentID: policy}, nil},
	}
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				f := *f
				f.addOrganization(t, "foreign"+string(rune('a'+i)))
				foreign, foreignOrg := f.token(t, tokens["both"]), f.org.ID
				f.addOrganization(t, "own"+string(rune('a'+i)))
				ids := map[string]string{}
				for name, change := range tokens {
					ids[name] = f.token(t, change)
				}
				n, _ := f.revokeAll(t, test.chosen, now)
				same(t, n, int64(len(test.want)), nil)
				revoked := map[string]bool{}
				for _, name := range test.want {
					revoked[name] = true
				}
				for name, id := range ids {
					got, err := f.Token(t.Context(), f.org.ID, id)
					same(t, name+" "+got.RevokedAt.String(), name+" "+map[bool]time.Time{true: now}[revoked[name]].String(), err)
				}
				got, err := f.Token(t.Context(), foreignOrg, foreign)
				same(t, got.RevokedAt, time.Time{}, err)
				n, _ = f.revokeAll(t, test.chosen, now)
				same(t, n, 0, nil)
			})
		}
	})
}

func TestManyTokensAreRevokedInSteps(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		const more = 7
		f.write(t, func(tx *store.Tx) error {
			for i := range store.RevokeBatch + more {
				token := f.grant().Token
				token.ExpiresAt = token.ExpiresAt.Add(-time.Duration(i%3) * time.Minute)
				if err := tx.CreateToken(t.Context(), &token); err != nil {
					return err
				}
			}
			return nil
		})
		n, steps := f.revokeAll(t, agentidp.TokenSelection{AgentID: f.agent.AgentID}, now)
		same(t, n, store.RevokeBatch+more, nil)
		same(t, steps, 2, nil)
	})
}

// However many tokens there were, those that live are found without a look at the
// others.
func TestRevokingReadsLivingTokensAlone(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "t.db"))
	args := []any{f.org.ID, int64(1), "", "a", "", "", int64(math.MaxInt64)}
	for _, query := range []string{
		"SELECT expires_at, id FROM access_tokens WHERE " + store.ChosenTokens + " ORDER BY expires_at, id LIMIT 1000",
		"UPDATE access_tokens SET revoked_at = 1 WHERE " + store.ChosenTokens + " AND (expires_at, id) <= (2, 'x')",
	} {
		plan := strings.Join(store.Plan(t, f.DB, query, args...), "; ")
		if !strings.Contains(plan, "access_tokens_expiry (organization_id=? AND (expires_at,id)>(?,?)") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", query, plan)
		}
	}
}
