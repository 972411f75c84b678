package cli

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// while clients write, backups are made. Everything that was answered before a
// backup began is in it, nothing in it is half done, and a server that is restored from
// it takes nothing a second time.
func TestABackupUnderLoadHoldsAllThatWasAnswered(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.start()
	l := newLedger(i, i.program("admin", "token"))
	workers := make([]*worker, loadClients)
	for k := range workers {
		workers[k] = &worker{ledger: l, admin: l.admin, name: fmt.Sprintf("w%d", k), rng: rand.New(rand.NewPCG(1, uint64(k)))}
	}
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	for k, w := range workers {
		wg.Go(func() { errs[k] = w.run(t.Context()) })
	}
	folder, told := t.TempDir(), []*answered{}
	for n := range 3 {
		l.awaitMore(t, 10*loadClients)
		told = append(told, l.soFar(filepath.Join(folder, fmt.Sprintf("%d.db", n))))
		i.program("backup", told[n].file)
	}
	i.kill()
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, a := range told {
		a.isIn(t)
	}

	last := told[len(told)-1]
	if out := i.program("restore", "--force", last.file); !strings.Contains(out, "default: access tokens ended: ") {
		t.Errorf("restored: %s", out)
	}
	i.start()
	for _, g := range slices.Concat(sample(workers[0].rng, last.grants, 10), sample(workers[0].rng, l.grants, 10)) {
		_, err := l.admin.Exchange(t.Context(), client.ExchangeRequest{Token: g.subject, AgentID: g.agent})
		if _, reason := refusal(err); reason != agentidp.ReasonTokenTooOld {
			t.Errorf("a subject token of before: the server %s", said(err))
		}
		_, err = i.client(g.access).ListAgents(t.Context(), agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
		if code, _ := refusal(err); code != agentidp.CodeInvalidToken {
			t.Errorf("an access token of before: the server %s", said(err))
		}
	}
	if info, err := os.Stat(last.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// awaitMore waits until clients have been answered n times more.
func (l *ledger) awaitMore(t *testing.T, n int) {
	t.Helper()
	before := l.total()
	for deadline := time.Now().Add(time.Minute); l.total() < before+n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if l.total() < before+n {
		t.Fatalf("%d writes were answered in a minute", l.total()-before)
	}
}

// answered is what clients were told before a backup began.
type answered struct {
	file     string
	agents   []string
	policies []string
	grants   []*grant
	denied   []string
}

func (l *ledger) soFar(file string) *answered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &answered{file, slices.Collect(maps.Keys(l.agents)), slices.Collect(maps.Keys(l.policies)), slices.Clone(l.grants), slices.Clone(l.denied)}
}

// isIn looks for all of it. A policy may have been deleted since, and then its end is
// recorded.
func (a *answered) isIn(t *testing.T) {
	t.Helper()
	count := undamaged(t.Context(), t, a.file)
	missing := func(from string, ids []string) {
		t.Helper()
		for _, id := range ids {
			if count(from, id) == 0 {
				t.Errorf("%s is not in %s: %s", id, filepath.Base(a.file), from)
			}
		}
	}
	missing("agents WHERE id = $1", a.agents)
	missing("events WHERE policy_id = $1 AND type IN ('policy_created', 'policy_deleted')", a.policies)
	missing("decisions WHERE id = $1 AND outcome = 'denied'", a.denied)
	granted := make([]string, len(a.grants))
	for i, g := range a.grants {
		granted[i] = g.decision
	}
	missing("used_tokens WHERE decision_id = $1", granted)
	if len(a.agents)*len(a.policies)*len(granted)*len(a.denied) == 0 {
		t.Errorf("clients were told too little: %d agents, %d policies, %d grants, %d refusals", len(a.agents), len(a.policies), len(granted), len(a.denied))
	}
}
