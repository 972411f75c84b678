package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/pace"
)

// told to end under load, the server breaks nobody's request. The drain is
// long enough for every client to have an answer in it, however slow the machine.
func TestR03ToldToEndUnderLoadNoRequestIsBroken(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "AGENTIDP_DRAIN=3s")
	i.start()
	admin := i.client(i.program("admin", "token"))
	agent, err := admin.RegisterAgent(t.Context(), agentidp.AgentSpec{Name: "deployer@ci.acme.example", Capabilities: []string{"deploy:staging"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: "main", AgentID: agent.AgentID}); err != nil {
		t.Fatal(err)
	}
	body := func() string {
		b, _ := json.Marshal(client.ExchangeRequest{Token: i.subject("acme/deploy", "refs/heads/main"), AgentID: agent.AgentID})
		return string(b)
	}

	// A crowd, each over one connection that it keeps; one whose connection is idle;
	// and one whose request is half sent.
	var granted atomic.Int64
	var crowd sync.WaitGroup
	errs := make([]error, loadClients)
	for k := range errs {
		crowd.Go(func() {
			c := i.keeper()
			for told := false; !told && errs[k] == nil; {
				if told, errs[k] = exchangeOver(c, i.url, strings.NewReader(body())); errs[k] == nil {
					granted.Add(1)
				}
			}
		})
	}
	idle := i.keeper()
	if _, err := exchangeOver(idle, i.url, strings.NewReader(body())); err != nil {
		t.Fatal(err)
	}
	slowBody, rest := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		_, err := exchangeOver(i.keeper(), i.url, slowBody)
		slow <- err
	}()
	half := body()
	if _, err := io.WriteString(rest, half[:10]); err != nil { // taken once the server has said 100 Continue
		t.Fatal(err)
	}
	pace.Eventually(t, "the crowd is at work", func() bool { return granted.Load() > 2*loadClients })

	began := time.Now()
	process := i.server.cmd.Process
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	pace.Eventually(t, "/readyz says no", func() bool { return i.status("/readyz") == http.StatusServiceUnavailable })
	if told, err := exchangeOver(idle, i.url, strings.NewReader(body())); err != nil || !told {
		t.Errorf("over a connection that was idle: told to close it is %v, %v", told, err)
	}
	crowd.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	pace.Eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", i.address.Load().(string))
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if _, err := io.WriteString(rest, half[10:]); err != nil {
		t.Error(err)
	}
	rest.Close()
	if err := <-slow; err != nil {
		t.Errorf("the request that was half sent: %v", err)
	}
	if code := i.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	t.Logf("%d exchanges answered; ended %v after SIGTERM, of which 3s were the drain", granted.Load()+3, time.Since(began).Round(time.Millisecond))

	// What was done, was answered: not one grant more.
	i.start()
	var recorded int64
	for _, err := range admin.AllDecisions(t.Context(), agentidp.DecisionFilter{Outcome: agentidp.OutcomeAllowed}) {
		if err != nil {
			t.Fatal(err)
		}
		recorded++
	}
	if recorded != granted.Load()+3 {
		t.Errorf("%d grants are recorded, %d were answered", recorded, granted.Load()+3)
	}
}

// A second signal is not waited for: the drain is longer than anybody's patience, and
// the process is gone by the signal, not by its own exit at the drain's end.
func TestToldToEndTwiceTheServerEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		i := newInstallation(t, "AGENTIDP_DRAIN=1m")
		i.start()
		process := i.server.cmd
		if err := process.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		pace.Eventually(t, "/readyz says no", func() bool { return i.status("/readyz") == http.StatusServiceUnavailable })
		gone := make(chan int, 1)
		go func() { gone <- i.wait() }()
		for ended := false; !ended; {
			_ = process.Process.Signal(signal) // again and again: it may listen for a moment after it says no
			select {
			case code := <-gone:
				if by := process.ProcessState.Sys().(syscall.WaitStatus); !by.Signaled() || by.Signal() != signal {
					t.Errorf("told twice by %v, it ended with exit code %d", signal, code)
				}
				ended = true
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// keeper returns a client with one connection, which it keeps.
func (i *installation) keeper() *http.Client {
	transport := i.http.Transport.(*http.Transport).Clone()
	transport.MaxConnsPerHost, transport.ExpectContinueTimeout = 1, time.Minute
	i.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// exchangeOver exchanges over a client's connection. told: the answer said that the
// connection ends with it.
func exchangeOver(c *http.Client, url string, body io.Reader) (told bool, err error) {
	req, err := http.NewRequest(http.MethodPost, url+"/api/v1/oidc/token", body)
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	if _, slow := body.(*io.PipeReader); slow {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), "access_token")) {
		err = fmt.Errorf("%s %s", resp.Status, jwtPattern.ReplaceAll(answer, []byte("(a token)")))
	}
	return resp.Close, err
}
