package cli

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/printed"
)

// installation is a data directory on which the program runs as a real process,
// time after time, and the CI issuer that it trusts.
type installation struct {
	t       *testing.T
	url     string // public; not where a process listens
	data    string
	ci      *emulator.Emulator
	env     []string
	http    *http.Client   // reaches the process that runs now
	address atomic.Value   // of that process, a string
	server  *serverProcess // nil: none runs
	before  []string       // words of the command in front of the program
}

// issuerKey is the key of the CI issuers, one for all: RSA keys are slow to make.
var issuerKey = sync.OnceValue(func() crypto.Signer {
	key, err := jose.GenerateKey(jose.RS256)
	if err != nil {
		panic(err)
	}
	return key
})

// beside returns a further server of the same installation, over the same PostgreSQL: it
// has the same settings, but for these, and a data directory of its own. Nothing runs yet.
func (i *installation) beside(settings ...string) *installation {
	i.t.Helper()
	n := &installation{t: i.t, url: i.url, data: filepath.Join(i.t.TempDir(), "data"), ci: i.ci, before: i.before}
	n.env = append(slices.Concat(i.env, []string{"AGENTIDP_DATA_DIR=" + n.data}), settings...)
	n.connect()
	return n
}

// newInstallation makes one on SQLite. Each setting is NAME=value, and all others
// have their default: what the developer has set does not matter.
func newInstallation(t *testing.T, settings ...string) *installation {
	t.Helper()
	i := &installation{t: t, url: "http://localhost:8080", data: filepath.Join(t.TempDir(), "data")}
	issuer := httptest.NewUnstartedServer(nil)
	var err error
	i.ci, err = emulator.New(emulator.Config{
		Issuer: "http://" + issuer.Listener.Addr().String(), Key: issuerKey(), Run: emulator.Run{Repository: "acme/deploy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	issuer.Config.Handler = i.ci.Handler()
	issuer.Start()
	t.Cleanup(issuer.Close)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, prefix) {
			i.env = append(i.env, variable)
		}
	}
	i.env = append(i.env, "AGENTIDP_LISTEN=127.0.0.1:0", "AGENTIDP_METRICS_LISTEN=off", "AGENTIDP_PUBLIC_URL="+i.url, "AGENTIDP_DATA_DIR="+i.data,
		"AGENTIDP_GITHUB_ISSUER="+issuer.URL, "AGENTIDP_DEV=true", "AGENTIDP_LOG_FORMAT=json", "AGENTIDP_REFUSALS_PER_MINUTE=1000000",
		"AGENTIDP_EXCHANGES_PER_MINUTE=0", "AGENTIDP_TOKEN_REQUESTS_PER_MINUTE=0", "AGENTIDP_ADDRESS_REQUESTS_PER_MINUTE=0", "AGENTIDP_ADDRESS_FAILURES_PER_MINUTE=0", "AGENTIDP_CONCURRENCY=10000")
	i.env = append(i.env, settings...)
	i.connect()
	return i
}

// connect makes the client that reaches the process of the moment, and has that end with
// the test.
func (i *installation) connect() {
	i.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, i.address.Load().(string))
		},
	}}
	i.t.Cleanup(func() {
		if i.server != nil {
			i.kill()
		}
	})
}

