package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestPoliciesAreFiltered(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		usual, own := f.policy.ID, f.org.ID
		agent := f.agent.AgentID
		made := func(repository, agentID string, change func(*agentidp.TrustPolicy)) string {
			p := newPolicy(own, repository, agentID)
			change(p)
			f.createPolicy(t, p)
			return p.ID
		}
		bootstrap := made("acme/DEPLOY", "", func(*agentidp.TrustPolicy) {})
		disabled := made("acme/other", agent, func(p *agentidp.TrustPolicy) { p.Mode = agentidp.ModeDisabled })
		elsewhere := made("acme/deploy", "b", func(p *agentidp.TrustPolicy) { p.Provider = "ghes" })
		off := made("acme/other", "", func(p *agentidp.TrustPolicy) { p.Mode = agentidp.ModeDisabled })
		f.addOrganization(t, "other")

		for _, test := range []struct {
			name   string
			filter agentidp.PolicyFilter
			want   []string
		}{
			{"nothing asked", agentidp.PolicyFilter{}, []string{usual, bootstrap, disabled, elsewhere, off}},
			{"a provider", agentidp.PolicyFilter{Provider: "ghes"}, []string{elsewhere}},
			{"a repository in another case", agentidp.PolicyFilter{Repository: "ACME/deploy"}, []string{usual, bootstrap, elsewhere}},
			{"a repository of one provider", agentidp.PolicyFilter{Repository: "acme/deploy", Provider: "github"}, []string{usual, bootstrap}},
			{"an agent", agentidp.PolicyFilter{AgentID: agent}, []string{usual, disabled}},
			{"another organization's agent", agentidp.PolicyFilter{AgentID: f.agent.AgentID}, []string{}},
			{"bootstrap policies", agentidp.PolicyFilter{Grants: agentidp.PrincipalBootstrap}, []string{bootstrap, off}},
			{"those of agents", agentidp.PolicyFilter{Grants: agentidp.PrincipalAgent}, []string{usual, disabled, elsewhere}},
			{"a mode", agentidp.PolicyFilter{Mode: agentidp.ModeDisabled}, []string{disabled, off}},
			{"bootstrap policies of a mode", agentidp.PolicyFilter{Mode: agentidp.ModeDisabled, Grants: agentidp.PrincipalBootstrap}, []string{off}},
			{"bootstrap policies of an agent", agentidp.PolicyFilter{AgentID: agent, Grants: agentidp.PrincipalBootstrap}, []string{}},
			{"all at once", agentidp.PolicyFilter{Provider: "github", Repository: "acme/Other", AgentID: agent, Grants: agentidp.PrincipalAgent, Mode: agentidp.ModeDisabled}, []string{disabled}},
		} {
			policies, err := f.Policies(t.Context(), own, &test.filter, "", 10)
			if got := idsOf(t, policies, err, policyID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
		}
		same(t, f.walkPolicies(t, own, &agentidp.PolicyFilter{Repository: "acme/deploy"}), []string{usual, bootstrap, elsewhere}, nil)
		same(t, f.walkPolicies(t, own, &agentidp.PolicyFilter{Grants: agentidp.PrincipalBootstrap}), []string{bootstrap, off}, nil)
	})
}

