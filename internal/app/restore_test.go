package app

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

var quiet = slog.New(slog.DiscardHandler)

// backup copies the database of the running server.
func (w *world) backup() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "backup.db")
	if _, err := Backup(w.t.Context(), w.app.cfg, quiet, file, false); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// restored ends the server, restores a backup, and starts the server again.
func (w *world) restored(file string) *Restored {
	w.t.Helper()
	w.stop()
	out, err := Restore(w.t.Context(), w.app.cfg, quiet, file, true)
	if err != nil {
		w.t.Fatal(err)
	}
	w.restart()
	return out
}

// of what happened after the backup nothing is known, and nothing of it works
// twice.
func TestAfterARestoreNothingOfBeforeIsTakenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	revoked := w.granted(exchangeBody(w.subject(nil), agent)).str("access_token")
	file := w.backup()

	ahead := w.clock.Now().Add(verify.Skew - 10*time.Second) // the issuer's clock, if it is as wrong as it may be
	used := map[string]string{
		"a subject token that was exchanged after the backup": w.subject(nil),
		"one of an issuer whose clock is ahead":               w.subject(claims{"iat": ahead.Unix(), "nbf": ahead.Unix(), "exp": ahead.Add(50 * time.Minute).Unix()}),
		"one that was not exchanged":                          "",
	}
	lost := ""
	for name, token := range used {
		if token != "" {
			lost = w.granted(exchangeBody(token, agent)).str("access_token")
		} else {
			used[name] = w.subject(nil)
		}
	}
	w.want(w.do("POST", "/api/v1/tokens/revoke", admin, map[string]any{"agentId": agent}), 200)
	w.register(admin, "later@ci.acme.example")
	out := w.restored(file)
	if len(out.Organizations) != 1 || out.Organizations[0].Ended != 2 { // the administrator's and the agent's
		t.Errorf("%+v", out.Organizations)
	}

	for name, token := range map[string]string{"an administrator's": admin, "one that was revoked after the backup": revoked, "one that was issued after the backup": lost} {
		w.inactive(name, w.introspect("", token))
		if a := w.do("GET", agentsPath, token, nil); a.Status != 401 {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	admin = w.admin()
	if a := w.want(w.do("GET", agentsPath+"?name=later@ci.acme.example", admin, nil), 200); strings.Contains(string(a.Raw), "later@") {
		t.Errorf("an agent of after the backup is there: %s", a.Raw)
	}
	restored := w.want(w.do("GET", "/api/v1/audit/events?type=database_restored", admin, nil), 200)
	if !strings.Contains(string(restored.Raw), `"actor":"operator"`) {
		t.Errorf("no event says so: %s", restored.Raw)
	}

	// Within the minute by which the issuer's clock may be ahead, a fresh token cannot be
	// told from an old one.
	w.clock.advance(time.Until(out.At) + 5*time.Second)
	fresh := w.subject(nil)
	a := w.want(w.exchange(exchangeBody(fresh, agent)), 503, agentidp.CodeTemporarilyUnavailable)
	if a.Header.Get("Retry-After") == "" || !strings.Contains(a.str("detail"), "restored from a backup") {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	w.clock.advance(verify.Skew)
	used["one of the first minute"] = fresh
	for name, token := range used {
		a := w.want(w.exchange(exchangeBody(token, agent)), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenTooOld)
		if !strings.Contains(a.str("detail"), "This server was restored from a backup at "+out.At.Format(time.RFC3339)) {
			t.Errorf("%s: %s", name, a.Raw)
		}
		if d := w.decision(a.str("decision_id")); d.Reason != agentidp.ReasonTokenTooOld || len(d.Checks) != 1 || d.Checks[0].Expected != "later than the restore, "+out.At.Add(verify.Skew).UTC().Format(time.RFC3339) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	w.granted(exchangeBody(w.subject(nil), agent))
}

// A database that was put back by other means is marked, while servers run.
func TestEveryNodeHonoursTheMark(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		w.clock.freeze()
		agent := w.agentWithPolicy(w.admin())
		acme := w.tenant("acme")
		acmeAdmin := acme.admin()
		access := make([]string, len(nodes))
		before := make([]string, len(nodes))
		for i, node := range nodes {
			access[i] = node.granted(exchangeBody(w.subject(nil), agent)).str("access_token")
			before[i] = w.subject(nil)
		}
		w.clock.advance(time.Second)
		var out *Restored
		err := Beside(t.Context(), w.app.cfg, quiet, func(a *App) (err error) {
			a.clock = w.clock.Now
			out, err = a.MarkRestored(t.Context())
			return err
		})
		if err != nil || len(out.Organizations) != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		for i, node := range nodes {
			node.want(node.exchange(exchangeBody(before[i], agent)), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenTooOld)
			node.inactive("of before", node.introspect("", access[i]))
			there := node.under("acme")
			there.want(there.do("GET", agentsPath, acmeAdmin, nil), 401, agentidp.CodeInvalidToken)
		}
		w.clock.advance(verify.Skew + 2*time.Second)
		for _, node := range nodes {
			node.granted(exchangeBody(w.subject(nil), agent))
		}
	})
}

// Whatever is wrong is said before anything is replaced.
func TestRestoresThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agentWithPolicy(w.admin())
	file := w.backup()
	cfg := w.app.cfg
	_, err := Restore(t.Context(), cfg, quiet, file, true)
	if err == nil || !strings.Contains(err.Error(), "a server uses "+cfg.DataDir+"; stop it first") {
		t.Errorf("with a running server: %v", err)
	}
	w.stop()
	database := strings.TrimPrefix(cfg.DatabaseURL, "sqlite:")
	write := func(path string, content []byte) string {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) []byte {
		t.Helper()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	whole := read(file)
	logged := write(filepath.Join(t.TempDir(), "live.db"), whole)
	write(logged+"-wal", []byte("log"))
	other := newWorld(t)
	foreign := other.backup()
	unsealed := filepath.Join(t.TempDir(), "unsealed.db")
	db, err := store.Open(t.Context(), "sqlite:"+unsealed, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	noKey := cfg
	noKey.MasterKeyFile = filepath.Join(t.TempDir(), "none")
	before := listing(t, cfg.DataDir)
	was := read(database)
	for _, test := range []struct {
		name, file string
		force, key bool
		want       string
	}{
		{"a database is there", file, false, true, "there is a database already: " + database + "; give --force to replace it"},
		{"it is the database itself", database, true, true, "is the database itself; to mark it as restored run: agentidp restore --mark"},
		{"there is no such file", file + "x", true, true, "there is no such file. Nothing was changed"},
		{"half of a file", write(filepath.Join(t.TempDir(), "half"), whole[:len(whole)/2]), true, true, "it is damaged"},
		{"a plain copy of a database in use", logged, true, true, "has a write-ahead log beside it"},
		{"sealed by another key", foreign, true, true, "nothing was changed: master key: the key from " + cfg.MasterKeyFile + " is not the one that sealed this database"},
		{"no master key", file, true, false, "nothing was changed: master key: this database is sealed, and there is no key"},
		{"no server was started on it", unsealed, true, true, "nothing was changed: read the server's public URL"},
	} {
		c := cfg
		c.PublicURL = ""
		if !test.key {
			c = noKey
		}
		out, err := Restore(t.Context(), c, quiet, test.file, test.force)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %q", test.name, out, err, test.want)
		}
		if after := listing(t, cfg.DataDir); after != before || string(read(database)) != string(was) {
			t.Errorf("%s: the folder was\n%s\nand is\n%s", test.name, before, after)
		}
	}
	open := cfg
	open.DataDir = t.TempDir()
	if err := os.Chmod(open.DataDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), open, quiet, file, true); err == nil || !strings.HasPrefix(err.Error(), "data-dir (AGENTIDP_DATA_DIR): "+open.DataDir+" can be written by others") {
		t.Errorf("a folder that others can write to: %v", err)
	}
	if got := read(file); string(got) != string(whole) {
		t.Error("the backup was changed")
	}
}

