// Package pace says how long tests take their time: how much of what can go wrong is
// tried, and how long something is waited for. Tests alone import it.
package pace

import (
	"os"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/failpoint"
)

// Long says whether faults are tried in their long form (make faults).
func Long() bool { return os.Getenv("AGENTIDP_FAULTS") == "long" }

// Slow skips what takes long where faults are not what is asked for: in any build but the
// one in which they are tried (make faults, make faults-short).
func Slow(t testing.TB) {
	t.Helper()
	if !failpoint.Enabled {
		t.Skip("make faults runs it")
	}
}

// Eventually waits for what happens outside of the test: in the background, or in another
// process.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
