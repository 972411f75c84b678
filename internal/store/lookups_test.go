package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// manyRows are the tables that grow with agents, policies and exchanges, and a row for
// each g.
var manyRows = []struct{ table, row string }{
	{"agents", `(organization_id, id, name, name_folded, description, agent_type, version, capabilities, owner, deployment_env, labels, status,
			registered_by_subject, registered_by_policy_id, registered_by_provider, registered_by_repository, registered_by_repository_id, registered_by_ref,
			registered_by_run_id, created_at, updated_at, revision)
		SELECT $1, 'x' || g, 'n' || g, 'n' || g, '', '', '', '[]', '', '', '{}', 'active', '', 'p' || g % 5000, '', '', '', '', '', 0, 0, 1`},
	{"oidc_trust_policies", `(organization_id, id, provider, repository, repository_folded, branch, tag, agent_id, repository_id, repository_owner_id, events, scopes,
			audiences, token_ttl_seconds, max_agents, agent_name_pattern, mode, expires_at, description, fingerprint, created_by, created_at, updated_at, revision)
		SELECT $1, 'x' || g, 'github', 'o/r' || g, 'o/r' || g, '', '', 'x' || g, '', '', '[]', '[]', '[]', 0, 0, '', 'enforce', 0, '', g, '', 0, 0, 1`},
	{"policy_usage", "(organization_id, policy_id, last_matched_at, match_count) SELECT $1, 'x' || g, 0, g % 100"},
	{"pins", `(organization_id, provider, repository_folded, repository, repository_id, repository_owner_id, pinned_at)
		SELECT $1, 'github', 'o/r' || g, 'o/r' || g, g, '1', 0`},
	{"credentials", `(organization_id, id, agent_id, type, description, scopes, secret_hash, jwks, expires_at, revoked_at, created_by, created_at, revision)
		SELECT $1, 'x' || g, 'x' || g, 'secret', '', '', '', '', 0, 0, '', 0, 1`},
	{"used_tokens", "(organization_id, provider, replay_key, decision_id, expires_at) SELECT $1, 'github', 'x' || g, 'x' || g, 1000 + g"},
	{"access_tokens", `(organization_id, id, kind, subject, agent_id, policy_id, decision_id, provider, repository_id, scope, audience, issued_at, expires_at, revoked_at)
		SELECT $1, 'x' || g, 'agent', '', 'x' || g, 'x' || g, 'x' || g, 'github', '', '', '', 0, 1000 + g, 0`},
	{"decisions", `(organization_id, id, request_id, at, outcome, code, reason, provider, repository, repository_id, repository_owner_id, ref, event, run_id,
			agent_id, policy_id, token_id, checks)
		SELECT $1, 'x' || g, '', 0, 'allowed', '', '', '', '', '', '', '', '', '', '', '', '', '[]'`},
	{"events", `(organization_id, id, at, type, actor, agent_id, policy_id, token_id, decision_id, request_id, data)
		SELECT $1, 'x' || g, 0, 'token_issued', '', '', '', '', '', '', '{}'`},
}

// lookUps are what exchanges, grants, introspections and revocations ask of the database.
var lookUps = []struct {
	what string
	ask  func(ctx context.Context, db *store.DB, f *fixture) error
}{
	{"the candidates of a repository", func(ctx context.Context, db *store.DB, f *fixture) error {
		found, err := db.Candidates(ctx, f.org.ID, "github", "o/r7", "8")
		return some(len(found), err)
	}},
	{"their versions", func(ctx context.Context, db *store.DB, f *fixture) error {
		found, err := db.CandidateVersions(ctx, f.org.ID, "github", "o/r7", "8")
		return some(len(found), err)
	}},
	{"how many policies a repository has", func(ctx context.Context, db *store.DB, f *fixture) error {
		return some(db.CountPolicies(ctx, f.org.ID, "github", "o/r7"))
	}},
	{"a policy", asks((*store.DB).Policy)},
	{"an agent", asks((*store.DB).Agent)},
	{"an agent by its name", func(ctx context.Context, db *store.DB, f *fixture) error {
		_, err := db.AgentByName(ctx, f.org.ID, "N7")
		return err
	}},
	{"how many agents a policy has registered", func(ctx context.Context, db *store.DB, f *fixture) error {
		return some(db.CountLivingAgents(ctx, f.org.ID, "p7"))
	}},
	{"a credential", asks((*store.DB).Credential)},
	{"the revision of a credential", func(ctx context.Context, db *store.DB, f *fixture) error {
		_, err := db.CredentialRevision(ctx, f.org.ID, "x7")
		return err
	}},
	{"the living credentials of an agent", func(ctx context.Context, db *store.DB, f *fixture) error {
		return some(db.CountLiveCredentials(ctx, f.org.ID, "x7", now))
	}},
	{"a token", asks((*store.DB).Token)},
	{"what a token is worth", asks((*store.DB).Standing)},
	{"a decision", asks((*store.DB).Decision)},
	{"the decision that used a token", func(ctx context.Context, db *store.DB, f *fixture) error {
		_, err := db.DecisionThatUsed(ctx, f.org.ID, github, "x7")
		return err
	}},
	{"a pin", func(ctx context.Context, db *store.DB, f *fixture) error {
		_, err := db.Pin(ctx, f.org.ID, "github", "O/r7")
		return err
	}},
	{"an exchange", func(ctx context.Context, db *store.DB, f *fixture) error { return db.Issue(ctx, f.grant()) }},
	{"two hundred exchanges, in batches", func(ctx context.Context, db *store.DB, f *fixture) error {
		errs := make([]error, 200)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = db.Issue(ctx, f.grant()) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}},
	{"what is due to go", func(ctx context.Context, db *store.DB, f *fixture) error {
		removed, _, err := db.RemoveDue(ctx, f.org.ID, &store.Retention{
			UsedTokens: time.UnixMicro(1100), AccessTokens: time.UnixMicro(1100), Credentials: now, Claims: now, Refusals: now, Grants: now, Events: now,
		}, 10)
		return some(int(removed.UsedTokens*removed.AccessTokens), err)
	}},
	{"the end of a token", func(ctx context.Context, db *store.DB, f *fixture) error {
		return db.Write(ctx, func(tx *store.Tx) error { _, err := tx.RevokeToken(ctx, f.org.ID, "x900", now); return err })
	}},
	{"the end of a policy", func(ctx context.Context, db *store.DB, f *fixture) error {
		return db.Write(ctx, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, f.org.ID, "x900") })
	}},
}

