package pgtest

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/printed"
)

// watchdog runs the command "$@" until its standard input closes or says "keep", then
// stops it at once (QUIT is PostgreSQL's immediate shutdown, which takes its children
// along; PgBouncer, which a shell has ignore that, ends with TERM) and, unless told to keep it, removes the folder $1. A Ctrl-C at the terminal is
// left to the test process, whose end closes the pipe.
const watchdog = `trap '' INT HUP TERM
folder=$1; shift
"$@" </dev/null &
pid=$!
word=
read -r word
kill -QUIT $pid 2>/dev/null; kill -TERM $pid 2>/dev/null
wait $pid
[ "$word" = keep ] || rm -rf "$folder"`

// notInstalledError says which part of PostgreSQL is missing.
type notInstalledError struct{ what string }

func (e *notInstalledError) Error() string { return e.what }

// server is a running PostgreSQL. Its folder holds the data and the socket.
type server struct {
	folder string
	alive  io.WriteCloser // closing it ends the server

	mu     sync.Mutex
	handed int64 // bytes of its log that were kept for the scan
}

// startServer makes a cluster in a temporary folder, starts a server on it and
// waits until it answers.
func startServer() (_ *server, err error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder) // else the watchdog does
		}
	}()
	prefix, err := asPostgres(folder)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	data := filepath.Join(folder, "data")
	initdb := append(slices.Clone(prefix), filepath.Join(bin, "initdb"),
		"-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D", data)
	cmd := exec.CommandContext(ctx, initdb[0], initdb[1:]...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	postgres := append(slices.Clone(prefix), filepath.Join(bin, "postgres"), "-D", data, "-k", folder,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "max_connections=300", "-c", "shared_buffers=32MB")
	if scanned() {
		postgres = append(postgres, "-c", "log_statement=all", "-c", "log_parameter_max_length=-1", "-c", "log_parameter_max_length_on_error=-1")
	}
	s, err := watch(folder, "log", postgres)
	if err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

// watch starts the command under the watchdog. The command's output goes to a
// file: a child that held this process's own output would keep "go test" waiting.
func watch(folder, logFile string, command []string) (*server, error) {
	log, err := os.Create(filepath.Join(folder, logFile))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                                                                // the child has its own descriptor
	cmd := exec.Command("/bin/sh", append([]string{"-c", watchdog, "pgtest", folder}, command...)...) //nolint:noctx // a fixed script, which outlives every context of a test.
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, log, log
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &server{folder: folder, alive: alive}, nil
}

// scanned reports whether all that tests print is searched for secrets. Then the server
// logs every statement with its parameters, as an operator's may.
func scanned() bool { return os.Getenv(printed.Folder) != "" }

// hand keeps for the scan what the server has logged since it was last handed over.
func (s *server) hand(t testing.TB) {
	t.Helper()
	if !scanned() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.Open(filepath.Join(s.folder, "log"))
	if err != nil {
		t.Errorf("read the log of PostgreSQL: %v", err)
		return
	}
	defer func() { _ = log.Close() }()
	rest, err := io.ReadAll(io.NewSectionReader(log, s.handed, math.MaxInt64-s.handed))
	if err != nil {
		t.Errorf("read the log of PostgreSQL: %v", err)
	}
	s.handed += int64(len(rest))
	printed.Log(t, rest)
}

// ready waits until the server takes connections.
func (s *server) ready(ctx context.Context) error {
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
			_ = s.alive.Close()
			return fmt.Errorf("the server does not answer: %w\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// findBinaries returns the folder with initdb and postgres: that of the PATH, or
// the newest where Debian puts them.
func findBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", &notInstalledError{"no initdb in PATH or /usr/lib/postgresql/*/bin"}
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// version reads 15 from /usr/lib/postgresql/15/bin/initdb.
func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb)))) // no number: oldest
	return n
}

// asPostgres returns the words to put before a command. PostgreSQL refuses to
// run as root, so root becomes the user postgres, who gets the folder.
func asPostgres(folder string) ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, &notInstalledError{"running as root, and there is no user postgres to become"}
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return nil, &notInstalledError{"running as root, and there is no setpriv to become postgres"}
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(folder, uid, gid); err != nil {
		return nil, err
	}
	return []string{setpriv, "--reuid=postgres", "--regid=" + account.Gid, "--clear-groups", "--"}, nil
}