// Which have granted nothing, and which end: what goes on lists of what should go.
func TestPoliciesAreFilteredByUseAndExpiry(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, own, agent := t.Context(), f.org.ID, f.agent.AgentID
		made := func(repository string, mode agentidp.PolicyMode, ends time.Duration) string {
			p := newPolicy(own, repository, agent)
			p.Mode, p.ExpiresAt = mode, nil
			if ends != 0 {
				p.ExpiresAt = new(now.Add(ends))
			}
			f.createPolicy(t, p)
			return p.ID
		}
		granted := f.policy.ID // ends in a day
		ended := made("acme/other", agentidp.ModeEnforce, -time.Hour)
		shadow := made("acme/deploy", agentidp.ModeShadow, 0)
		soon := made("acme/other", agentidp.ModeShadow, time.Hour)
		used := made("acme/other", agentidp.ModeDisabled, 2*time.Hour)
		later := made("acme/deploy", agentidp.ModeEnforce, 48*time.Hour)
		for _, id := range []string{granted, used} {
			p, err := f.Policy(ctx, own, id)
			if err != nil {
				t.Fatal(err)
			}
			g := f.grant()
			g.Policy = p
			if err := f.Issue(ctx, g); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil { // writes what was counted
			t.Fatal(err)
		}
		f.DB = open(t, f.url)
		f.addOrganization(t, "other") // has a policy too

		for _, test := range []struct {
			name   string
			filter agentidp.PolicyFilter
			want   []string
		}{
			{"never matched", agentidp.PolicyFilter{NeverMatched: true}, []string{ended, shadow, soon, later}},
			{"never matched, of a mode", agentidp.PolicyFilter{NeverMatched: true, Mode: agentidp.ModeShadow}, []string{shadow, soon}},
			{"never matched, in force", agentidp.PolicyFilter{NeverMatched: true, Mode: agentidp.ModeEnforce}, []string{ended, later}},
			{"never matched, disabled", agentidp.PolicyFilter{NeverMatched: true, Mode: agentidp.ModeDisabled}, []string{}},
			{"never matched, of a repository", agentidp.PolicyFilter{NeverMatched: true, Repository: "ACME/deploy"}, []string{shadow, later}},
			{"never matched, of an agent", agentidp.PolicyFilter{NeverMatched: true, AgentID: agent}, []string{ended, shadow, soon, later}},
			{"never matched, of agents", agentidp.PolicyFilter{NeverMatched: true, Grants: agentidp.PrincipalAgent}, []string{ended, shadow, soon, later}},
			{"never matched, bootstrap", agentidp.PolicyFilter{NeverMatched: true, Grants: agentidp.PrincipalBootstrap}, []string{}},
			{"never matched, of a provider", agentidp.PolicyFilter{NeverMatched: true, Provider: "github"}, []string{ended, shadow, soon, later}},
			{"never matched, of another provider", agentidp.PolicyFilter{NeverMatched: true, Provider: "ghes"}, []string{}},
			{"expired", agentidp.PolicyFilter{ExpiresBefore: now}, []string{ended}},
			{"expiring within the hour", agentidp.PolicyFilter{ExpiresBefore: now.Add(time.Hour)}, []string{ended}},
			{"expiring within a little more", agentidp.PolicyFilter{ExpiresBefore: now.Add(time.Hour + time.Microsecond)}, []string{ended, soon}},
			{"expiring some day", agentidp.PolicyFilter{ExpiresBefore: now.AddDate(100, 0, 0)}, []string{granted, ended, soon, used, later}},
			{"expiring, of a repository", agentidp.PolicyFilter{ExpiresBefore: now.AddDate(1, 0, 0), Repository: "acme/deploy"}, []string{granted, later}},
			{"expiring, of a mode", agentidp.PolicyFilter{ExpiresBefore: now.AddDate(1, 0, 0), Mode: agentidp.ModeDisabled}, []string{used}},
			{"expiring, bootstrap", agentidp.PolicyFilter{ExpiresBefore: now.AddDate(1, 0, 0), Grants: agentidp.PrincipalBootstrap}, []string{}},
			{"expiring, never matched", agentidp.PolicyFilter{ExpiresBefore: now.Add(24 * time.Hour), NeverMatched: true}, []string{ended, soon}},
			{"all at once", agentidp.PolicyFilter{
				ExpiresBefore: now.Add(24 * time.Hour), NeverMatched: true, Mode: agentidp.ModeShadow, Provider: "github",
				Repository: "acme/other", AgentID: agent, Grants: agentidp.PrincipalAgent,
			}, []string{soon}},
		} {
			policies, err := f.Policies(ctx, own, &test.filter, "", 10)
			if got := idsOf(t, policies, err, policyID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
			if got := f.walkPolicies(t, own, &test.filter); !slices.Equal(got, test.want) {
				t.Errorf("%s, a page each: %v, want %v", test.name, got, test.want)
			}
		}
	})
}

func policyID(p agentidp.TrustPolicy) string { return p.ID }
func agentID(a agentidp.Agent) string        { return a.AgentID }

// walkPolicies reads a list in pages of one.
func (f *fixture) walkPolicies(t *testing.T, orgID string, filter *agentidp.PolicyFilter) []string {
	t.Helper()
	var all []string
	for cursor := ""; ; cursor = all[len(all)-1] {
		page, err := f.Policies(t.Context(), orgID, filter, cursor, 1)
		if ids := idsOf(t, page, err, policyID); len(ids) > 0 {
			all = append(all, ids...)
			continue
		}
		return all
	}
}

