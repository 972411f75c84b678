package agentidp_test

import (
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestIDsStandInTheOrderOfTheirTimes(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 123_999_999, time.UTC)
	for range 100 {
		id := agentidp.NewID(at)
		if !agentidp.IsID(id) || id < agentidp.FirstID(at) || id >= agentidp.FirstID(at.Add(time.Millisecond)) {
			t.Errorf("%s is not between %s and %s", id, agentidp.FirstID(at), agentidp.FirstID(at.Add(time.Millisecond)))
		}
	}
	for _, far := range []time.Time{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0)} {
		if got := agentidp.FirstID(far); got != "00000000-0000-7000-8000-000000000000" {
			t.Errorf("FirstID(%s) is %s", far, got)
		}
	}
	if got := agentidp.FirstID(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)); !agentidp.IsID(got) || got < agentidp.FirstID(at) {
		t.Errorf("the first id of the last second is %s", got)
	}
}
