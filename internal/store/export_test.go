package store

import (
	"context"
	"database/sql"
	"io/fs"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// CandidatesQueries are what Candidates and CandidateVersions run.
var CandidatesQueries = []string{wholeCandidates, candidateVersions}

// ProviderQuery is how Provider and ProviderByIssuer begin.
const ProviderQuery = providerQuery

// ChosenTokens is the condition of RevokeTokens, and RevokeBatch its limit.
const (
	ChosenTokens = chosenTokens
	RevokeBatch  = revokeBatch
)

// DecisionsQuery is what Decisions runs.
func DecisionsQuery(orgID string, f *agentidp.DecisionFilter, before string, limit int) (string, []any) {
	q := decisionsQuery(orgID, f, before, limit)
	return q.text, q.args
}

// EventsQuery is what Events runs.
func EventsQuery(orgID string, f *agentidp.EventFilter, before string, limit int) (string, []any) {
	q := eventsQuery(orgID, f, before, limit)
	return q.text, q.args
}

// PoliciesQuery is what Policies runs.
func PoliciesQuery(orgID string, f *agentidp.PolicyFilter, after string, limit int) (string, []any) {
	q := policiesQuery(orgID, f, after, limit)
	return q.text, q.args
}

// AgentsQuery is what Agents runs.
func AgentsQuery(orgID string, f *agentidp.AgentFilter, after string, limit int) (string, []any) {
	q := agentsQuery(orgID, f, after, limit)
	return q.text, q.args
}

// CredentialsQuery is what Credentials runs.
func CredentialsQuery(orgID, agentID, after string, limit int) (string, []any) {
	q := credentialsQuery(orgID, agentID, after, limit)
	return q.text, q.args
}

// What KeyCredentials, KeyCredentialVersions and ForgetEnded run.
const (
	KeyCredentialsQuery        = keyCredentials
	KeyCredentialVersionsQuery = keyCredentialVersions
	SuperfluousQuery           = superfluous
)

// OldestQuery is what RemoveDue runs on decisions, claims and events.
func OldestQuery(table, which string) (choose, remove string) { return oldestQuery(table, which) }

// ClaimsOfQuery is what it runs before it removes decisions.
func ClaimsOfQuery(which string) string { return claimsOfQuery(which) }

// EndedCredentials are how RemoveDue chooses credentials.
var EndedCredentials = map[string]string{"credentials_revoked": revokedCredentials, "credentials_expiring": expiredCredentials}

// NextVersion makes of a DB that of a program which knows further migrations.
func NextVersion(db *DB, files fs.FS) {
	db.schema = append(slices.Clone(db.schema), readMigrations(files)...)
}

// HoldCommitter keeps the committer from beginning a transaction until release
// is called, so that a test decides which members share a batch.
func HoldCommitter(t testing.TB, db *DB) (release func()) {
	t.Helper()
	conn, err := db.commit.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ForgetPrepared makes the server forget what one connection of each pool has prepared.
func ForgetPrepared(t testing.TB, db *DB) {
	t.Helper()
	for _, p := range []*pool{db.commit, db.write, db.read} {
		if _, err := p.ExecContext(t.Context(), "DEALLOCATE ALL"); err != nil {
			t.Fatal(err)
		}
	}
}

// SetBatchTimeout shortens the time that a batch may take. Call it before Issue.
func SetBatchTimeout(db *DB, d time.Duration) { db.committer.timeout = d }

// Deadlocks has batches wait for locks as long as it takes, and counts how often the engine
// found that two of them wait for each other. Call it before Issue.
func Deadlocks(db *DB) *atomic.Int64 {
	var found atomic.Int64
	d := *db.dialect
	d.beginBatch = ""
	d.retryable = func(err error) bool {
		if sqlState(err) == "40P01" {
			found.Add(1)
		}
		return postgresDialect.retryable(err)
	}
	db.dialect = &d
	return &found
}

// Losses returns how often all connections to PostgreSQL were in doubt.
func Losses(db *DB) int64 { return db.line.loss.Load() }

// Queued returns how many members wait for a batch.
func Queued(db *DB) int { return len(db.committer.queue) }

// FitVersion is what is thought of a server that says so of itself.
var FitVersion = fitVersion

// HoldTable reads a table in a transaction that lasts until release is called.
func HoldTable(t testing.TB, db *DB, table string) (release func()) {
	t.Helper()
	tx, err := db.read.BeginTx(t.Context(), nil)
	if err == nil {
		_, err = tx.ExecContext(t.Context(), "SELECT count(*) FROM "+table)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = tx.Rollback() }
}

// Exec runs SQL of a test's own, on the connection that writes.
func Exec(t testing.TB, db *DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.write.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// Strings returns the first column of a query of a test's own.
func Strings(t testing.TB, db *DB, query string, args ...any) []string {
	t.Helper()
	all, err := list(t.Context(), db.reads, "test", scanValue[string], query, args...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Plan returns how SQLite would run a query.
func Plan(t testing.TB, db *DB, query string, args ...any) []string {
	t.Helper()
	scan := func(rows *sql.Rows, detail *string) error {
		var id, parent, unused int
		return rows.Scan(&id, &parent, &unused, detail)
	}
	steps, err := list(t.Context(), db.reads, "plan", scan, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// PastQuery is what Recorded runs, for each of what a past is led by.
func PastQuery(orgID string, p *Past, column, value, before string) (string, []any) {
	q := pastQuery(orgID, p, [2]string{column, value}, before)
	return q.text, q.args
}

// Unverified returns the hosts of a database URL that may be anybody's.
func Unverified(url string) ([]string, error) {
	u, err := newUpstream(url)
	if err != nil {
		return nil, err
	}
	return u.unverified(), nil
}

// Changing says whether nodes are told of events of a type.
func Changing(typ agentidp.EventType) bool { return changing[typ] }

// LookUpQueries are what each batch and what introspections compare, and what they begin
// with.
func LookUpQueries(db *DB) []string {
	c := newChecks(db.dialect)
	queries := []string{
		agentQuery + "id = $2", agentQuery + "name_folded = $2", policyQuery,
		"SELECT " + tokenColumns + " FROM access_tokens WHERE organization_id = $1 AND id = $2",
	}
	for kind := range c.locked {
		queries = append(append(queries, c.locked[kind][:]...), c.plain[kind][:]...)
	}
	return append(queries, c.pins[:]...)
}

// ContentTables are the tables whose rows another database takes over.
var ContentTables = contentTables

// Columns returns the columns of a table, and their types as the engine calls them.
func Columns(t testing.TB, db *DB, table string) (names, kinds []string) {
	t.Helper()
	rows, err := db.read.DB.QueryContext(t.Context(), "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range types {
		names, kinds = append(names, c.Name()), append(kinds, c.DatabaseTypeName())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names, kinds
}
