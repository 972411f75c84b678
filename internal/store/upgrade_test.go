package store_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// next are the migrations of a version that is not there yet. They do to the tables that
// every exchange uses, and to those that are administered, all that a migration may do.
var next = fstest.MapFS{
	"90001_tables.sql": {Data: []byte(`-- +goose Up
ALTER TABLE organizations ADD COLUMN next BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oidc_trust_policies ADD COLUMN next TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN next TEXT NOT NULL DEFAULT '';
ALTER TABLE used_tokens ADD COLUMN next TEXT NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN next TEXT NOT NULL DEFAULT '';
ALTER TABLE decisions ADD COLUMN next TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN next TEXT NOT NULL DEFAULT '';
CREATE TABLE nexts (organization_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (organization_id, id));
`)},
	"90002_indexes.sql": {Data: []byte(`-- +goose Up
CREATE INDEX IF NOT EXISTS oidc_trust_policies_next ON oidc_trust_policies (organization_id, next, id);
CREATE INDEX IF NOT EXISTS decisions_next ON decisions (organization_id, next, id) WHERE next <> '';
`)},
}

// nextVersion is the database of a fixture as a program of the next version has it.
func nextVersion(t *testing.T, f *fixture) *store.DB {
	t.Helper()
	db := open(t, f.url)
	store.NextVersion(db, next)
	return db
}

// whileIssuing runs something while others are granted tokens all the time, by a program
// that knows nothing of it: each of them is.
func whileIssuing(t *testing.T, f *fixture, do func()) {
	t.Helper()
	var granted, failed atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() && failed.Load() == 0 {
				if err := f.Issue(t.Context(), f.grant()); err != nil {
					failed.Add(1)
					t.Errorf("a grant meanwhile: %v", err)
				}
				granted.Add(1)
			}
		})
	}
	more := func() {
		from := granted.Load()
		pace.Eventually(t, "tokens are granted", func() bool { return granted.Load() > from+8 || failed.Load() > 0 })
	}
	more()
	do()
	more()
	stop.Store(true)
	wg.Wait()
}

// servers of the version before grant every token while the next one migrates and
// afterwards, and start again. What the next one writes is there when it comes back,
// whatever they do to the same rows.
func TestServersGoOnWhileTheNextVersionMigrates(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		after := nextVersion(t, f)
		whileIssuing(t, f, func() {
			if err := after.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
		store.Exec(t, after, "UPDATE oidc_trust_policies SET next = 'kept' WHERE organization_id = $1", f.org.ID)
		store.Exec(t, after, "UPDATE agents SET next = 'kept' WHERE organization_id = $1", f.org.ID)

		before := *f
		before.DB = open(t, f.url)
		if err := before.Migrate(t.Context()); err != nil {
			t.Fatalf("the version before, started again: %v", err)
		}
		policy, agent := *f.policy, *f.agent
		policy.Description, policy.Revision = "changed", policy.Revision+1
		agent.Description, agent.Revision = "changed", agent.Revision+1
		before.write(t, func(tx *store.Tx) error {
			return errors.Join(tx.ReplacePolicy(t.Context(), &policy, "another"), tx.UpdateAgent(t.Context(), &agent))
		})
		before.policy, before.agent = &policy, &agent
		if err := before.Issue(t.Context(), before.grant()); err != nil {
			t.Error(err)
		}
		before.createPolicy(t, newPolicy(f.org.ID, "acme/another", agent.AgentID))

		if err := after.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		got := store.Strings(t, after, "SELECT description || ' ' || next FROM oidc_trust_policies WHERE organization_id = $1 UNION ALL SELECT description || ' ' || next FROM agents WHERE organization_id = $1", f.org.ID)
		if text := strings.Join(got, ", "); strings.Count(text, "changed kept") != 2 || len(got) != 3 {
			t.Errorf("%q, want what each version wrote", got)
		}
	})
}

// Somebody reads a table for long (pg_dump, a session that was left open), and a migration
// has to wait for that: nobody else has to.
func TestAMigrationThatWaitsForATableHoldsNobodyUp(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	release := store.HoldTable(t, f.DB, "decisions")
	done := make(chan error, 1)
	whileIssuing(t, f, func() {
		go func() { done <- nextVersion(t, f).Migrate(t.Context()) }()
		for _, waits := range []int{1, 0, 1, 0} { // it gives up, and comes again
			pace.Eventually(t, "the migration waits, and gives up", func() bool {
				return t.Failed() || len(store.Strings(t, f.DB, "SELECT 'x' FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'decisions'::regclass")) == waits
			})
		}
	})
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A schema that is newer is used as long as this program misreads nothing of it. What it
// would misread stops its start, and, where it runs, its grants: from that commit on.
func TestANewerSchemaIsUsedWhereItIsUnderstood(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		store.Exec(t, f.DB, "INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, $2)", 9999, true)
		needs := func(version int64) {
			store.Exec(t, f.DB, "UPDATE organizations SET needs_schema = $1, revision = revision + 1 WHERE organization_id = $2", version, f.org.ID)
		}
		needs(store.LatestSchema())
		org, err := f.Organization(ctx, f.org.Slug)
		if err := errors.Join(err, f.Migrate(ctx), f.Understood(ctx)); err != nil {
			t.Errorf("one that needs what this program knows: %v", err)
		}
		f.org = org
		if err := f.Issue(ctx, f.grant()); err != nil {
			t.Error(err)
		}

		needs(store.LatestSchema() + 1)
		if err := f.Issue(ctx, f.grant()); !errors.Is(err, store.ErrStale) {
			t.Errorf("a grant by what was read before: %v, want ErrStale", err)
		}
		refused := func(what string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "a newer agentidp wrote it; run that one") {
				t.Errorf("%s: %v, want that a newer program is needed", what, err)
			}
		}
		_, err = f.Organization(ctx, f.org.Slug)
		refused("reading it", err)
		_, err = f.Organizations(ctx)
		refused("reading all", err)
		refused("changing it", f.Write(ctx, func(tx *store.Tx) error { _, err := tx.LockOrganization(ctx, f.org.ID); return err }))
		refused("a command beside it", f.Understood(ctx))
		refused("a start", f.Migrate(ctx))
		f.addOrganization(t, "another")
		if _, err := f.Organization(ctx, "another"); err != nil {
			t.Errorf("one that needs nothing: %v", err)
		}
	})
}
