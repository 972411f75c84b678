package store_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

func TestCandidates(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		second := newPolicy(f.org.ID, "acme/deploy", "") // another spelling, same repository
		elsewhere := newPolicy(f.org.ID, "acme/elsewhere", "")
		unpinned := newPolicy(f.org.ID, "acme/unpinned", "")
		foreign := newPolicy(f.org.ID, "Acme/Deploy", "")
		foreign.Provider = "ghes"
		workload := newPolicy(f.org.ID, "", "")
		workload.Provider = "cluster"
		stray := newPolicy(f.org.ID, "", "") // of a provider whose callers have repositories: refused before it gets here
		for _, p := range []*agentidp.TrustPolicy{second, elsewhere, unpinned, foreign, workload, stray} {
			f.createPolicy(t, p)
		}
		for policy, id := range map[*agentidp.TrustPolicy]string{f.policy: "74", elsewhere: "99"} {
			g := f.grant()
			g.Policy, g.Pin.RepositoryID = policy, id
			if err := f.Issue(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		tests := []struct {
			name                 string
			provider, repository string
			id                   string
			want                 []*agentidp.TrustPolicy
		}{
			{"by name and id", "github", "Acme/Deploy", "74", []*agentidp.TrustPolicy{f.policy, second}},
			{"a name in another case", "github", "ACME/dEPLOY", "74", []*agentidp.TrustPolicy{f.policy, second}},
			{"a renamed repository is found by its pinned id", "github", "acme/new-name", "74", []*agentidp.TrustPolicy{f.policy, second}},
			{"a renamed repository that took a name with policies has both", "github", "acme/elsewhere", "74", []*agentidp.TrustPolicy{f.policy, second, elsewhere}},
			{"the name of a pinned repository with another id is still a candidate", "github", "acme/deploy", "1", []*agentidp.TrustPolicy{f.policy, second}},
			{"nobody has pinned it", "github", "acme/unpinned", "5", []*agentidp.TrustPolicy{unpinned}},
			{"a name that folds to it only in Unicode", "github", "acme/deploy\u017f", "5", nil},
			{"another provider has its own", "ghes", "acme/deploy", "74", []*agentidp.TrustPolicy{foreign}},
			{"no such repository", "github", "acme/nothing", "5", nil},
			{"callers without a repository", "cluster", "", "", []*agentidp.TrustPolicy{workload}},
			{"callers without a repository that send an id", "cluster", "", "74", []*agentidp.TrustPolicy{workload}},
			{"callers without a repository have their provider's policies alone", "ghes", "", "", nil},
			{"no id finds what is not pinned no more than what is", "github", "", "", []*agentidp.TrustPolicy{stray}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				got, err := f.Candidates(t.Context(), f.org.ID, test.provider, test.repository, test.id)
				if err != nil {
					t.Fatal(err)
				}
				same(t, policyIDs(got), policyIDsOf(test.want), nil)
				versions, err := f.CandidateVersions(t.Context(), f.org.ID, test.provider, test.repository, test.id)
				same(t, versions, versionsOf(got), err)
			})
		}
	})
}

// versionsOf is what CandidateVersions says of policies.
func versionsOf(policies []agentidp.TrustPolicy) []store.PolicyVersion {
	versions := []store.PolicyVersion{}
	for i := range policies {
		versions = append(versions, store.VersionOf(&policies[i]))
	}
	return versions
}

func TestPoliciesAreCounted(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		for _, repository := range []string{"", "", "ACME/deploy"} {
			p := newPolicy(f.org.ID, repository, "")
			f.createPolicy(t, p)
		}
		own := f.org.ID
		f.addOrganization(t, "other")
		for _, test := range []struct {
			org, provider, repository string
			want                      int
		}{{own, "github", "", 2}, {own, "github", "acme/DEPLOY", 2}, {own, "ghes", "", 0}, {f.org.ID, "github", "", 0}} {
			n, err := f.CountPolicies(t.Context(), test.org, test.provider, test.repository)
			same(t, n, test.want, err)
		}
	})
}

// A grant to a caller without a repository pins nothing, whatever it brings, and needs
// no pin.
func TestNothingIsPinnedWithoutARepository(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		workload := newPolicy(f.org.ID, "", f.agent.AgentID)
		f.createPolicy(t, workload)
		for range 2 {
			g := f.grant()
			g.Policy, g.Pin, g.PinEvent = workload, agentidp.Pin{PinnedAt: now}, nil
			if err := f.Issue(t.Context(), g); err != nil || !f.issued(t, g) {
				t.Fatal(err)
			}
		}
		got, err := f.Policy(t.Context(), f.org.ID, workload.ID)
		if err != nil || got.Pinned != nil {
			t.Errorf("pinned to %v, %v", got.Pinned, err)
		}
		if _, err := f.Pin(t.Context(), f.org.ID, "github", ""); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the pin of no repository: %v", err)
		}
	})
}

func TestCandidatesShowTheirPins(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
		got, err := f.Candidates(t.Context(), f.org.ID, "github", "acme/deploy", "74")
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		want := &agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65", PinnedAt: now}
		same(t, got[0].Pinned, want, nil)
		pin, err := f.Pin(t.Context(), f.org.ID, "github", "ACME/deploy")
		same(t, pin, want, err)
	})
}

// Without statistics SQLite guesses, and a wrong guess reads every policy of the
// organization on each exchange.
func TestCandidatesAreFoundThroughIndexesInSQLite(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, query := range store.CandidatesQueries {
		var searches []string
		for _, step := range store.Plan(t, f.DB, query, "o", "p", "r", "i") {
			if strings.Contains(step, "SCAN") {
				t.Errorf("reads a whole table: %s", step)
			}
			if strings.HasPrefix(step, "SEARCH") {
				searches = append(searches, step)
			}
		}
		for i, want := range []string{"p USING INDEX oidc_trust_policies_repository", "n USING", "n USING INDEX pins_repository_id", "p USING INDEX oidc_trust_policies_repository"} {
			if i >= len(searches) || !strings.Contains(searches[i], want) || strings.Count(searches[i], "=?") != 3 {
				t.Fatalf("step %d is not a search of %s by three columns: %q", i, want, searches)
			}
		}
	}
}

func policyIDs(policies []agentidp.TrustPolicy) []string {
	var ids []string
	for i := range policies {
		ids = append(ids, policies[i].ID)
	}
	return ids
}

func policyIDsOf(policies []*agentidp.TrustPolicy) []string {
	var ids []string
	for _, p := range policies {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	return ids
}