// a server does not begin anew by itself where its database is lost or damaged or
// another than it was, and says how it goes on.
func TestR06ALostDatabaseStopsTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	young := w.backup()
	w.restart() // the next mark
	file := w.backup()
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	database := strings.TrimPrefix(cfg.DatabaseURL, "sqlite:")
	logless := readAll(t, database)
	w.stop()
	whole := readAll(t, file)
	pages := len(whole) / 4096
	const (
		lost    = "a server ran here before, and its database %s is missing or empty; put it back, or restore a backup: agentidp restore --force FILE"
		damaged = "the database is damaged; keep its files as they are, and restore the latest backup (agentidp restore --force FILE)"
		older   = "the database %s is an older state than the one that a server last used here: an old copy, or one that has lost its log"
	)
	const newer = "a newer agentidp wrote it; run that one"
	doctorSays := map[string]string{damaged: "is damaged", newer: "use the agentidp that the server runs"} // else what the start says
	for _, test := range []struct {
		name, want string
		content    []byte
	}{
		{"emptied", lost, []byte{}},
		{"gone", lost, nil},
		{"cut in its first page", damaged, whole[:1000]},
		{"cut off after three pages", damaged, whole[:3*4096]},
		{"cut in the middle", damaged, whole[:pages/2*4096]},
		{"cut off by one page", damaged, whole[:(pages-1)*4096]},
		{"all but its head overwritten with zeros", damaged, zeroed(whole, 1, pages)},
		{"its first page overwritten with zeros", damaged, zeroed(whole, 0, 1)},
		{"another file", damaged, []byte(strings.Repeat("text ", 1000))},
		{"a dump of PostgreSQL", damaged, []byte("PGDMP" + strings.Repeat("text ", 1000))},
		{"without its log, from before there was anything else", older, newSQLite(t, "")},
		{"another program's", "it is a SQLite database of another program; name another file in the database URL", newSQLite(t, "CREATE TABLE notes (text TEXT)")},
		{"without its log, after a crash", older, logless},
		{"an old copy", older, readAll(t, young)},
		{"a newer program's", newer, newSQLite(t, "newer", whole...)},
	} {
		if err := errors.Join(os.RemoveAll(database), removeDatabase(database)); err != nil {
			t.Fatal(err)
		}
		if test.content != nil {
			if err := os.WriteFile(database, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := strings.ReplaceAll(test.want, "%s", database)
		if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", test.name, err, want)
		} else if test.want == damaged && (!strings.HasPrefix(err.Error(), damaged+": ") || strings.Contains(err.Error(), "cannot be reached")) {
			t.Errorf("%s: %v, want what is to be done and the damage alone", test.name, err)
		}
		said := finding(t, Doctor(t.Context(), DoctorOptions{Config: cfg, Logger: quiet, Offline: true}), "database")
		if doctors := cmp.Or(doctorSays[test.want], want); !strings.HasPrefix(said, "FAIL ") || !strings.Contains(said, doctors) || strings.Contains(said, "agentidp migrate") {
			t.Errorf("%s: doctor says %s, want %q, and no advice that the start contradicts", test.name, said, doctors)
		}
		if test.want == lost {
			if err := onDatabase(t.Context(), cfg, quiet, func(*App) error { return nil }); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: a command beside it: %v, want %q", test.name, err, want)
			}
			if _, _, err := Migrate(t.Context(), cfg, quiet); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: migrate: %v, want %q", test.name, err, want)
			}
		}
		if head := min(100, len(test.content)); test.content != nil { // where SQLite notes that it opened the file
			if got := readAll(t, database); !bytes.Equal(got[head:], test.content[head:]) {
				t.Errorf("%s: the start changed the file", test.name)
			}
		}
	}
	if _, err := Restore(t.Context(), cfg, quiet, file, true); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want(w.do("GET", agentsPath+"/"+agent, w.admin(), nil), 200)
}

