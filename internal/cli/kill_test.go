package cli

import (
	"context"
	cryptorand "crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/failpoint"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

const (
	loadClients = 8
	loadAnswers = 2 * loadClients // at least, before each kill
	readyWithin = 2 * time.Second
	readyAtLast = 10 * time.Second
)

// engines are the databases that a process is killed on: what an installation needs for
// one, and how often it is killed in the long form and in the short one.
var engines = []struct {
	name        string
	settings    func(*testing.T) []string
	long, short int
}{
	{"SQLite", func(*testing.T) []string { return nil }, 50, 20},
	{"PostgreSQL", onPostgres, 50, 5},
}

// unprepared, behind a URL that has parameters already, has a test's own connection prepare
// no statements: there may be a pooler between.
const unprepared = "&default_query_exec_mode=exec"

// onPostgres are the settings of an installation on a new database of PostgreSQL.
func onPostgres(t *testing.T) []string {
	t.Helper()
	return onThis(pgtest.Start(t))
}

// onThis are the settings of an installation on a database of PostgreSQL.
func onThis(url string) []string {
	key := make([]byte, 32)
	_, _ = cryptorand.Read(key)
	return []string{"AGENTIDP_DATABASE_URL=" + url, "AGENTIDP_MASTER_KEY=" + base64.StdEncoding.EncodeToString(key)}
}

// often chooses between the long form of a fault (make faults) and the short one
// (make faults-short). Where faults are not what is asked for, five times have to do.
func often(most, short int) int {
	switch {
	case pace.Long():
		return most
	case !failpoint.Enabled:
		return min(short, 5)
	}
	return short
}

// the process is killed under load, again and again, and no answer that
// it gave turns out to be untrue; what it did without an answer is done whole. A kill is not a power cut: what it proves is that
// answers follow commits and that commits are whole; that commits reach the disk is
// for synchronous=FULL and SQLite's own tests.
func TestR01A098KilledUnderLoadNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			killedUnderLoad(t, newInstallation(t, engine.settings(t)...), often(engine.long, engine.short))
		})
	}
}

