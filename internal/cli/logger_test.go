package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/pace"
)

// nobody reads the log, of a server at work. It goes on, counts the lines that are
// missing, tells them to whoever reads again, and comes to its end also if nobody does.
func TestR25NobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		stop  func(s *serverProcess) // the reader's doing
		after func(t *testing.T, i *installation, exchange func() string)
	}{
		{"R-25: the reader hangs and comes back", func(s *serverProcess) { s.reading.Lock() }, readAgain},
		{"R-25: the reader hangs until the end", func(s *serverProcess) { s.reading.Lock() }, func(t *testing.T, i *installation, _ func() string) {
			process := i.server
			if err := process.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if state, err := process.cmd.Process.Wait(); err != nil || state.ExitCode() != exitOK { // not Cmd.Wait, which waits for the log
				t.Errorf("it ended with %v, %v", state, err)
			}
			process.reading.Unlock()
			i.wait()
		}},
		{"R-25: the reader is gone for good", func(s *serverProcess) { s.gone.Store(true) }, func(t *testing.T, i *installation, _ func() string) {
			if code := i.end(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d", code)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t, "AGENTIDP_METRICS_LISTEN=127.0.0.1:0")
			i.start()
			exchange := i.exchanges()
			exchange()
			tt.stop(i.server)
			i.fillLog()
			for range 20 {
				exchange()
			}
			if i.status("/healthz") != http.StatusOK || i.status("/readyz") != http.StatusOK || i.status("/.well-known/jwks.json") != http.StatusOK {
				t.Error("it does not answer all that it should")
			}
			tt.after(t, i, exchange)
		})
	}
}

// exchanges makes an agent with a policy, and returns what has a token granted to it.
func (i *installation) exchanges() (exchange func() (decision string)) {
	i.t.Helper()
	admin := i.client(i.program("admin", "token"))
	agent, err := admin.RegisterAgent(i.t.Context(), agentidp.AgentSpec{Name: "deployer@ci.acme.example"})
	if err != nil {
		i.t.Fatal(err)
	}
	if _, err := admin.CreateTrustPolicy(i.t.Context(), agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: "main", AgentID: agent.AgentID}); err != nil {
		i.t.Fatal(err)
	}
	return func() string {
		i.t.Helper()
		granted, err := admin.Exchange(i.t.Context(), client.ExchangeRequest{Token: i.subject("acme/deploy", "refs/heads/main"), AgentID: agent.AgentID})
		if err != nil {
			i.t.Fatal(err)
		}
		return granted.DecisionID
	}
}

// fillLog asks for nothing until lines of the log are dropped. Each request has one.
func (i *installation) fillLog() {
	i.t.Helper()
	path := "/" + strings.Repeat("x", 190)
	for range 100 {
		if i.linesDropped() > 0 {
			return
		}
		var wg sync.WaitGroup
		for range loadClients {
			wg.Go(func() {
				for range 50 {
					if got := i.status(path); got != http.StatusNotFound {
						i.t.Errorf("status %d", got)
						return
					}
				}
			})
		}
		wg.Wait()
		if i.t.Failed() {
			i.t.FailNow()
		}
	}
	i.t.Fatal("no line was dropped")
}

var droppedSample = regexp.MustCompile(`(?m)^agentidp_log_lines_dropped_total (\d+)$`)

// linesDropped is what the metrics say of that.
func (i *installation) linesDropped() int {
	i.t.Helper()
	resp, err := http.Get("http://" + i.server.metrics + "/metrics")
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	sample := droppedSample.FindSubmatch(page)
	if sample == nil {
		i.t.Fatal("the metrics do not count the lines that are dropped")
	}
	n, err := strconv.Atoi(string(sample[1]))
	if err != nil {
		i.t.Fatal(err)
	}
	return n
}

// readAgain reads on, and finds told how many lines are missing, once and in their place.
func readAgain(t *testing.T, i *installation, exchange func() string) {
	process := i.server
	process.reading.Unlock()
	pace.Eventually(t, "the gap is told", func() bool { return process.said("lines of the log are missing here") > 0 })
	dropped := i.linesDropped()
	exchange()
	if code := i.end(os.Interrupt); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	told, after := 0, 0
	for line := range strings.Lines(process.log.String()) {
		var entry struct {
			Msg     string
			Dropped int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("a line is not whole: %v", err)
		}
		if entry.Dropped > 0 {
			told += entry.Dropped
		} else if told > 0 {
			after++
		}
	}
	if told != dropped || after == 0 || process.said("AgentIdP has stopped") != 1 {
		t.Errorf("%d lines are told to be missing, %d were dropped; %d lines follow", told, dropped, after)
	}
}