// An old copy is backed up, since it may be all that there is, and is not taken for the latest.
func TestABackupOfAnOldCopySaysThatItIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	young := readAll(t, w.backup())
	w.restart() // the next mark
	said := func() string {
		var log bytes.Buffer
		if _, err := Backup(t.Context(), w.app.cfg, slog.New(slog.NewTextHandler(&log, nil)), filepath.Join(t.TempDir(), "b.db"), false); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if log := said(); log != "" {
		t.Errorf("beside the server: %s", log)
	}
	w.stop()
	if log := said(); log != "" {
		t.Errorf("without it: %s", log)
	}
	database := strings.TrimPrefix(w.app.cfg.DatabaseURL, "sqlite:")
	if err := errors.Join(removeDatabase(database), os.WriteFile(database, young, 0o600)); err != nil {
		t.Fatal(err)
	}
	if log := said(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "is an older state than the one that a server last used here") {
		t.Errorf("of an old copy: %q", log)
	}
}

// A folder that was moved, or is reached by another path, has the same database: an old
// copy in it is refused there, too.
func TestR06AFolderThatWasMovedKnowsItsDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agentWithPolicy(w.admin())
	young := readAll(t, w.backup())
	w.restart() // the next mark
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	w.stop()
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(cfg.DataDir, moved); err != nil {
		t.Fatal(err)
	}
	cfg.MasterKeyFile = strings.Replace(cfg.MasterKeyFile, cfg.DataDir, moved, 1)
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Symlink(moved, linked); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{moved, linked} {
		there := cfg
		there.DataDir, there.DatabaseURL = folder, "sqlite:"+filepath.Join(folder, "agentidp.db")
		if said := finding(t, Doctor(t.Context(), DoctorOptions{Config: there, Logger: quiet, Offline: true}), "database"); folder == moved && !strings.HasPrefix(said, "ok ") {
			t.Errorf("doctor says %s", said)
		}
		database := filepath.Join(moved, "agentidp.db")
		if err := errors.Join(removeDatabase(database), os.WriteFile(database, young, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := w.failingStart(there); err == nil || !strings.Contains(err.Error(), "is an older state than the one") {
			t.Errorf("%s: %v, want a refusal of the old copy", folder, err)
		}
		if err := removeDatabase(database); err != nil {
			t.Fatal(err)
		}
		if err := w.failingStart(there); err == nil || !strings.Contains(err.Error(), "a server ran here before") {
			t.Errorf("%s: %v, want a refusal to begin anew", folder, err)
		}
	}
}

// Each page in turn is zeroed: a server starts only where the page was of nothing that
// it reads, and then all that there was is there.
func TestR06NoDamagedPageIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agentWithPolicy(w.admin())
	file := w.backup()
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	w.stop()
	database := strings.TrimPrefix(cfg.DatabaseURL, "sqlite:")
	if _, err := Restore(t.Context(), cfg, quiet, file, true); err != nil {
		t.Fatal(err)
	}
	whole := readAll(t, database)
	step := 7 // coprime to most layouts
	if pace.Long() {
		step = 1
	}
	looked := 0
	for page := 0; page < len(whole)/4096; page += step {
		if err := errors.Join(removeDatabase(database), os.WriteFile(database, zeroed(whole, page, page+1), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "the database is damaged; keep its files as they are") {
			t.Errorf("page %d of %d: %v", page+1, len(whole)/4096, err)
		}
		looked++
	}
	if looked < 5 {
		t.Errorf("only %d pages", looked)
	}
}

// A large database is looked at while the server answers, which ends when there is damage.
func TestR06DamageInALargeDatabaseEndsTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	w.stop()
	database := strings.TrimPrefix(cfg.DatabaseURL, "sqlite:")
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE large AS SELECT zeroblob(%d) AS content", soundFirst))
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	run := func() error {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		logs := &syncBuffer{}
		a, err := New(ctx, Options{Config: cfg, Version: "test", Logger: slog.New(slog.NewTextHandler(logs, nil)), Clock: w.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		for {
			select {
			case err := <-ended:
				return err
			case <-time.After(5 * time.Millisecond):
			}
			if strings.Contains(logs.String(), "looked at for damage") {
				cancel()
			}
		}
	}
	if err := run(); err != nil {
		t.Fatalf("without damage: %v", err)
	}
	whole := readAll(t, database)
	middle := len(whole) / 4096 / 2
	if err := os.WriteFile(database, zeroed(whole, middle, middle+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "the database is damaged; keep its files as they are") {
		t.Errorf("with damage: %v", err)
	}
}

// zeroed is a database whose pages from first up to last are zeros.
func zeroed(whole []byte, first, last int) []byte {
	out := bytes.Clone(whole)
	clear(out[first*4096 : last*4096])
	return out
}

func readAll(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newSQLite is a database file in which a statement was run: a new one, or a copy of one
// that there is. "newer" is the statement of a later schema.
func newSQLite(t *testing.T, statement string, content ...byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "made.db")
	if len(content) > 0 {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if statement == "newer" {
		statement = "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1); UPDATE organizations SET needs_schema = 9999"
	}
	db, err := sql.Open("sqlite", "file://"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{"PRAGMA journal_mode = WAL", statement, "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	return readAll(t, file)
}

// What root restores, the server's user is to read.
func TestARestoreBelongsToTheOwnerOfItsFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes files for others")
	}
	w := newWorld(t)
	file := w.backup()
	const user = 12345
	if err := os.Chown(w.app.cfg.DataDir, user, user); err != nil {
		t.Fatal(err)
	}
	w.stop()
	if _, err := Restore(t.Context(), w.app.cfg, quiet, file, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"agentidp.db", "agentidp.lock"} {
		info, err := os.Stat(filepath.Join(w.app.cfg.DataDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != user || owner.Gid != user || info.Mode().Perm() != 0o600 {
			t.Errorf("%s belongs to %d:%d, mode %v", name, owner.Uid, owner.Gid, info.Mode())
		}
	}
}

// A log that somebody left is never replayed into another database, and the database
// that was there can be put back.
func TestARestoreKeepsTheDatabaseThatWasThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	file := w.backup()
	later := w.register(admin, "later@ci.acme.example")
	cfg := w.app.cfg
	database := strings.TrimPrefix(cfg.DatabaseURL, "sqlite:")
	crashed := filepath.Join(t.TempDir(), "crashed") // as a power cut leaves it: with its log
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(database + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
	for _, suffix := range []string{"", "-wal"} {
		if err := os.Rename(crashed+suffix, database+suffix); err != nil {
			t.Fatal(err)
		}
	}
	out, err := Restore(t.Context(), cfg, quiet, file, true)
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want(w.do("GET", agentsPath+"/"+later, w.admin(), nil), 404, agentidp.CodeNotFound)
	w.stop()
	if err := os.Rename(out.Kept, database); err != nil {
		t.Fatal(err)
	}
	if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "run: agentidp restore --mark") { // of what was exchanged since it knows nothing
		t.Errorf("%v", err)
	}
	err = Beside(t.Context(), config.Config{Storage: cfg.Storage}, quiet, func(a *App) error {
		_, err := a.MarkRestored(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want(w.do("GET", agentsPath+"/"+later, w.admin(), nil), 200)
}