func killedUnderLoad(t *testing.T, i *installation, kills int) {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("AGENTIDP_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("AGENTIDP_TEST_SEED: %v", err)
		}
	}
	t.Logf("AGENTIDP_TEST_SEED=%d (what is written and when it ends; the scheduler's part cannot be repeated)", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	started := []time.Duration{i.start()}
	l := newLedger(i, i.program("admin", "token"))
	workers, doubts := l.crowd(seed), 0
	for round := range kills {
		since, grants, denied := time.Now(), len(l.grants), len(l.denied)
		l.underLoad(t, workers, time.Duration(50+rng.IntN(250))*time.Millisecond, i.kill)
		started = append(started, i.start())
		for _, w := range workers {
			if w.doubt != nil {
				doubts++
			}
			if err := w.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		err := errors.Join(l.check(t.Context(), since, l.grants[grants:], l.denied[denied:]), l.probe(t.Context(), sample(rng, l.grants, 10)))
		if err != nil {
			t.Fatalf("after kill %d: %v", round+1, err)
		}
	}
	if kills >= 20 { // chance decides what each worker does
		l.hasAllKinds(t)
	}
	l.finish(t)
	// The promise is for every start. The median is held to it, because any single one
	// may fall into a moment in which the machine does something else. The bound on the
	// slowest is generous for the same reason: it is to catch a start that hangs, on a
	// lock or a transaction until its time is up, and no machine that is only busy.
	slices.Sort(started)
	if median := started[len(started)/2]; median > readyWithin {
		t.Errorf("started and ready in %v: the median is over %v", started, readyWithin)
	}
	if slowest := started[len(started)-1]; slowest > readyAtLast {
		t.Errorf("started and ready in %v: the slowest is over %v", started, readyAtLast)
	}
	t.Logf("ready in %v (median), %v (slowest); %d writes answered: %v; %d were not, %d of them exchanges that were granted",
		started[len(started)/2], started[len(started)-1], l.total(), l.acknowledged, doubts, len(l.untold))
}

// crowd returns workers that write each something else.
func (l *ledger) crowd(seed uint64) []*worker {
	workers := make([]*worker, loadClients)
	for k := range workers {
		workers[k] = &worker{ledger: l, admin: l.admin, name: fmt.Sprintf("w%d", k), rng: rand.New(rand.NewPCG(seed, uint64(k+1)))}
	}
	return workers
}

// underLoad lets the workers write, and does something to the server in the midst of
// their requests, some time after it has given the first answers. It returns when each
// has had a request without an answer, or with one that says that it may not be done.
func (l *ledger) underLoad(t *testing.T, workers []*worker, after time.Duration, strike func()) {
	t.Helper()
	before := l.total()
	errs := make([]error, len(workers))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for k, w := range workers {
		wg.Go(func() { errs[k] = w.run(ctx) })
	}
	enough := func() bool { return l.total() >= before+loadAnswers }
	for deadline := time.Now().Add(time.Minute); !enough() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(after)
	strike()
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if !enough() {
		t.Fatalf("%d writes were answered in a minute", l.total()-before)
	}
}

// hasAllKinds asserts that writes of each kind were answered.
func (l *ledger) hasAllKinds(t *testing.T) {
	t.Helper()
	for _, op := range []string{
		"an agent registered", "an agent suspended", "a policy created", "a policy replaced", "a policy deleted",
		"a token granted", "an exchange refused", "a token revoked", "an agent's tokens revoked",
	} {
		if l.acknowledged[op] == 0 {
			t.Errorf("%s: never", op)
		}
	}
}

// finish holds the whole ledger against the server, and then the database against
// itself.
func (l *ledger) finish(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if err := l.check(ctx, time.Time{}, l.grants, l.denied); err != nil {
		t.Fatal(err)
	}
	for id, status := range l.agents { // so that no agent's status speaks before single use
		if status == agentidp.AgentSuspended {
			if _, err := l.admin.ReactivateAgent(ctx, id); err != nil {
				t.Fatal(err)
			}
			l.agents[id] = agentidp.AgentActive
		}
	}
	if err := l.probe(ctx, slices.Concat(l.grants, l.untold)); err != nil {
		t.Fatal(err)
	}
	if code := l.installation.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	l.audit(ctx, t)
}

// wholes are what one commit writes together: each query counts what is there
// without its other half.
var wholes = []struct{ name, query string }{
	{"grants without the record of their access token", `decisions d WHERE outcome = 'allowed' AND NOT EXISTS (SELECT 1 FROM access_tokens t WHERE t.id = d.token_id AND t.decision_id = d.id)`},
	{"access tokens without a grant", `access_tokens t WHERE kind <> 'admin' AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = t.decision_id AND outcome = 'allowed')`},
	{"grants whose subject token is not used up", `decisions d WHERE outcome = 'allowed' AND NOT EXISTS (SELECT 1 FROM used_tokens u WHERE u.decision_id = d.id)`},
	{"subject tokens used up for nothing", `used_tokens u WHERE NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = u.decision_id AND outcome = 'allowed')`},
	{"decisions without an event", `decisions d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.decision_id = d.id)`},
	{"events without their decision", `events e WHERE decision_id <> '' AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = e.decision_id)`},
	{"agents without an event", `agents a WHERE 1 <> (SELECT count(*) FROM events e WHERE e.agent_id = a.id AND type = 'agent_registered')`},
	{"policies whose last event is another", `oidc_trust_policies p WHERE revision <> (SELECT count(*) FROM events e WHERE e.policy_id = p.id AND type IN ('policy_created', 'policy_replaced'))`},
	{"policies that are there and deleted", `oidc_trust_policies p JOIN events e ON e.policy_id = p.id WHERE type = 'policy_deleted'`},
	{"policies gone without an event", `events c WHERE type = 'policy_created' AND NOT EXISTS (SELECT 1 FROM oidc_trust_policies p WHERE p.id = c.policy_id)
		AND 1 <> (SELECT count(*) FROM events e WHERE e.policy_id = c.policy_id AND type = 'policy_deleted')`},
	{"tokens revoked more or less often than the events say", `(SELECT 1) AS one WHERE (SELECT count(*) FROM access_tokens WHERE revoked_at > 0) <>
		(SELECT coalesce(sum(CASE type WHEN 'token_revoked' THEN 1 ELSE json_extract(data, '$.revoked') END), 0) FROM events WHERE type IN ('token_revoked', 'tokens_revoked'))`},
}

// audit reads the database that is left.
func (l *ledger) audit(ctx context.Context, t *testing.T) {
	t.Helper()
	count := l.installation.undamaged(ctx, t)
	if n, told := count("decisions WHERE outcome = 'allowed'"), len(l.grants)+len(l.untold); n != told {
		t.Errorf("%d grants, and clients know of %d", n, told)
	}
}

// postgres is the URL of the installation's database; empty where that is SQLite's.
func (i *installation) postgres() (url string) {
	for _, setting := range i.env {
		if u, ok := strings.CutPrefix(setting, "AGENTIDP_DATABASE_URL="); ok {
			url = u
		}
	}
	return url
}

// undamaged asserts that of an installation's database, on either engine.
func (i *installation) undamaged(ctx context.Context, t *testing.T) (count func(from string, args ...any) int) {
	t.Helper()
	if url := i.postgres(); url != "" {
		db, err := sql.Open("pgx", url+unprepared)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return whole(ctx, t, db, strings.NewReplacer("json_extract(data, '$.revoked')", "CAST(CAST(data AS jsonb)->>'revoked' AS BIGINT)"))
	}
	return undamaged(ctx, t, filepath.Join(i.data, "agentidp.db"))
}

// undamaged asserts that a database is undamaged and that nothing in it is half done, and
// returns what counts rows of it.
func undamaged(ctx context.Context, t *testing.T, file string) (count func(from string, args ...any) int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file://"+filepath.ToSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %s, %v", verdict, err)
	}
	return whole(ctx, t, db, strings.NewReplacer())
}

// whole asserts that nothing in a database is half done. words are the engine's own, in
// the place of SQLite's.
func whole(ctx context.Context, t *testing.T, db *sql.DB, words *strings.Replacer) (count func(from string, args ...any) int) {
	t.Helper()
	count = func(from string, args ...any) (n int) {
		if err := db.QueryRowContext(context.WithoutCancel(ctx), "SELECT count(*) FROM "+words.Replace(from), args...).Scan(&n); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		return n
	}
	for _, w := range wholes {
		if n := count(w.query); n != 0 {
			t.Errorf("%s: %d", w.name, n)
		}
	}
	return count
}
