//go:build failpoints

package cli

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/failpoint"
)

// Migrations of a version that is not there yet: two that add, as nearly all do, and one
// that older programs must not go on with.
var (
	expand = map[string]string{
		"90001_tables.sql": `ALTER TABLE organizations ADD COLUMN next BIGINT NOT NULL DEFAULT 0;
			ALTER TABLE oidc_trust_policies ADD COLUMN next TEXT NOT NULL DEFAULT 'before';
			ALTER TABLE access_tokens ADD COLUMN next TEXT NOT NULL DEFAULT '';
			ALTER TABLE decisions ADD COLUMN next TEXT NOT NULL DEFAULT '';
			CREATE TABLE nexts (organization_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (organization_id, id));`,
		"90002_indexes.sql": "CREATE INDEX IF NOT EXISTS decisions_next ON decisions (organization_id, next, id) WHERE next <> '';",
	}
	contract = map[string]string{
		"90003_contract.sql": "UPDATE organizations SET needs_schema = 90002, revision = revision + 1; ALTER TABLE oidc_trust_policies DROP COLUMN next;",
	}
)

// next returns the same installation with the program of the next version.
func (i *installation) next(folder string, migrations ...map[string]string) *installation {
	i.t.Helper()
	for _, files := range migrations {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				i.t.Fatal(err)
			}
		}
	}
	n := &installation{t: i.t, url: i.url, data: i.data, ci: i.ci, env: append(i.env[:len(i.env):len(i.env)], "MIGRATIONS="+folder)}
	n.connect()
	return n
}

// migrates runs agentidp migrate, and returns how it ended.
func (i *installation) migrates(points string) (*os.ProcessState, string) {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "points")
	if err := os.WriteFile(file, []byte(points), 0o600); err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.Command("agentidp", "migrate")
	cmd.Env = append(slices.Clone(i.env), failpoint.File+"="+file)
	out, _ := cmd.CombinedOutput() // how it ended says it
	return cmd.ProcessState, string(out)
}

// while the next version migrates, is killed in the midst of each migration and
// begins anew, and two do it at once, a server of the version before answers every request;
// it is started again on the new schema, and the next version finds all that it wrote.
// Where an older program would misread something, it is refused, and stops serving.
func TestR20UpgradesWhileServersOfTheVersionBeforeServe(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			old := newInstallation(t, engine.settings(t)...)
			old.start()
			folder := t.TempDir()
			next := old.next(folder, expand)
			l := newLedger(old, old.program("admin", "token"))
			ended := l.whileServing(t)
			for range often(5, 1) {
				for _, point := range []failpoint.Point{failpoint.BeforeMigration, failpoint.AfterMigration} {
					killed(t, next, string(point)+"=kill:1")
				}
			}
			killed(t, next, string(failpoint.AfterMigration)+"=kill:2") // the first is done
			killed(t, next, string(failpoint.BeforeMigration)+"=kill:1")
			atOnce(t, next)
			ended()

			if code := old.end(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			old.start()
			ended = l.whileServing(t)
			ended()
			if old.server.said("a newer agentidp has migrated the database, and this one can work with it") != 1 {
				t.Errorf("the start does not say that the schema is newer: %s", old.server.tail())
			}

			refusesWhatItWouldMisread(t, old, old.next(folder, contract))
			l.installation, l.admin = next, next.client(l.admin.Token)
			next.start()
			l.finish(t)
		})
	}
}

// whileServing has workers write until ended is called. None is refused anything.
func (l *ledger) whileServing(t *testing.T) (ended func()) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, w := range l.crowd(seed) {
		wg.Go(func() {
			w.name += "-" + agentidp.NewID(time.Now())
			for n := 0; n < often(30, 12) || !stop.Load(); n++ {
				op := w.next()
				if err := w.perform(t.Context(), op, false); err != nil {
					t.Errorf("%s: %v", op.name, err)
					return
				}
			}
		})
	}
	return func() { stop.Store(true); wg.Wait() }
}

// killed migrates and is killed where points say, each time with the schema of before or
// with one migration more.
func killed(t *testing.T, i *installation, points string) {
	t.Helper()
	state, out := i.migrates(points)
	if by, ok := state.Sys().(syscall.WaitStatus); !ok || by.Signal() != syscall.SIGKILL {
		t.Errorf("%s: it ended with %v: %s", points, state, out)
	}
}

// atOnce lets several programs migrate at the same time: all end well.
func atOnce(t *testing.T, i *installation) {
	t.Helper()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if state, out := i.migrates(""); !state.Success() || !strings.Contains(out, "version 90002") {
				t.Errorf("migrate ended with %v: %s", state, out)
			}
		})
	}
	wg.Wait()
}

// refusesWhatItWouldMisread migrates to what an older server must not go on with, while
// one runs: it grants nothing from then on, is not ready and does not start again.
func refusesWhatItWouldMisread(t *testing.T, old, next *installation) {
	t.Helper()
	if state, out := next.migrates(""); !state.Success() {
		t.Fatalf("migrate ended with %v: %s", state, out)
	}
	once := old.client("")
	once.MaxRetries = -1
	_, err := once.Exchange(t.Context(), client.ExchangeRequest{Token: old.subject("acme/deploy", "refs/heads/main"), AgentID: agentidp.NewID(time.Now())})
	if code, _ := refusal(err); code != agentidp.CodeTemporarilyUnavailable {
		t.Errorf("an exchange at an older server: %v, want 503", err)
	}
	if status := old.status("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("an older server's /readyz: %d", status)
	}
	if old.server.said("a newer agentidp wrote it; run that one") == 0 {
		t.Errorf("its log does not say why: %s", old.server.tail())
	}
	old.end(syscall.SIGTERM)
	old.doesNotStart("a newer agentidp wrote it; run that one")
}

// doesNotStart starts a server, which has to end by itself and say why.
func (i *installation) doesNotStart(why string) {
	i.t.Helper()
	cmd := i.command("serve")
	cmd.Env = i.env
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	tooLong := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer tooLong.Stop()
	_ = cmd.Wait() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code <= 0 || !strings.Contains(out.String(), why) {
		i.t.Errorf("it ended with exit code %d, want a refusal that says %q: %s", code, why, out.String())
	}
}