func TestAPolicyInAListIsTheOneThatIsRead(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
		read, err := f.Policy(t.Context(), f.org.ID, f.policy.ID)
		if err != nil || read.Pinned == nil {
			t.Fatalf("%+v, %v", read, err)
		}
		list, err := f.Policies(t.Context(), f.org.ID, &agentidp.PolicyFilter{AgentID: f.agent.AgentID}, "", 10)
		same(t, list, []agentidp.TrustPolicy{*read}, err)
	})
}

func TestAgentsAreFiltered(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		usual, own := f.agent.AgentID, f.org.ID
		made := func(name, policyID string, status agentidp.AgentStatus) string {
			a := newAgent(own, name)
			a.RegisteredBy.PolicyID, a.Status = policyID, status
			f.createAgent(t, a)
			return a.AgentID
		}
		suspended := made("b@x", "q", agentidp.AgentSuspended)
		gone := made("a@x", "q", agentidp.AgentDecommissioned)
		last := made("c@x", "q", agentidp.AgentActive)
		f.addOrganization(t, "other")

		for _, test := range []struct {
			name   string
			filter agentidp.AgentFilter
			want   []string
		}{
			{"nothing asked", agentidp.AgentFilter{}, []string{usual, suspended, gone, last}},
			{"a status", agentidp.AgentFilter{Status: agentidp.AgentActive}, []string{usual, last}},
			{"a name in another case", agentidp.AgentFilter{Name: "A@X"}, []string{gone}},
			{"a part of a name", agentidp.AgentFilter{Name: "a@"}, []string{}},
			{"another organization's name", agentidp.AgentFilter{Name: f.agent.Name}, []string{}},
			{"a bootstrap policy", agentidp.AgentFilter{RegisteredByPolicyID: "q"}, []string{suspended, gone, last}},
			{"a bootstrap policy and a status", agentidp.AgentFilter{RegisteredByPolicyID: "q", Status: agentidp.AgentDecommissioned}, []string{gone}},
			{"a name and another status", agentidp.AgentFilter{Name: "a@x", Status: agentidp.AgentActive}, []string{}},
		} {
			agents, err := f.Agents(t.Context(), own, &test.filter, "", 10)
			if got := idsOf(t, agents, err, agentID); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
			}
		}
	})
}

// Whoever walks the pages meets what lasts once and in order, whatever comes and
// goes meanwhile: the row that the cursor names, too.
func TestPagesStandStillWhileRowsComeAndGo(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, org := t.Context(), f.org.ID
		var agents, policies []string // that last
		passing := func(i int) *agentidp.TrustPolicy {
			p := newPolicy(org, "acme/many", fmt.Sprint("passing ", i))
			f.createPolicy(t, p)
			return p
		}
		for i := range 7 {
			a, p := newAgent(org, fmt.Sprintf("lasting%d@x", i)), newPolicy(org, "acme/many", fmt.Sprint("lasting ", i))
			a.RegisteredBy.PolicyID = "many"
			f.createAgent(t, a)
			f.createPolicy(t, p)
			agents, policies = append(agents, a.AgentID), append(policies, p.ID)
		}
		goes := passing(0)
		var gotAgents, gotPolicies []string
		for i, agentCursor, policyCursor := 1, "", ""; len(gotAgents) < len(agents) || len(gotPolicies) < len(policies); i++ {
			as, err := f.Agents(ctx, org, &agentidp.AgentFilter{RegisteredByPolicyID: "many", Status: agentidp.AgentActive}, agentCursor, 2)
			page := idsOf(t, as, err, agentID)
			gotAgents = append(gotAgents, page...)
			ps, err := f.Policies(ctx, org, &agentidp.PolicyFilter{Repository: "Acme/Many"}, policyCursor, 2)
			for _, p := range ps {
				if strings.HasPrefix(p.AgentID, "lasting") {
					gotPolicies = append(gotPolicies, p.ID)
				}
			}
			if err != nil || len(page)+len(ps) == 0 {
				t.Fatalf("page %d ended the walk early: %v %v, %v", i, gotAgents, gotPolicies, err)
			}
			if len(page) > 0 {
				agentCursor = page[len(page)-1]
				f.write(t, func(tx *store.Tx) error { // it leaves the list
					a, err := tx.LockAgent(ctx, org, agentCursor)
					if err != nil {
						return err
					}
					a.Status, a.Revision = agentidp.AgentSuspended, a.Revision+1
					return tx.UpdateAgent(ctx, a)
				})
			}
			if len(ps) > 0 {
				policyCursor = ps[len(ps)-1].ID
			}
			f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, org, goes.ID) })
			goes = passing(i)
		}
		same(t, gotAgents, agents, nil)
		same(t, gotPolicies, policies, nil)
	})
}

