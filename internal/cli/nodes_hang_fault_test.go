//go:build failpoints

package cli

import (
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/failpoint"
	"github.com/sentryagent/agentidp/internal/pace"
)

// a server hangs in the midst of a commit, with locks on all that its exchanges rest
// on. Those at other servers go on, but for the very tokens that it was about to use up; and
// who ends something at another server is answered when PostgreSQL has given it up, after
// two seconds, with success. Then its exchanges were not granted, and it goes on itself.
//
// The bound is generous, for a busy machine: without it being given up, there is no answer
// but the 503 of a write that took ten seconds.
func TestR13AServerThatHangsInACommitHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const within = 8 * time.Second
	one := newBreakable(t, onPostgres(t)...)
	hangs := &breakable{installation: one.beside(failpoint.File + "=" + one.points + ".other"), points: one.points + ".other"}
	nodes := []*installation{one.installation, hangs.installation}
	for _, node := range nodes {
		node.start()
	}
	h := newHolder(t, nodes, "hung", "")
	db := h.database()

	hangs.breaks(string(failpoint.BeforeCommit) + "=wait:6s")
	request := client.ExchangeRequest{Token: h.subject(), AgentID: h.agent}
	given := make(chan error, 1)
	go func() {
		_, err := h.as(1, "").Exchange(t.Context(), request)
		given <- err
	}()
	pace.Eventually(t, "the server hangs", func() bool {
		var n int
		err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '300 ms'").Scan(&n)
		return err == nil && n > 0
	})
	hangs.breaks()
	if _, code := h.exchange(0); code != "" {
		t.Errorf("another token at the other server: refused with %q", code)
	}
	began := time.Now()
	if err := h.at(0).DeleteTrustPolicy(t.Context(), h.policy, client.DeleteOptions{}); err != nil {
		t.Errorf("a policy is deleted: %v", err)
	}
	took := time.Since(began)
	if took > within {
		t.Errorf("the answer to the deletion took %v", took)
	}
	if err := <-given; codeOf(err) != agentidp.CodeTemporarilyUnavailable {
		t.Errorf("the exchange of the server that hung: %v, want 503", err)
	}
	if n := h.granted(db, time.Time{}); n != 2 {
		t.Errorf("%d tokens were issued, want 2", n)
	}
	if _, err := h.at(1).CreateTrustPolicy(t.Context(), h.terms()); err != nil {
		t.Errorf("the server that hung: %v", err)
	}
	if _, err := h.as(1, "").Exchange(t.Context(), request); err != nil {
		t.Errorf("the token that it had in work: %v", err)
	}
	t.Logf("the deletion was answered after %v", took)
}
