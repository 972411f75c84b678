package pgtest_test

import (
	"bufio"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/printed"
)

func TestEachStartIsAnEmptyDatabaseOfItsOwn(t *testing.T) {
	first, second := pgtest.Start(t), pgtest.Start(t)
	run(t, first, "CREATE TABLE here (id BIGINT)")
	run(t, second, "CREATE TABLE here (id BIGINT)")
}

func TestTheServerHasNoTCPPort(t *testing.T) {
	dsn := pgtest.Start(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var addresses string
	if err := conn.QueryRow(t.Context(), "SHOW listen_addresses").Scan(&addresses); err != nil || addresses != "" {
		t.Fatalf("listen_addresses = %q, %v; want none", addresses, err)
	}
}

// What a statement is given is in the log that the scan gets, and each line once.
func TestTheLogHasParametersAndIsHandedOver(t *testing.T) {
	if os.Getenv(printed.Folder) != "" {
		t.Skip("this is scanned itself; the helper of another run shows it")
	}
	pgtest.Start(t) // skips where there is no PostgreSQL
	folder := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperQueries$")
	cmd.Env = append(os.Environ(), printed.Folder+"="+folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"+printed.LogSuffix))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d logs, %v", len(files), err)
	}
	var all string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all += string(content)
	}
	for _, parameter := range []string{"the first parameter", "the second parameter"} {
		if n := strings.Count(all, parameter); n != 1 {
			t.Errorf("%s is %d times in the logs, want once", parameter, n)
		}
	}
}

func TestHelperQueries(t *testing.T) {
	if os.Getenv(printed.Folder) == "" {
		t.Skip("runs only as a child of another test, and where all is scanned")
	}
	for _, parameter := range []string{"the first parameter", "the second parameter"} {
		t.Run(parameter, func(t *testing.T) {
			run(t, pgtest.Start(t), "SELECT $1::text", parameter)
		})
	}
}

// The helper process prints its DSN and waits to be killed. Its parent then
// expects the folder of the server, which holds the socket, to go.
func TestNoServerOutlivesAKilledTestProcess(t *testing.T) {
	pgtest.Start(t) // skips where there is no PostgreSQL
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "PGTEST_HELPER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var folder string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if dsn, ok := strings.CutPrefix(lines.Text(), "dsn "); ok {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			folder = u.Query().Get("host")
			break
		}
	}
	if _, err := os.Stat(folder); err != nil {
		t.Fatalf("the server's folder: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(folder); os.IsNotExist(err) {
			return
		}
	}
	t.Fatalf("%s is still there: the server outlived its process", folder)
}

func TestHelperProcess(t *testing.T) {
	if os.Getenv("PGTEST_HELPER") != "1" {
		t.Skip("runs only as a child of another test")
	}
	_, _ = os.Stdout.WriteString("\ndsn " + pgtest.Start(t) + "\n")
	<-t.Context().Done()
	select {} // until killed
}

func run(t *testing.T, dsn, statement string, parameters ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), statement, parameters...); err != nil {
		t.Fatal(err)
	}
}
