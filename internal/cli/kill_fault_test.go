//go:build failpoints

package cli

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/failpoint"
)

// the steps of a grant at which a process is killed, and whether there is a grant then.
// Killed before its commit, there is none, nor a record of one, and the subject token is
// as good as before; killed after it, there are all three, whoever was told.
var killedAt = []struct {
	point   failpoint.Point
	granted bool
	told    bool // the answer may have arrived
}{
	{failpoint.BeforeSigning, false, false},
	{failpoint.BeforeUsedTokens, false, false},
	{failpoint.AfterUsedTokens, false, false},
	{failpoint.AfterRecords, false, false},
	{failpoint.BeforeCommit, false, false},
	{failpoint.AfterCommit, true, false},
	{failpoint.BeforeAnswer, true, false},
	{failpoint.AfterAnswer, true, true},
}

func TestR02A098KilledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			i, w := newKilled(t, engine.settings(t)...)
			for range often(10, 1) {
				for _, tt := range killedAt {
					told, granted := i.killedAt(t, w, string(tt.point)+"=kill")
					if granted != tt.granted || told && !tt.told {
						t.Errorf("killed at %s: granted is %t, and the client was told: %t", tt.point, granted, told)
					}
				}
			}
			w.finishOne(t)
		})
	}
}

// The same in the midst of a commit: at each write to the disk that it makes, and at its
// fsync. A kill is no power cut: what was written is there, so at the fsync a grant is.
func TestR02KilledAtEachWriteOfACommit(t *testing.T) {
	t.Parallel()
	i, w := newKilled(t)
	for range often(5, 1) {
		for n := 1; ; n++ {
			told, granted := i.killedAt(t, w, fmt.Sprintf("%s=kill:%d\n%s=kill", failpoint.DiskWrite, n, failpoint.DiskSync))
			if told {
				t.Fatalf("killed at write %d: there was an answer", n)
			}
			if granted { // all was written, and the fsync was reached
				t.Logf("%d writes", n-1)
				break
			}
		}
	}
	w.finishOne(t)
}

// newKilled is an installation to be killed, and a worker with an agent and its policy.
func newKilled(t *testing.T, settings ...string) (*breakable, *worker) {
	t.Helper()
	i := newBreakable(t, settings...)
	i.start()
	w := newLedger(i.installation, i.program("admin", "token")).crowd(1)[0]
	for range 2 { // first of all it makes them
		if err := w.perform(t.Context(), w.next(), false); err != nil {
			t.Fatal(err)
		}
	}
	return i, w
}

// killedAt exchanges a subject token while the server is killed, and starts it again.
// Then it presents the token once more: it is good, or used up.
func (b *breakable) killedAt(t *testing.T, w *worker, point string) (told, granted bool) {
	t.Helper()
	b.breaks(point)
	once := b.client("")
	once.MaxRetries = -1
	g := &grant{agent: w.agent, subject: b.subject(w.repository, "refs/heads/main")}
	request := client.ExchangeRequest{Token: g.subject, AgentID: g.agent}
	resp, err := once.Exchange(t.Context(), request)
	if told = err == nil; told {
		g.access, g.decision = resp.AccessToken, resp.DecisionID
		w.grants = append(w.grants, g)
	}
	process := b.server.cmd
	tooLong := time.AfterFunc(time.Minute, func() { _ = process.Process.Signal(syscall.SIGABRT) })
	b.wait()
	tooLong.Stop()
	if by := process.ProcessState.Sys().(syscall.WaitStatus); !by.Signaled() || by.Signal() != syscall.SIGKILL {
		t.Fatalf("%s: the server ended by itself: %v", point, process.ProcessState)
	}
	b.breaks()
	b.start()

	resp, err = once.Exchange(t.Context(), request)
	switch _, reason := refusal(err); {
	case err == nil:
		w.grants = append(w.grants, &grant{agent: g.agent, subject: g.subject, access: resp.AccessToken, decision: resp.DecisionID})
		return told, false
	case reason != agentidp.ReasonTokenReplayed:
		t.Fatalf("%s: the token, presented again: %v", point, err)
	case !told:
		w.untold = append(w.untold, g)
	}
	return told, true
}
