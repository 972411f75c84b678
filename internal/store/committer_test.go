package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// inOneBatch issues the grants as the members of one batch, in this order, and
// returns their results. do runs while they wait.
func (f *fixture) inOneBatch(t *testing.T, grants []*store.Grant, do func()) []error {
	t.Helper()
	if do == nil {
		do = func() {}
	}
	return f.queue(t, len(grants), func(i int) error { return f.Issue(t.Context(), grants[i]) }, do)
}

// queue makes the committer busy, lets n callers queue up in order, runs do and
// sets the committer free.
func (f *fixture) queue(t *testing.T, n int, call func(i int) error, do func()) []error {
	t.Helper()
	release := store.HoldCommitter(t, f.DB)
	batches := f.Stats().Batches
	var wg sync.WaitGroup
	wg.Go(func() {
		d := f.grant().Decision // so that the committer waits for its connection
		if err := f.Record(context.WithoutCancel(t.Context()), &d); err != nil {
			t.Error(err)
		}
	})
	await(t, func() bool { return f.Stats().Batches > batches })
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
		await(t, func() bool { return store.Queued(f.DB) == i+1 })
	}
	do()
	release()
	wg.Wait()
	return errs
}

// await polls until a condition of another goroutine holds.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

func TestWaitingMembersShareACommit(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		grants := make([]*store.Grant, 100)
		for i := range grants {
			grants[i] = f.grant()
		}
		before := f.Stats()
		for i, err := range f.inOneBatch(t, grants, nil) {
			if err != nil {
				t.Errorf("member %d: %v", i, err)
			}
		}
		after := f.Stats()
		if got := after.Batches - before.Batches; got != 3 { // the one that was under way, 64, 36
			t.Errorf("%d batches, want 3", got)
		}
		if after.LargestBatch != 64 || after.Members-before.Members != 101 {
			t.Errorf("%+v, want 101 members and at most 64 in a batch", after)
		}
	})
}

func TestEachMemberOfABatchHasItsOwnResult(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		first := f.grant()
		if err := f.Issue(t.Context(), first); err != nil { // pins acme/deploy
			t.Fatal(err)
		}
		unpinned := newPolicy(f.org.ID, "acme/unpinned", "")
		f.createPolicy(t, unpinned)
		pins := func(repositoryID string) *store.Grant {
			g := f.grant()
			g.Policy, g.Pin.RepositoryID = unpinned, repositoryID
			return g
		}
		stale, replay, poor, others := f.grant(), f.grant(), pins("99"), pins("100")
		sawAnotherPin := func(replayKey string) *store.Grant {
			return changed(f.pinnedGrant("75"), func(g *store.Grant) { g.ReplayKey = replayKey })
		}
		stale.Policy = changed(f.policy, func(p *agentidp.TrustPolicy) { p.Revision = 7 })
		members := []struct {
			name  string
			grant *store.Grant
			want  error
		}{
			{"a good one", f.grant(), nil},
			{"a stale one", stale, store.ErrStale},
			{"another good one", replay, nil},
			{"the same subject token", changed(f.grant(), func(g *store.Grant) { g.ReplayKey = replay.ReplayKey }), store.ErrReplayed},
			{"the stale one's subject token, which is not used up", changed(f.grant(), func(g *store.Grant) { g.ReplayKey = stale.ReplayKey }), nil},
			{"a replay that would pin", changed(poor, func(g *store.Grant) { g.ReplayKey = replay.ReplayKey }), store.ErrReplayed},
			{"the first to pin", pins("99"), nil},
			{"another with the same ids", pins("99"), nil},
			{"another with other ids", others, store.ErrStale},
			{"its subject token, which it gave back", changed(f.grant(), func(g *store.Grant) { g.ReplayKey = others.ReplayKey }), nil},
			{"one that saw another pin, with a used subject token", sawAnotherPin(replay.ReplayKey), store.ErrStale},
			{"one that saw another pin, with one that was used before", sawAnotherPin(first.ReplayKey), store.ErrStale},
			{"the same, and nothing else is wrong", changed(f.grant(), func(g *store.Grant) { g.ReplayKey = first.ReplayKey }), store.ErrReplayed},
		}
		grants := make([]*store.Grant, len(members))
		for i, m := range members {
			grants[i] = m.grant
		}
		errs := f.inOneBatch(t, grants, nil)
		for i, m := range members {
			if !errors.Is(errs[i], m.want) {
				t.Errorf("%s: %v, want %v", m.name, errs[i], m.want)
			}
			if f.issued(t, m.grant) != (m.want == nil) {
				t.Errorf("%s: issued %t", m.name, m.want != nil)
			}
		}
		if n := f.Stats().Waits; n != 1 {
			t.Errorf("members came again %d times, want once: whose token was given back", n)
		}
		var pinned []string
		for _, e := range f.allEvents(t) {
			if e.Type == agentidp.EventRepositoryPinned {
				pinned = append(pinned, e.DecisionID)
			}
		}
		if len(pinned) != 2 || pinned[1] != members[6].grant.Decision.ID {
			t.Errorf("pin events of decisions %v, want those of the very first grant and of %q", pinned, members[6].name)
		}
		if pin, err := f.Pin(t.Context(), f.org.ID, "github", "acme/unpinned"); err != nil || pin.RepositoryID != "99" {
			t.Errorf("pin %v, %v; want 99", pin, err)
		}
	})
}

