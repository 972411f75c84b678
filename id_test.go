package agentidp_test

import (
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestIDsSortByTheMicrosecondTheyWereMadeIn(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 999_990_000, time.UTC)
	before := ""
	for range 1000 {
		id := agentidp.NewID(at)
		if !agentidp.IsID(id) || id[14] != '7' || id <= before {
			t.Fatalf("%s after %s", id, before)
		}
		before = id
		at = at.Add(time.Microsecond)
	}
}

func TestIDsOfOneInstantDiffer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	seen := map[string]bool{}
	for range 10_000 {
		seen[agentidp.NewID(now)] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d of 10000 are different", len(seen))
	}
}

func TestOnlyOneSpellingIsAnID(t *testing.T) {
	t.Parallel()
	id := agentidp.NewID(time.Now())
	for _, other := range []string{"", id[:35], id + "0", "{" + id + "}", "urn:uuid:" + id, id[:8] + id[9:] + "-", "01A20080-4278-760A-BBDA-738C0306A648", "g" + id[1:]} {
		if agentidp.IsID(other) {
			t.Errorf("%q is taken for an id", other)
		}
	}
}

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