// start runs the server and returns how long it took until it was ready.
func (i *installation) start() time.Duration {
	i.t.Helper()
	began := time.Now()
	i.server = &serverProcess{cmd: i.command("serve"), listens: make(chan string, 1)}
	i.server.cmd.Env, i.server.cmd.Stderr = i.env, i.server
	if err := i.server.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	select {
	case address := <-i.server.listens:
		i.address.Store(address)
	case <-time.After(time.Minute):
		i.t.Fatalf("the server does not listen: %s", i.server.tail())
	}
	for i.status("/readyz") != http.StatusOK {
		if time.Since(began) > time.Minute {
			i.t.Fatalf("the server is not ready: %s", i.server.tail())
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// command is the program with arguments, and what stands before it.
func (i *installation) command(args ...string) *exec.Cmd {
	words := slices.Concat(i.before, []string{"agentidp"}, args)
	return exec.Command(words[0], words[1:]...)
}

// status gets a path and returns the status of the answer, 0 if there was none.
func (i *installation) status(path string) int {
	resp, err := i.http.Get(i.url + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// kill ends the server as the kernel does when memory runs out.
func (i *installation) kill() { i.end(os.Kill) }

// end sends the server a signal and waits until it is gone.
func (i *installation) end(signal os.Signal) (exitCode int) {
	i.t.Helper()
	if err := i.server.cmd.Process.Signal(signal); err != nil {
		i.t.Errorf("the server had ended before: %v %s", err, i.server.tail())
	}
	return i.wait()
}

// wait waits until the server is gone and returns its exit code, -1 if a signal
// ended it.
func (i *installation) wait() int {
	i.t.Helper()
	_ = i.server.cmd.Wait() // the exit code says it
	if token := jwtPattern.Find(i.server.log.Bytes()); token != nil {
		i.t.Errorf("the log holds a token: %.20s…", token)
	}
	printed.Log(i.t, i.server.log.Bytes())
	if key, err := os.ReadFile(filepath.Join(i.data, "master.key")); err == nil {
		printed.Secret(i.t, string(key))
	}
	code := i.server.cmd.ProcessState.ExitCode()
	i.server = nil
	i.http.CloseIdleConnections()
	return code
}

var jwtPattern = regexp.MustCompile(`agentidp_cs_[0-9a-f]{32}_[0-9A-Za-z]{10,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`)

// program runs a command beside the server and returns its standard output.
func (i *installation) program(args ...string) string {
	i.t.Helper()
	cmd := exec.Command("agentidp", args...)
	cmd.Env = i.env
	out, err := cmd.Output()
	if err != nil {
		i.t.Fatalf("agentidp %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// client returns a client that authenticates with an access token.
func (i *installation) client(token string) *client.Client {
	return &client.Client{BaseURL: i.url, Token: token, HTTP: i.http}
}

// subject returns a CI token of a run of a repository, good for most of an hour, so
// that no test has to be quick.
func (i *installation) subject(repository, ref string) string {
	token, err := i.ci.Mint(emulator.Options{Audience: i.url, Run: &emulator.Run{Repository: repository, Ref: ref},
		Claims: map[string]any{"exp": time.Now().Add(50 * time.Minute).Unix()}})
	if err != nil {
		panic(err) // the test's own fault
	}
	return token
}

// serverProcess is one run of the server, and its log.
type serverProcess struct {
	cmd     *exec.Cmd
	listens chan string
	reading sync.Mutex  // whoever holds it keeps everybody from reading the log
	gone    atomic.Bool // the reader has ended

	mu   sync.Mutex
	log  bytes.Buffer
	line []byte // that is not yet whole
	told bool

	metrics string // the address that they are served on; known when it listens
}

// Write takes the log, and finds in it where the server listens.
func (s *serverProcess) Write(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.gone.Load() {
		return 0, os.ErrClosed // and the pipe is closed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(b)
	for _, c := range b {
		if s.told {
			break
		}
		if s.line = append(s.line, c); c != '\n' {
			continue
		}
		var entry struct{ Address, Metrics string }
		if json.Unmarshal(s.line, &entry) == nil && entry.Address != "" {
			s.metrics = entry.Metrics
			s.listens <- entry.Address
			s.told = true
		}
		s.line = nil
	}
	return len(b), nil
}

// tail returns the end of the log.
func (s *serverProcess) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.log.Bytes()
	return string(b[max(0, len(b)-2000):])
}

// said returns how often the log has something.
func (s *serverProcess) said(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.log.String(), what)
}
