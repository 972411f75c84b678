//go:build failpoints

package cli

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// one of three servers is killed under load, each in its turn. Clients of the
// others notice nothing; its own go to the next server and find done what was answered, and
// what was not done whole or not at all.
func TestR13OneOfThreeServersIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	l := newLedger(nodes[0], nodes[0].program("admin", "token"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	workers, doubts := l.crowd(seed), 0
	for round := range often(30, 6) {
		since, grants, denied := time.Now(), len(l.grants), len(l.denied)
		dead, next := round%len(nodes), (round+1)%len(nodes)
		for k, w := range workers {
			w.admin = nodes[k%len(nodes)].client(l.admin.Token)
		}
		l.killedAmong(t, workers, nodes[dead], time.Duration(20+rng.IntN(100))*time.Millisecond)
		for k, w := range workers {
			switch of := k % len(nodes); {
			case w.doubt == nil:
			case of != dead:
				t.Errorf("server %d was killed, and a client of server %d: %s: %v", dead+1, of+1, w.doubt.name, w.why)
			default:
				doubts++
			}
			w.admin = nodes[next].client(l.admin.Token)
			if err := w.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.turnTo(nodes[next])
		err := errors.Join(l.check(t.Context(), since, l.grants[grants:], l.denied[denied:]), l.probe(t.Context(), sample(rng, l.grants, 10)))
		if err != nil {
			t.Fatalf("after kill %d: %v", round+1, err)
		}
		nodes[dead].start()
	}
	l.finish(t)
	t.Logf("%d writes answered: %v; %d were not, %d of them exchanges that were granted", l.total(), l.acknowledged, doubts, len(l.untold))
}

// turnTo has the ledger be checked at another server.
func (l *ledger) turnTo(node *installation) {
	l.installation, l.admin = node, node.client(l.admin.Token)
}

// killedAmong lets workers write, kills one server in the midst of their requests, and has
// those of the others write on for as long as before.
func (l *ledger) killedAmong(t *testing.T, workers []*worker, dead *installation, after time.Duration) {
	t.Helper()
	l.enough.Store(false)
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	for k, w := range workers {
		wg.Go(func() { errs[k] = w.run(t.Context()) })
	}
	l.answers(t, loadAnswers)
	time.Sleep(after)
	dead.kill()
	l.answers(t, loadAnswers)
	l.enough.Store(true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// answers waits until so many more writes are answered.
func (l *ledger) answers(t *testing.T, n int) {
	t.Helper()
	for before, deadline := l.total(), time.Now().Add(time.Minute); l.total() < before+n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d writes were answered in a minute", l.total()-before)
		}
	}
}