// asks is a look-up by id.
func asks[T any](get func(db *store.DB, ctx context.Context, orgID, id string) (*T, error)) func(context.Context, *store.DB, *fixture) error {
	return func(ctx context.Context, db *store.DB, f *fixture) error {
		_, err := get(db, ctx, f.org.ID, "x7")
		return err
	}
}

// some is an error where nothing was found: then nothing was looked for either.
func some(n int, err error) error {
	if err == nil && n == 0 {
		return errors.New("found nothing")
	}
	return err
}

// What one look-up reads does not depend on how much there is. PostgreSQL counts by
// itself what it reads, so this needs no plan to be understood; it has counted the rows
// first, so that it does not take them for few.
func TestLookUpsReadWhatTheyFindInPostgreSQL(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t)
	f := newFixture(t, url)
	for _, many := range manyRows {
		store.Exec(t, f.DB, "INSERT INTO "+many.table+" "+many.row+" FROM generate_series(1, 6000) g", f.org.ID)
	}
	store.Exec(t, f.DB, "ANALYZE")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	before := readSoFar(t, conn)
	for _, look := range lookUps {
		db := open(t, url)
		if err := look.ask(t.Context(), db, f); err != nil {
			t.Errorf("%s: %v", look.what, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		after := readSoFar(t, conn)
		for _, many := range manyRows {
			was, is := before[many.table], after[many.table]
			if is.whole != was.whole {
				t.Errorf("%s: read all of %s", look.what, many.table)
			}
			if n := is.entries - was.entries; n > 2000 {
				t.Errorf("%s: read %d entries of the indexes of %s", look.what, n, many.table)
			}
		}
		before = after
	}
}

// reading is how often a table was read whole, and how much of its indexes.
type reading struct{ whole, entries int64 }

// readSoFar waits until the connections of the look-up before have told what they read,
// which they have when they are gone.
func readSoFar(t *testing.T, conn *pgx.Conn) map[string]reading {
	t.Helper()
	await(t, func() bool {
		var others int
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()").Scan(&others)
		if err != nil {
			t.Fatal(err)
		}
		return others == 0
	})
	rows, err := conn.Query(t.Context(), `SELECT relname, coalesce(seq_scan, 0),
		coalesce((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid), 0)::bigint FROM pg_stat_user_tables t`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]reading{}
	var table string
	var r reading
	_, err = pgx.ForEachRow(rows, []any{&table, &r.whole, &r.entries}, func() error {
		all[table] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// SQLite, which has no statistics here, decides by the text alone.
func TestLookUpsAreSearchesInSQLite(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "plan.db"))
	for _, query := range store.LookUpQueries(f.DB) {
		args := make([]any, max(strings.Count(query, "?"), strings.Count(query, "$")))
		for i := range args {
			args[i] = fmt.Sprint(i)
		}
		searched := false
		for _, step := range store.Plan(t, f.DB, query, args...) {
			words := strings.Fields(step)
			if words[0] == "SCAN" && words[1] != "CONSTANT" && !strings.HasSuffix(words[1], "-ROW") && !strings.Contains(step, "VALUES") {
				t.Errorf("reads a whole table: %s\n%s", step, query)
			}
			if strings.Contains(step, "(organization_id=?)") && !strings.Contains(step, "_organizations_") {
				t.Errorf("reads all of an organization: %s\n%s", step, query)
			}
			searched = searched || words[0] == "SEARCH"
		}
		if !searched {
			t.Errorf("is no search: %s", query)
		}
	}
}
