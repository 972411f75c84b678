package store_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// What is counted is what is in the log: neither what was refused nor what was rolled
// back.
func TestEventsThatWereCommittedAreCounted(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		first := f.grant() // pins
		if err := f.Issue(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		replay, stale := f.grant(), f.grant()
		stale.Policy = changed(f.policy, func(p *agentidp.TrustPolicy) { p.Revision = 7 })
		replay.ReplayKey = first.ReplayKey
		for i, err := range f.inOneBatch(t, []*store.Grant{replay, f.grant(), stale}, nil) {
			if (err == nil) != (i == 1) {
				t.Errorf("member %d: %v", i, err)
			}
		}
		d := f.grant().Decision
		if err := f.Record(t.Context(), &d, f.event(agentidp.EventTokenReplayed, d.ID)); err != nil {
			t.Fatal(err)
		}
		f.write(t, func(tx *store.Tx) error {
			return tx.Append(t.Context(), f.event(agentidp.EventPolicyCreated, ""), f.event(agentidp.EventPolicyDeleted, ""))
		})
		failed := errors.New("it failed")
		err := f.Write(t.Context(), func(tx *store.Tx) error {
			if err := tx.Append(t.Context(), f.event(agentidp.EventPolicyDeleted, "")); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("%v", err)
		}

		want := map[agentidp.EventType]int64{}
		for _, typ := range agentidp.EventTypes {
			want[typ] = 0
		}
		for _, e := range f.allEvents(t) {
			want[e.Type]++
		}
		if got := f.Stats().Events; !maps.Equal(got, want) {
			t.Errorf("counted %v, and there are %v", got, want)
		}
		if want[agentidp.EventTokenIssued] != 2 || want[agentidp.EventRepositoryPinned] != 1 || want[agentidp.EventPolicyDeleted] != 1 {
			t.Errorf("there are %v", want)
		}
	})
}

func TestEachBatchIsTold(t *testing.T) {
	var told, took = 0, time.Duration(0)
	db, err := store.Open(t.Context(), "sqlite:"+t.TempDir()+"/x.db", store.Options{Committed: func(members int, d time.Duration) {
		told, took = told+members, took+d
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{DB: db}
	f.addOrganization(t, "default")
	for range 3 {
		if err := f.Issue(t.Context(), f.grant()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if told != 3 || took <= 0 || took > time.Minute {
		t.Errorf("told of %d members and %s", told, took)
	}
}

func TestCommitsThatFailAndMembersThatWaitAreCounted(t *testing.T) {
	f := newFixture(t, pgtest.Start(t))
	f.write(t, func(tx *store.Tx) error {
		if _, err := tx.LockAgent(t.Context(), f.org.ID, f.agent.AgentID); err != nil {
			return err
		}
		if err := f.Issue(t.Context(), f.grant()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		return nil
	})
	if s := f.Stats(); s.Waits == 0 || s.Failures != 0 {
		t.Errorf("a row that was held: %d waits, %d failures", s.Waits, s.Failures)
	}
	store.SetBatchTimeout(f.DB, 100*time.Millisecond)
	waits, release := f.Stats().Waits, store.HoldCommitter(t, f.DB)
	if err := f.Issue(t.Context(), f.grant()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	release()
	if s := f.Stats(); s.Waits != waits || s.Failures != 1 {
		t.Errorf("no connection: %d waits, %d failures", s.Waits-waits, s.Failures)
	}
}
