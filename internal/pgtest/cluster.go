package pgtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/printed"
)

// Cluster is a PostgreSQL that a test stops, starts and breaks as it likes. It confirms
// a commit only when it is on the disk (fsync on), and listens on a TCP port of loopback,
// which it keeps when it is started again. The test's end removes it.
type Cluster struct {
	t       testing.TB
	bin     string
	prefix  []string // words before each of its commands
	folder  string   // holds the data, the socket and the logs
	port    int
	options []string // settings, as NAME=VALUE
	process *server  // nil: none runs
	runs    int
}

// NewCluster makes a cluster and starts it. Each setting is one of PostgreSQL's own, as
// NAME=VALUE. A machine without PostgreSQL skips the test, like Start.
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c := newCluster(t, settings)
	c.command("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D", c.data())
	c.Start()
	return c
}

func newCluster(t testing.TB, settings []string) *Cluster {
	t.Helper()
	bin, err := findBinaries()
	skipWithout(t, err)
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) }) // the watchdog does it where this process is killed
	prefix, err := asPostgres(folder)
	skipWithout(t, err)
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, bin: bin, prefix: prefix, folder: folder, port: port, options: settings}
	t.Cleanup(func() {
		if c.process != nil {
			c.Stop("immediate")
		}
	})
	return c
}

// freePort asks the system for a port that nobody has. Somebody may have it a moment
// later; a cluster needs one that stays the same when it is started again.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (c *Cluster) data() string { return filepath.Join(c.folder, "data") }

// Address is where it listens, as host:port.
func (c *Cluster) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// URL returns the URL of a database over TCP, without TLS.
func (c *Cluster) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: c.Address(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// CreateDatabase makes a new, empty database and returns its URL.
func (c *Cluster) CreateDatabase(name string) string {
	c.t.Helper()
	c.Exec("CREATE DATABASE " + name)
	return c.URL(name)
}

// Exec runs one statement in the database postgres.
func (c *Cluster) Exec(statement string) {
	c.t.Helper()
	if err := c.try(context.WithoutCancel(c.t.Context()), statement); err != nil {
		c.t.Fatalf("%s: %v", statement, err)
	}
}

func (c *Cluster) try(ctx context.Context, statement string) error {
	return run(ctx, c.URL("postgres"), statement)
}

// Start starts the server and returns when it answers; a standby answers reads alone.
func (c *Cluster) Start() {
	c.t.Helper()
	words := append(slices.Clone(c.prefix), filepath.Join(c.bin, "postgres"), "-D", c.data(), "-k", c.folder,
		"-p", strconv.Itoa(c.port), "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB")
	options := c.options
	if scanned() {
		options = append(slices.Clone(options), "log_statement=all", "log_parameter_max_length=-1", "log_parameter_max_length_on_error=-1")
	}
	for _, option := range options {
		words = append(words, "-c", option)
	}
	c.runs++
	process, err := watch(c.folder, fmt.Sprintf("log%d", c.runs), words)
	if err != nil {
		c.t.Fatal(err)
	}
	c.process = process
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), startTimeout)
	defer cancel()
	for {
		err := c.try(ctx, "SELECT 1")
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("PostgreSQL does not answer: %v\n%s", err, c.log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Put writes a file into the folder of the data, such as pg_hba.conf or a certificate, and
// has the server read its settings again.
func (c *Cluster) Put(name string, content []byte) {
	c.t.Helper()
	path := filepath.Join(c.data(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if _, err := asPostgres(path); err != nil { // a key is to be its own
		c.t.Fatal(err)
	}
	c.command("pg_ctl", "reload", "-D", c.data())
}

// Stop ends the server as pg_ctl's modes smart, fast and immediate do; the last is what a
// power cut leaves to the next start.
func (c *Cluster) Stop(mode string) {
	c.t.Helper()
	c.command("pg_ctl", "stop", "-w", "-D", c.data(), "-m", mode)
	if _, err := io.WriteString(c.process.alive, "keep\n"); err != nil {
		c.t.Error(err)
	}
	c.process = nil
	if scanned() {
		printed.Log(c.t, c.log())
	}
}

// Restart is Stop and Start.
func (c *Cluster) Restart(mode string) {
	c.t.Helper()
	c.Stop(mode)
	c.Start()
}

// Standby makes a streaming standby of the cluster and starts it. With the name of a
// standby, the cluster waits for it with each commit (synchronous_standby_names).
func (c *Cluster) Standby(name string, synchronous bool) *Cluster {
	c.t.Helper()
	s := newCluster(c.t, c.options)
	c.command("pg_basebackup", "-d", "host=127.0.0.1 user=postgres application_name="+name+" port="+strconv.Itoa(c.port), "-R", "-X", "stream", "-c", "fast", "-D", s.data())
	s.Start()
	if synchronous {
		c.Exec("ALTER SYSTEM SET synchronous_standby_names = '" + name + "'")
		c.Exec("SELECT pg_reload_conf()")
	}
	return s
}

// Promote turns a standby into a primary, which waits for no standby of its own.
func (c *Cluster) Promote() {
	c.t.Helper()
	c.command("pg_ctl", "promote", "-w", "-D", c.data())
	c.Exec("ALTER SYSTEM RESET synchronous_standby_names")
	c.Exec("SELECT pg_reload_conf()")
}

// Run runs one of PostgreSQL's programs in the cluster's folder, such as pg_dump.
func (c *Cluster) Run(name string, args ...string) {
	c.t.Helper()
	c.command(name, args...)
}

// Path is where a file of the cluster's folder is.
func (c *Cluster) Path(file string) string { return filepath.Join(c.folder, file) }

// Archiving are settings of a cluster that keeps its log for Recover.
var Archiving = []string{"archive_mode=on", "archive_command=cp %p ../archived-%f"}

// BaseBackup copies a cluster while it runs. Recover starts the copy.
func (c *Cluster) BaseBackup() *Cluster {
	c.t.Helper()
	b := newCluster(c.t, nil)
	c.command("pg_basebackup", "-d", "host=127.0.0.1 user=postgres port="+strconv.Itoa(c.port), "-X", "none", "-c", "fast", "-D", b.data())
	return b
}

// Recover starts a base backup with what another cluster has archived since, up to a
// restore point, as a cluster of its own.
func (c *Cluster) Recover(archive *Cluster, restorePoint string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.data(), "recovery.signal"), nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.options = append(c.options, "restore_command=cp "+archive.Path("archived-%f")+" %p", "recovery_target_name="+restorePoint, "recovery_target_action=promote", "archive_mode=off")
	c.Start()
	for deadline := time.Now().Add(startTimeout); c.try(c.t.Context(), "CREATE TABLE recovered ()") != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("PostgreSQL does not end its recovery:\n%s", c.log())
		}
	}
}

// command runs one of PostgreSQL's programs.
func (c *Cluster) command(name string, args ...string) {
	c.t.Helper()
	words := slices.Concat(c.prefix, []string{filepath.Join(c.bin, name)}, args)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = c.folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") })
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s%s", name, err, out, c.log())
	}
}

// log is what the last run of the server has logged.
func (c *Cluster) log() []byte {
	log, _ := os.ReadFile(filepath.Join(c.folder, fmt.Sprintf("log%d", c.runs))) // none: it never ran
	return log
}

// Logged returns how often the server has logged a text, in all its runs.
func (c *Cluster) Logged(text string) (n int) {
	for run := range c.runs {
		log, _ := os.ReadFile(filepath.Join(c.folder, fmt.Sprintf("log%d", run+1)))
		n += strings.Count(string(log), text)
	}
	return n
}
