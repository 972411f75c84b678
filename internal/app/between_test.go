package app

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// holder stops exchanges of a server where they are decided, and neither signed nor
// committed: a grant asks for the time there, and the clock is the test's.
type holder struct{ next atomic.Pointer[held] }

// held is one exchange that was stopped.
type held struct{ decided, goOn chan struct{} }

func (w *world) holder() *holder {
	h, clock := &holder{}, w.app.exchange.Clock
	w.app.exchange.Clock = func() time.Time {
		if caller, _, _, _ := runtime.Caller(1); strings.HasSuffix(runtime.FuncForPC(caller).Name(), "(*attempt).grant") {
			if next := h.next.Swap(nil); next != nil {
				close(next.decided)
				<-next.goOn
			}
		}
		return clock()
	}
	return h
}

// what is answered to an administrator between the decision on an
// exchange, at this node or another, and its commit counts for that exchange.
func TestAChangeBetweenDecisionAndCommit(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w, last := nodes[0], nodes[len(nodes)-1]
		admin, holder := w.admin(), last.holder()
		nothing := change{"nothing happens", func(*world, string, string, *answer) *answer { return nil }, ""}
		agents := 0
		for _, c := range append(slices.Clone(changes), nothing) {
			for _, d := range allDoors {
				t.Run(c.name+", by "+d.String(), func(t *testing.T) {
					w, last := w.in(t), last.in(t).through(d)
					agents++
					agent := w.register(admin, fmt.Sprintf("held%d@ci.acme.example", agents))
					policy := w.policy(admin, map[string]any{"agentId": agent, "branch": "main"})
					body, next := exchangeBody(w.subject(nil), agent), &held{make(chan struct{}), make(chan struct{})}
					holder.next.Store(next)
					done := make(chan *answer, 1)
					go func() {
						a, err := last.submits(body)
						if err != nil {
							t.Error(err)
						}
						done <- a
					}()
					select {
					case <-next.decided:
					case a := <-done:
						t.Fatalf("not decided to grant: %s", a.Raw)
					}
					c.make(w, admin, agent, policy)
					close(next.goOn)
					switch a := <-done; {
					case a == nil:
					case c.code == "":
						w.want(a, 200)
					default:
						status := 403
						if d != nil {
							status, _ = d.at(status, c.code)
						}
						w.want(a, status, c.code)
						last.recorded(a, 403)
					}
				})
			}
		}
	})
}
