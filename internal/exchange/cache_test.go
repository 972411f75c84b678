package exchange

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

func newDB(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // one test closes it itself
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func write(t *testing.T, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func newPolicy(org, id string) *agentidp.TrustPolicy {
	now := time.Now()
	p := &agentidp.TrustPolicy{ID: id, OrganizationID: org, CreatedAt: now, UpdatedAt: now, Revision: 1}
	p.Provider, p.Repository, p.Mode = "github", "acme/deploy", agentidp.ModeEnforce
	return p
}

func TestCandidatesAreReadOnceAndWhenAskedTo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	db, c := newDB(t), newCache(func() time.Time { return now })
	key := cacheKey{org: "a", provider: "github", repository: "acme/deploy", repositoryID: "74"}
	read := func(key cacheKey, mustRead bool, wantN int, wantFresh bool) {
		t.Helper()
		compiled, fresh, err := c.policies(t.Context(), db, key, nil, mustRead)
		if err != nil || len(compiled) != wantN || fresh != wantFresh {
			t.Errorf("%d policies, fresh %v, %v; want %d, fresh %v", len(compiled), fresh, err, wantN, wantFresh)
		}
	}
	read(key, false, 0, true)
	read(key, false, 0, true) // that there is none is not remembered: it would be for whoever asks
	if n := c.candidates.Len(); n != 0 {
		t.Errorf("%d entries for nothing", n)
	}
	write(t, db, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", "1"), "1") })
	read(key, false, 1, true)
	read(key, false, 1, false)
	write(t, db, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", "2"), "2") })
	read(key, false, 1, false) // stale, which the commit finds out
	read(key, true, 2, true)
	read(key, false, 2, false)
	write(t, db, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", "3"), "3") })
	now = now.Add(askAgain - 1)
	read(key, false, 2, false)
	now = now.Add(1)
	read(key, false, 3, true) // one that grants nothing, such as a shadow, no commit would find
	read(key, false, 3, false)
	now = now.Add(-time.Hour) // the clock was set
	read(key, false, 3, true)
	write(t, db, func(tx *store.Tx) error { return tx.DeletePolicy(t.Context(), "a", "3") })
	read(key, true, 2, true)
	other := key
	other.org = "b"
	read(other, false, 0, true)
	renamed := key
	renamed.repositoryID = "75"
	read(renamed, false, 2, true)
	for _, id := range []string{"1", "2"} {
		write(t, db, func(tx *store.Tx) error { return tx.DeletePolicy(t.Context(), "a", id) })
	}
	read(key, true, 0, true)
	read(key, false, 0, true) // forgotten
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.policies(t.Context(), db, key, nil, false); err == nil {
		t.Error("nothing known, no storage, and no error")
	}
	read(renamed, false, 2, false)
}

// While somebody looks for what changed and tells of it, it is not asked for each repository.
func TestCandidatesThatNobodyTellsOfAreNotAskedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	x := New(Config{DB: newDB(t), Clock: func() time.Time { return now }})
	key := cacheKey{org: "a", provider: "github", repository: "acme/deploy", repositoryID: "74"}
	add := func(id string) *agentidp.Event {
		t.Helper()
		write(t, x.DB, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", id), id) })
		return &agentidp.Event{OrganizationID: "a", Type: agentidp.EventPolicyCreated, PolicyID: id, Data: map[string]string{"repository": "acme/deploy"}}
	}
	look := func(told ...*agentidp.Event) {
		x.Follow(now, func() {
			for _, e := range told {
				x.Forget(e)
			}
		})
	}
	read := func(after time.Duration, wantN int, wantFresh bool) {
		t.Helper()
		now = now.Add(after)
		compiled, fresh, err := x.cache.policies(t.Context(), x.DB, key, nil, false)
		if err != nil || len(compiled) != wantN || fresh != wantFresh {
			t.Errorf("%d policies, fresh %v, %v; want %d, fresh %v", len(compiled), fresh, err, wantN, wantFresh)
		}
	}
	add("1")
	read(0, 1, true)
	now = now.Add(askAgain)
	look()
	read(0, 1, true) // it was read before anybody looked
	now = now.Add(askAgain)
	look()
	read(askAgain-1, 1, false)
	made := add("2")
	read(0, 1, false)
	look(made)
	read(0, 2, true) // told of
	read(askAgain-1, 2, false)
	read(1, 2, true) // nobody looked for a second
	for range 2 * askAnyway / askAgain {
		look()
		now = now.Add(askAgain / 2)
	}
	add("3")         // and nobody tells
	read(0, 3, true) // a minute later
	read(0, 3, false)

	// What was read while it was told of may be from before.
	looks := x.cache.looks.Load()
	known, _ := x.cache.candidates.Get(key)
	look(add("4"))
	x.cache.remember(key, known.policies, now, looks)
	now = now.Add(askAgain)
	look()
	read(0, 4, true)
}

// A refusal reads the versions of what it rests on, and the rows alone that have changed
// are compiled again.
func TestWhatHasNotChangedIsNotCompiledAgain(t *testing.T) {
	t.Parallel()
	db, c := newDB(t), newCache(time.Now)
	key := cacheKey{org: "a", provider: "github", repository: "acme/deploy", repositoryID: "74"}
	read := func() []*policy.Compiled {
		t.Helper()
		compiled, fresh, err := c.policies(t.Context(), db, key, nil, true)
		if err != nil || !fresh {
			t.Fatalf("fresh %v, %v", fresh, err)
		}
		return compiled
	}
	for _, id := range []string{"1", "2", "3"} {
		write(t, db, func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", id), id) })
	}
	first := read()
	if again := read(); !slices.Equal(again, first) {
		t.Error("nothing has changed, and it is not the same")
	}
	replaced := newPolicy("a", "2")
	replaced.Branch, replaced.Revision = "main", 2
	org := &agentidp.Organization{ID: "a", Slug: "a", Status: agentidp.OrganizationActive, Revision: 1}
	write(t, db, func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), org) })
	now := time.Now()
	for _, change := range []struct {
		name   string
		change func() error
		kept   []*policy.Compiled // those of first that are still there
		n      int
	}{
		{"one is replaced", func() error {
			return db.Write(t.Context(), func(tx *store.Tx) error { return tx.ReplacePolicy(t.Context(), replaced, "2b") })
		}, []*policy.Compiled{first[0], first[2]}, 3},
		{"one is deleted", func() error {
			return db.Write(t.Context(), func(tx *store.Tx) error { return tx.DeletePolicy(t.Context(), "a", "1") })
		}, []*policy.Compiled{first[2]}, 2},
		{"one is created", func() error {
			return db.Write(t.Context(), func(tx *store.Tx) error { return tx.CreatePolicy(t.Context(), newPolicy("a", "0"), "0") })
		}, []*policy.Compiled{first[2]}, 3},
		{"the repository is pinned", func() error {
			return db.Issue(t.Context(), &store.Grant{
				Organization: org, Provider: &agentidp.Provider{Name: "github"}, Policy: first[2].Policy, Pin: agentidp.Pin{RepositoryID: "74", RepositoryOwnerID: "65", PinnedAt: now},
				Token:    agentidp.AccessToken{ID: "t", OrganizationID: "a", Kind: agentidp.PrincipalBootstrap, IssuedAt: now, ExpiresAt: now.Add(time.Hour)},
				Decision: agentidp.Decision{ID: "d", OrganizationID: "a", At: now, Outcome: agentidp.OutcomeAllowed},
				PinEvent: &agentidp.Event{ID: "e", OrganizationID: "a", At: now, Type: agentidp.EventRepositoryPinned},
			})
		}, nil, 3},
	} {
		if err := change.change(); err != nil {
			t.Fatal(err)
		}
		now := read()
		kept := slices.DeleteFunc(slices.Clone(now), func(c *policy.Compiled) bool { return !slices.Contains(first, c) })
		if len(now) != change.n || !slices.Equal(kept, change.kept) {
			t.Errorf("%s: %d, of which %d are as they were", change.name, len(now), len(kept))
		}
	}
}

func TestAgentsAreReadOnceAndWhenAskedTo(t *testing.T) {
	t.Parallel()
	db, c := newDB(t), newCache(time.Now)
	read := func(org string, mustRead bool, want agentidp.AgentStatus, wantFresh bool) {
		t.Helper()
		agent, fresh, err := c.agent(t.Context(), db, org, "x", mustRead)
		status := agentidp.AgentStatus("")
		if agent != nil {
			status = agent.Status
		}
		if err != nil || status != want || fresh != wantFresh {
			t.Errorf("%q, fresh %v, %v; want %q, fresh %v", status, fresh, err, want, wantFresh)
		}
	}
	read("a", false, "", true)
	a := &agentidp.Agent{AgentID: "x", OrganizationID: "a", Status: agentidp.AgentActive, CreatedAt: time.Now(), UpdatedAt: time.Now(), Revision: 1}
	a.Name = "x@ci.acme.example"
	write(t, db, func(tx *store.Tx) error { return tx.CreateAgent(t.Context(), a) })
	read("a", false, agentidp.AgentActive, true)
	read("a", false, agentidp.AgentActive, false)
	read("b", false, "", true)
	a.Status, a.Revision = agentidp.AgentSuspended, 2
	write(t, db, func(tx *store.Tx) error { return tx.UpdateAgent(t.Context(), a) })
	read("a", false, agentidp.AgentActive, false) // stale, which the commit finds out
	read("a", true, agentidp.AgentSuspended, true)
	read("a", false, agentidp.AgentSuspended, false)
}

func TestProvidersAreReadOnceAndWhenAskedTo(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	x := New(Config{DB: db, Clock: time.Now, Providers: []*agentidp.Provider{{Name: "github", Issuer: "https://github.example"}}})
	const issuer = "https://ci.example"
	look := func(org, issuer string, afresh bool, wantRevision int64, wantRead bool) {
		t.Helper()
		p, read, err := x.provider(t.Context(), &agentidp.Organization{ID: org}, issuer, afresh)
		revision := int64(-1)
		if err == nil {
			revision = p.Revision
		}
		if revision != wantRevision || read != wantRead {
			t.Errorf("revision %d, read %v, %v; want %d, read %v", revision, read, err, wantRevision, wantRead)
		}
	}
	look("a", "https://github.example", false, 0, true) // never a row
	look("a", issuer, false, -1, false)
	if n := x.cache.providers.Len(); n != 0 {
		t.Errorf("%d entries for an issuer that nobody registered", n)
	}
	p := &agentidp.Provider{ID: "x", OrganizationID: "a", Name: "ci", Issuer: issuer, CreatedAt: time.Now(), Revision: 1}
	write(t, db, func(tx *store.Tx) error { return tx.CreateProvider(t.Context(), p) })
	look("a", issuer, false, 1, true) // seen at once
	look("a", issuer, false, 1, false)
	look("b", issuer, false, -1, false)
	seen, _, err := x.provider(t.Context(), &agentidp.Organization{ID: "a"}, issuer, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.compare(t.Context(), seen, false); err != nil {
		t.Errorf("as it was: %v", err)
	}
	p.Revision = 2
	write(t, db, func(tx *store.Tx) error { return tx.ReplaceProvider(t.Context(), p) })
	look("a", issuer, false, 1, false) // stale, which the commit finds out, or compare before a refusal
	if err := x.compare(t.Context(), seen, false); !errors.Is(err, store.ErrStale) {
		t.Errorf("changed since: %v", err)
	}
	look("a", issuer, false, 2, false)
	write(t, db, func(tx *store.Tx) error { return tx.DeleteProvider(t.Context(), p) })
	if err := x.compare(t.Context(), p, false); !errors.Is(err, store.ErrStale) {
		t.Errorf("deleted since: %v", err)
	}
	look("a", issuer, false, -1, false) // forgotten
	p.ID, p.Revision = "y", 2
	write(t, db, func(tx *store.Tx) error { return tx.CreateProvider(t.Context(), p) })
	if err := x.compare(t.Context(), &agentidp.Provider{ID: "x", OrganizationID: "a", Issuer: issuer, Revision: 2}, false); !errors.Is(err, store.ErrStale) {
		t.Errorf("made anew with the same revision: %v", err)
	}
}

// an agent is looked up only where a policy of the repository names it, so
// that what a stranger asks for costs the same whether there is such an agent or not.
func TestNobodyLooksForAnAgentThatNoPolicyNames(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	write(t, db, func(tx *store.Tx) error {
		p := newPolicy("a", "1")
		p.AgentID = "named"
		return tx.CreatePolicy(t.Context(), p, "1")
	})
	for _, id := range []string{"named", "unnamed"} {
		write(t, db, func(tx *store.Tx) error {
			a := &agentidp.Agent{AgentID: id, OrganizationID: "a", Status: agentidp.AgentActive, CreatedAt: time.Now(), UpdatedAt: time.Now(), Revision: 1}
			a.Name = id + "@ci.acme.example"
			return tx.CreateAgent(t.Context(), a)
		})
	}
	for _, r := range []struct {
		org, repository, agent string
		looked                 bool
	}{
		{"a", "acme/deploy", "named", true},
		{"a", "acme/deploy", "unnamed", false},
		{"a", "acme/deploy", "nobody", false},
		{"a", "acme/deploy", "", false},
		{"a", "mallory/deploy", "named", false},
		{"b", "acme/deploy", "named", false},
	} {
		for _, mustRead := range []bool{false, true} {
			x := New(Config{DB: db, Clock: time.Now})
			a := &attempt{Exchanger: x, org: &agentidp.Organization{ID: r.org}, provider: &agentidp.Provider{Name: "github"},
				claims: &agentidp.Claims{Repository: r.repository, RepositoryID: "74"}, request: &Request{AgentID: r.agent}}
			input, _, _, err := a.candidates(t.Context(), mustRead)
			if err != nil || (input.Agent != nil) != r.looked || x.cache.agents.Len() > 0 != r.looked {
				t.Errorf("%+v: agent %v, %d remembered, %v", r, input.Agent, x.cache.agents.Len(), err)
			}
		}
	}
}

// A repository may have many policies, and be another for each id that an issuer gives to
// its name.
func TestRememberedCandidatesAreBoundedBySize(t *testing.T) {
	t.Parallel()
	c := newCache(time.Now)
	long := newPolicy("a", "1")
	long.Condition = strings.Repeat("x", 2048)
	many := slices.Repeat([]*policy.Compiled{policy.Compile(long, nil)}, 4000) // 200 MB
	for i := range 50 {
		c.candidates.Put(cacheKey{org: "a", provider: "github", repository: "acme/deploy", repositoryID: strconv.Itoa(i)}, remembered{policies: many})
	}
	if n := c.candidates.Len(); n != 1 {
		t.Errorf("%d lists of candidates are kept, want 1", n)
	}
}
