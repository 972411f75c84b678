package registry_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// history is a registry whose organization has policies of one repository, and exchanges
// of the past with it.
type history struct {
	*registry.Registry
	org *agentidp.Organization
	now time.Time
}

func newHistory(t testing.TB, policies int) *history {
	t.Helper()
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	h := &history{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return h.now }
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Registry = registry.New(registry.Config{
		DB: db, Kinds: kinds, Providers: []*agentidp.Provider{providers.GitHub(kinds["github"], "")}, PublicURL: "https://idp.example",
		Verifier: verify.New(verify.Config{Kinds: kinds, Clock: clock}), KeepClaims: 30 * 24 * time.Hour, Clock: clock,
	})
	t.Cleanup(h.Verifier.Close)
	h.org = &agentidp.Organization{ID: agentidp.NewID(h.now), Slug: "acme", Name: "Acme", Status: agentidp.OrganizationActive, Revision: 1, CreatedAt: h.now}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		if err := tx.CreateOrganization(t.Context(), h.org); err != nil {
			return err
		}
		for i := range policies {
			p := &agentidp.TrustPolicy{
				ID: agentidp.NewID(h.now), OrganizationID: h.org.ID, CreatedAt: h.now, UpdatedAt: h.now, Revision: 1,
				TrustPolicySpec: agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: fmt.Sprint("release-", i), Events: []string{"push"}, Mode: agentidp.ModeEnforce},
			}
			if err := tx.CreatePolicy(t.Context(), p, p.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// happened records so many exchanges, the i-th of which was of the i-th branch.
func (h *history) happened(t testing.TB, n int, branch func(i int) string) {
	t.Helper()
	queue := make(chan int)
	done := make(chan error)
	for range 64 { // who wait together share a commit
		go func() {
			for i := range queue {
				at, ref := h.now.Add(time.Duration(i-n)*time.Second), "refs/heads/"+branch(i)
				claims, err := json.Marshal(map[string]string{
					"repository": "acme/deploy", "repository_id": "74", "repository_owner": "acme", "repository_owner_id": "65", "repository_visibility": "private",
					"ref": ref, "ref_type": "branch", "ref_protected": "true", "event_name": "push", "sha": "0123456789abcdef0123456789abcdef01234567", "run_id": fmt.Sprint(i),
					"run_attempt": "1", "workflow_ref": "acme/deploy/.github/workflows/deploy.yml@" + ref, "job_workflow_ref": "acme/deploy/.github/workflows/deploy.yml@" + ref,
					"runner_environment": "github-hosted",
				})
				if err == nil {
					err = h.DB.Record(t.Context(), &agentidp.Decision{
						ID: agentidp.NewID(at), OrganizationID: h.org.ID, At: at, Outcome: agentidp.OutcomeDenied, Code: agentidp.CodeBranchNotPermitted,
						Provider: "github", Repository: "acme/deploy", RepositoryID: "74", RepositoryOwnerID: "65", Ref: ref, Event: "push", Claims: claims,
					})
				}
				done <- err
			}
		}()
	}
	go func() {
		for i := range n {
			queue <- i
		}
		close(queue)
	}()
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func draft(branch string) *agentidp.TrustPolicySpec {
	return &agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: branch}
}

// Ten examples say more than a hundred of one kind.
func TestExamplesOfABacktestAreTheNewestAndNoTwoAlike(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.happened(t, 60, func(i int) string { return fmt.Sprint("b", i%12) })
	b, err := h.Backtest(t.Context(), h.org, "", &agentidp.BacktestRequest{Policy: draft("")})
	if err != nil || b.NewlyAllowed.Count != 60 || b.Replayed != 60 || b.Granted != 60 {
		t.Fatalf("%+v, %v", b, err)
	}
	var refs, want []string
	for _, e := range b.NewlyAllowed.Examples {
		refs = append(refs, e.Ref)
	}
	for i := range 10 {
		want = append(want, fmt.Sprint("refs/heads/b", 11-i))
	}
	if !slices.Equal(refs, want) {
		t.Errorf("the examples are of %v, want %v", refs, want)
	}
	if first := h.now.Add(-60 * time.Second); !b.From.Equal(first) || !b.Until.Equal(h.now.Add(-time.Second)) {
		t.Errorf("from %v until %v", b.From, b.Until)
	}
}

func TestABacktestReplaysAsManyAsItIsAskedTo(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 0)
	h.happened(t, 1010, func(int) string { return "main" })
	for _, test := range []struct {
		limit int
		since time.Duration // ago
		want  int
	}{{0, 0, 1000}, {1, 0, 1}, {1010, 0, 1010}, {5000, 0, 1010}, {5000, 10 * time.Second, 10}} {
		req := &agentidp.BacktestRequest{Policy: draft("main"), Limit: test.limit}
		if test.since > 0 {
			req.Since = h.now.Add(-test.since)
		}
		b, err := h.Backtest(t.Context(), h.org, "", req)
		if err != nil || b.Replayed != test.want {
			t.Errorf("limit %d since %s: %+v, %v", test.limit, test.since, b, err)
		}
	}
	for _, limit := range []int{-1, 5001} {
		if _, err := h.Backtest(t.Context(), h.org, "", &agentidp.BacktestRequest{Policy: draft("main"), Limit: limit}); agentidp.AsError(err).Kind != agentidp.Invalid {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// Thousands of exchanges held against thousands of policies take longer than anybody waits.
func TestABacktestEndsInTime(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	h.happened(t, 10, func(int) string { return "main" })
	h.ReplayTime = 1
	b, err := h.Backtest(t.Context(), h.org, "", &agentidp.BacktestRequest{Policy: draft("main")})
	told := func(note string) bool {
		return strings.HasPrefix(note, "Only the newest 1 of 10 exchanges were replayed")
	}
	if err != nil || b.Replayed != 1 || !slices.ContainsFunc(b.Notes, told) {
		t.Errorf("%+v, %v", b, err)
	}
}

// BenchmarkBacktest replays as much as one back-test may, against the hundred policies of
// a repository.
func BenchmarkBacktest(b *testing.B) {
	h := newHistory(b, 100)
	h.happened(b, 5000, func(i int) string { return fmt.Sprint("b", i) })
	for b.Loop() {
		got, err := h.Backtest(b.Context(), h.org, "", &agentidp.BacktestRequest{Policy: draft("main"), Limit: 5000})
		if err != nil || got.Replayed != 5000 {
			b.Fatalf("%+v, %v", got, err)
		}
	}
}