// A member that cannot be stored: a decision id that is taken, and on PostgreSQL
// a text that it cannot hold.
func TestAPoisonedMemberHarmsItselfAlone(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		taken := f.grant()
		if err := f.Issue(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
		grants := make([]*store.Grant, 20)
		for i := range grants {
			grants[i] = f.grant()
		}
		poisoned := map[int]bool{7: true, 12: true}
		grants[7].Decision.ID = taken.Decision.ID
		grants[12].Events[0].ID = taken.Events[0].ID
		if t.Name() == "TestAPoisonedMemberHarmsItselfAlone/PostgreSQL" {
			grants[3].Decision.Ref, poisoned[3] = "refs/heads/\x00", true
			grants[4].Token.Subject, poisoned[4] = "\xff", true
		}
		for i, err := range f.inOneBatch(t, grants, nil) {
			if (err != nil) != poisoned[i] {
				t.Errorf("member %d: %v", i, err)
			}
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrStale) {
				t.Errorf("member %d: %v: that would be tried again", i, err)
			}
			if !poisoned[i] {
				continue
			}
			honest := f.grant()
			honest.ReplayKey = grants[i].ReplayKey
			if err := f.Issue(t.Context(), honest); err != nil {
				t.Errorf("member %d left its subject token: %v", i, err)
			}
		}
		d := f.grant().Decision
		d.ID = taken.Decision.ID
		if err := f.Record(t.Context(), &d); !errors.Is(err, store.ErrExists) {
			t.Errorf("a record with a taken id: %v, want ErrExists", err)
		}
	})
}

func TestAClientThatLeavesBeforeItsBatchIsDropped(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, leave := context.WithCancel(t.Context())
		grants := []*store.Grant{f.grant(), f.grant(), f.grant()}
		errs := f.queue(t, len(grants), func(i int) error {
			if i == 1 {
				return f.Issue(ctx, grants[i])
			}
			return f.Issue(t.Context(), grants[i])
		}, leave)
		for i, want := range []error{nil, context.Canceled, nil} {
			if !errors.Is(errs[i], want) || f.issued(t, grants[i]) != (want == nil) {
				t.Errorf("member %d: %v, want %v", i, errs[i], want)
			}
		}
		if err := f.Issue(ctx, f.grant()); !errors.Is(err, context.Canceled) {
			t.Errorf("who has left is not even queued: %v", err)
		}
	})
}

func TestAClientThatLeavesDuringItsBatchCancelsNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx, leave := context.WithCancel(t.Context())
		release := store.HoldCommitter(t, f.DB)
		g := f.grant()
		batches := f.Stats().Batches
		result := make(chan error)
		go func() { result <- f.Issue(ctx, g) }()
		await(t, func() bool { return f.Stats().Batches > batches })
		leave()
		if err := <-result; !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want ErrUnavailable because of context.Canceled: it may be written", err)
		}
		release()
		await(t, func() bool { _, err := f.Token(t.Context(), f.org.ID, g.Token.ID); return err == nil })
		if !f.issued(t, g) {
			t.Error("only a part of it was written")
		}
	})
}

func TestCloseFinishesWhatWaitsAndRefusesTheRest(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		grants := []*store.Grant{f.grant(), f.grant(), f.grant()}
		closed := make(chan error, 1)
		for i, err := range f.inOneBatch(t, grants, func() { go func() { closed <- f.Close() }() }) {
			if err != nil {
				t.Errorf("member %d: %v", i, err)
			}
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := f.Issue(t.Context(), f.grant()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("after Close: %v, want ErrUnavailable", err)
		}
		f.DB = open(t, f.url)
		for i, g := range grants {
			if !f.issued(t, g) {
				t.Errorf("member %d is not there", i)
			}
		}
	})
}

// On one processor a commit that waits for the disk keeps others from queueing.
func TestBatchesFormOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f := newFixture(t, "sqlite:"+t.TempDir()+"/one.db")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				if err := f.Issue(t.Context(), f.grant()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := f.Stats(); s.Members/s.Batches < 4 {
		t.Errorf("%+v: fewer than 4 members in a batch", s)
	}
}

// Two nodes that issue the same subject tokens in opposite order, in batches of
// many, must not deadlock, and each token is issued once.
func TestCrossedBatchesIssueEachSubjectTokenOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		const tokens, rounds = 64, 6
		nodes := []*fixture{f, changed(f, func(other *fixture) { other.DB = open(t, f.url) })}
		for round := range rounds {
			errs := make([][]error, len(nodes))
			var wg sync.WaitGroup
			for n, node := range nodes {
				wg.Go(func() {
					grants := make([]*store.Grant, tokens)
					for i := range grants {
						position := i
						if n == 1 {
							position = tokens - 1 - i
						}
						grants[position] = node.grant()
						grants[position].ReplayKey = fmt.Sprintf("round %d token %d", round, i)
					}
					results := make([]error, tokens)
					var members sync.WaitGroup
					for i, g := range grants {
						members.Go(func() { results[i] = node.Issue(t.Context(), g) })
					}
					members.Wait()
					errs[n] = results
				})
			}
			wg.Wait()
			for i := range tokens {
				a, b := errs[0][i], errs[1][tokens-1-i]
				if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), store.ErrReplayed) {
					t.Errorf("round %d token %d: %v and %v, want one success and one ErrReplayed", round, i, a, b)
				}
			}
		}
	})
}
