package store_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/store"
)

// changed are the changes since an instant, as "type organization agent policy".
func (f *fixture) changed(t *testing.T, since time.Time) []string {
	t.Helper()
	changes, err := f.Changes(t.Context(), since, 100)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, c := range changes {
		texts = append(texts, string(c.Type)+" "+c.OrganizationID+" "+c.AgentID+" "+c.PolicyID+" "+c.Data["provider"])
	}
	return texts
}

func TestWhatChangedIsToldForAWhile(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		add := func(at time.Time, typ agentidp.EventType, agent, policy, provider string) {
			t.Helper()
			e := agentidp.Event{ID: agentidp.NewID(at), OrganizationID: f.org.ID, At: at, Type: typ, AgentID: agent, PolicyID: policy, Data: map[string]string{"provider": provider}}
			f.write(t, func(tx *store.Tx) error { return tx.Append(ctx, e) })
		}
		first := f.org.ID
		add(now, agentidp.EventAgentSuspended, "a", "", "")
		f.addOrganization(t, "other")
		add(now.Add(time.Second), agentidp.EventPolicyDeleted, "", "p", "ci")
		add(now.Add(time.Second), agentidp.EventAdminTokenIssued, "", "", "") // changes nothing that is remembered
		add(now.Add(2*time.Second), agentidp.EventProviderReplaced, "", "", "ci")
		all := []string{"agent_suspended " + first + " a  ", "policy_deleted " + f.org.ID + "  p ci", "provider_replaced " + f.org.ID + "   ci"}
		same(t, f.changed(t, now), all, nil)
		same(t, f.changed(t, now.Add(time.Second)), all[1:], nil)
		if got, err := f.Changes(ctx, now, 2); err != nil || len(got) != 2 || got[0].Type != agentidp.EventAgentSuspended {
			t.Errorf("two of them: %+v, %v", got, err)
		}
		if err := f.ForgetChanges(ctx, now.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		same(t, f.changed(t, time.Unix(0, 0)), all[1:], nil)

		// What is not committed is not told.
		select {
		case <-f.Changed():
		default:
			t.Error("nobody was to be called")
		}
		failed := errors.New("no")
		err := f.Write(ctx, func(tx *store.Tx) error {
			e := agentidp.Event{ID: newID(), OrganizationID: f.org.ID, At: now, Type: agentidp.EventPolicyDeleted}
			return errors.Join(tx.Append(ctx, e), failed)
		})
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		add(now.Add(time.Hour), agentidp.EventAgentRegistered, "b", "", "")
		select {
		case <-f.Changed():
			t.Error("others are called for nothing")
		default:
		}
		same(t, f.changed(t, time.Unix(0, 0)), all[1:], nil)
	})
}

// Each type of event is told of, or is one of nothing that nodes remember: a new type is
// put here by whoever knows.
func TestEachEventThatChangesSomethingIsTold(t *testing.T) {
	untold := strings.Fields(`token_issued exchange_denied token_replayed token_reissued token_revoked tokens_revoked admin_token_issued
		repository_identity_changed repository_pinned repository_renamed
		provider_created agent_registered credential_created organization_created`)
	for _, typ := range agentidp.EventTypes {
		if store.Changing(typ) == slices.Contains(untold, string(typ)) {
			t.Errorf("%s: it must be told of, or stand here, and not both", typ)
		}
	}
}

func TestNodesCallEachOther(t *testing.T) {
	onEachEngine(t, func(t *testing.T, f *fixture) {
		other := open(t, f.url)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		called, done := make(chan struct{}, 1), make(chan error, 1)
		go func() { done <- other.Listen(ctx, called) }()
		if strings.HasPrefix(f.url, "sqlite:") {
			if err := <-done; !errors.Is(err, store.ErrNoCalls) {
				t.Errorf("SQLite: %v", err)
			}
			if err := f.Notify(ctx); err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case <-called: // it listens
		case err := <-done:
			if !errors.Is(err, store.ErrNoCalls) || os.Getenv("AGENTIDP_POSTGRES") != "pooled" {
				t.Fatal(err)
			}
			return
		}
		if err := f.Notify(ctx); err != nil {
			t.Fatal(err)
		}
		<-called
		// A connection that fails is an end.
		store.Exec(t, f.DB, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1", "LISTEN%")
		if err := <-done; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the connection is gone: %v", err)
		}
		go func() { done <- other.Listen(ctx, called) }()
		<-called
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("told to end: %v", err)
		}
		pace.Eventually(t, "the connection is closed", func() bool {
			return store.Strings(t, f.DB, "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1", "LISTEN%")[0] == "0"
		})
	})
}