// lists are filters, and the index that leaves the fewest rows for each.
var lists = []struct {
	index string
	query func(orgID, after string) (string, []any)
}{
	{"oidc_trust_policies_pkey", policiesWhere(agentidp.PolicyFilter{})},
	{"oidc_trust_policies_agent", policiesWhere(agentidp.PolicyFilter{AgentID: "a7"})},
	{"oidc_trust_policies_agent", policiesWhere(agentidp.PolicyFilter{AgentID: "a7", Repository: "o/r7", Provider: "p7", Mode: "m7", Grants: agentidp.PrincipalAgent})},
	{"oidc_trust_policies_agent", policiesWhere(agentidp.PolicyFilter{Grants: agentidp.PrincipalBootstrap})},
	{"oidc_trust_policies_agent", policiesWhere(agentidp.PolicyFilter{Grants: agentidp.PrincipalBootstrap, Mode: "m7"})},
	{"oidc_trust_policies_of_agents", policiesWhere(agentidp.PolicyFilter{Grants: agentidp.PrincipalAgent})},
	{"oidc_trust_policies_repository_name", policiesWhere(agentidp.PolicyFilter{Repository: "o/r7"})},
	{"oidc_trust_policies_repository_name", policiesWhere(agentidp.PolicyFilter{Repository: "o/r7", Provider: "p7"})},
	{"oidc_trust_policies_repository_name", policiesWhere(agentidp.PolicyFilter{Repository: "o/r7", Mode: "m7", Grants: agentidp.PrincipalBootstrap})},
	{"oidc_trust_policies_mode", policiesWhere(agentidp.PolicyFilter{Mode: "m7"})},
	{"oidc_trust_policies_provider", policiesWhere(agentidp.PolicyFilter{Provider: "p7"})},
	{never, policiesWhere(agentidp.PolicyFilter{NeverMatched: true})},
	{never, policiesWhere(agentidp.PolicyFilter{NeverMatched: true, Mode: agentidp.ModeEnforce, Provider: "p7", Grants: agentidp.PrincipalAgent})},
	{never, policiesWhere(agentidp.PolicyFilter{NeverMatched: true, Grants: agentidp.PrincipalBootstrap})},
	{"oidc_trust_policies_agent", policiesWhere(agentidp.PolicyFilter{NeverMatched: true, AgentID: "a7", ExpiresBefore: now})},
	{"oidc_trust_policies_repository_name", policiesWhere(agentidp.PolicyFilter{NeverMatched: true, Repository: "o/r7", ExpiresBefore: now})},
	{"oidc_trust_policies_mode", policiesWhere(agentidp.PolicyFilter{NeverMatched: true, Mode: agentidp.ModeShadow})},
	{expiring, policiesWhere(agentidp.PolicyFilter{ExpiresBefore: now})},
	{expiring, policiesWhere(agentidp.PolicyFilter{ExpiresBefore: now, NeverMatched: true, Mode: "m7", Provider: "p7", Grants: agentidp.PrincipalBootstrap})},
	{"agents_pkey", agentsWhere(agentidp.AgentFilter{})},
	{"agents_name", agentsWhere(agentidp.AgentFilter{Name: "n7"})},
	{"agents_name", agentsWhere(agentidp.AgentFilter{Name: "n7", Status: "s7", RegisteredByPolicyID: "p7"})},
	{"agents_registered_by_policy", agentsWhere(agentidp.AgentFilter{RegisteredByPolicyID: "p7"})},
	{"agents_registered_by_policy", agentsWhere(agentidp.AgentFilter{RegisteredByPolicyID: "p7", Status: "s7"})},
	{"agents_status", agentsWhere(agentidp.AgentFilter{Status: "s7"})},
}

// expiring is the one index whose rows are sorted: they are a range of instants, and
// the list is by id. The rows of never are in its order, under another name.
const (
	expiring = "oidc_trust_policies_expiring"
	never    = "policy_usage_never"
)

