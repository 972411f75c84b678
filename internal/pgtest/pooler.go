package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooled puts PgBouncer before the server of a URL, and returns the URL that leads through
// it. It runs as it comes but for pool_mode=transaction: each transaction gets the
// connection that is free, twenty are shared by all clients, and it knows nothing of
// prepared statements (PgBouncer before 1.21, or without max_prepared_statements). The
// test's end stops it.
func Pooled(t testing.TB, dsn string) string {
	t.Helper()
	bin, err := findPgBouncer()
	skipWithout(t, err)
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) }) // the watchdog does it where this process is killed
	prefix, err := asPostgres(folder)
	skipWithout(t, err)
	settings := filepath.Join(folder, "pgbouncer.ini")
	content := fmt.Sprintf(`[databases]
%[1]s = host=%[2]s port=%[3]d user=%[4]s dbname=%[1]s

[pgbouncer]
pool_mode = transaction
auth_type = any
unix_socket_dir = %[5]s
listen_port = 5432
logfile =
syslog = 0
`, config.Database, config.Host, config.Port, config.User, folder)
	if err := os.WriteFile(settings, []byte(content), 0o644); err != nil { //nolint:gosec // read by another user, and nothing is secret
		t.Fatal(err)
	}
	process, err := watch(folder, "log", append(slices.Clone(prefix), bin, "-q", settings))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.alive.Close() })
	u := url.URL{Scheme: "postgres", User: url.User(config.User), Path: "/" + config.Database, RawQuery: url.Values{"host": {folder}}.Encode()}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := run(ctx, u.String(), "SELECT 1")
		if err == nil {
			return u.String()
		}
		if ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(folder, "log"))
			t.Fatalf("PgBouncer does not answer: %v\n%s", err, log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// findPgBouncer returns its path: that of the PATH, or where Debian puts it.
func findPgBouncer() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/pgbouncer"
	if _, err := os.Stat(debian); err != nil {
		return "", &notInstalledError{"no pgbouncer in PATH or /usr/sbin"}
	}
	return debian, nil
}