// indexed reports whether a step of SQLite's reads an index.
func indexed(step, index string) bool {
	return strings.Contains(step+" ", "USING INDEX "+index+" ") || strings.Contains(step+" ", "USING COVERING INDEX "+index+" ")
}

func policiesWhere(f agentidp.PolicyFilter) func(orgID, after string) (string, []any) {
	return func(orgID, after string) (string, []any) { return store.PoliciesQuery(orgID, &f, after, 50) }
}

func agentsWhere(f agentidp.AgentFilter) func(orgID, after string) (string, []any) {
	return func(orgID, after string) (string, []any) { return store.AgentsQuery(orgID, &f, after, 50) }
}

// A list that is narrowed by one thing reads what it shows, however much the
// organization has.
func TestListsAreServedByIndexesInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, test := range lists {
		text, args := test.query(f.org.ID, newID())
		index := strings.Replace(test.index, "oidc_trust_policies_pkey", "sqlite_autoindex_oidc_trust_policies_1", 1)
		index = strings.Replace(index, "agents_pkey", "sqlite_autoindex_agents_1", 1)
		served, steps := false, store.Plan(t, f.DB, text, args...)
		for i, step := range steps {
			scanned := strings.Contains(step, "SCAN") && step != "SCAN p" // which is the page
			sorted := strings.Contains(step, "TEMP B-TREE") && test.index != expiring &&
				(test.index != never || i < len(steps)-1) // the last sorts the page
			if scanned || sorted {
				t.Errorf("%s\n%s", text, step)
			}
			served = served || indexed(step, index) && (strings.Contains(step, "id>?") || index == "agents_name" || index == expiring)
		}
		if !served {
			t.Errorf("%s\n%q, want %s", text, steps, test.index)
		}
	}
}

// PostgreSQL looks at how much there is, so there is much.
func TestListsAreServedByIndexesInPostgreSQL(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	const rows = "FROM generate_series(1, 20000) g"
	store.Exec(t, f.DB, `INSERT INTO oidc_trust_policies (organization_id, id, provider, repository, repository_folded, branch, tag, agent_id, repository_id,
			repository_owner_id, events, scopes, audiences, token_ttl_seconds, max_agents, agent_name_pattern, mode, expires_at, description, fingerprint,
			created_by, created_at, updated_at, revision)
		SELECT $1, 'x' || g, 'p' || g % 100, '', 'o/r' || g % 1000, '', '', CASE WHEN g % 100 = 0 THEN '' ELSE 'a' || g % 5000 END, '', '', '[]', '[]', '[]',
			0, 0, '', 'm' || g % 100, CASE WHEN g % 100 = 3 THEN g ELSE 0 END, '', g, '', 0, 0, 1 `+rows, f.org.ID)
	store.Exec(t, f.DB, "INSERT INTO policy_usage (organization_id, policy_id, last_matched_at, match_count) SELECT $1, 'x' || g, 0, g % 100 "+rows, f.org.ID)
	store.Exec(t, f.DB, `INSERT INTO agents (organization_id, id, name, name_folded, description, agent_type, version, capabilities, owner, deployment_env, labels,
			status, registered_by_subject, registered_by_policy_id, registered_by_provider, registered_by_repository, registered_by_repository_id,
			registered_by_ref, registered_by_run_id, created_at, updated_at, revision)
		SELECT $1, 'x' || g, '', 'n' || g, '', '', '', '[]', '', '', '{}', 's' || g % 100, '', 'p' || g % 1000, '', '', '', '', '', 0, 0, 1 `+rows, f.org.ID)
	store.Exec(t, f.DB, "ANALYZE")
	for _, test := range lists {
		text, args := test.query(f.org.ID, newID())
		plan := strings.Join(store.Strings(t, f.DB, "EXPLAIN "+text, args...), "\n")
		sorted := strings.Contains(plan, "Sort Key: oidc_trust_policies.id") && test.index != expiring || strings.Contains(plan, "Sort Key: id") && test.index != "agents_name" // of which there is one
		if !strings.Contains(plan, "using "+test.index+" ") && !strings.Contains(plan, "Bitmap Index Scan on "+test.index+" ") || sorted {
			t.Errorf("%s\n%s\nwant %s", text, plan, test.index)
		}
	}
}
