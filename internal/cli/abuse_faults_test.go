package cli

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pace"
)

// all that strangers can do, at once, under a ceiling of memory. Whoever is honest
// is served all the while, and the server needs no more than a small machine has. How long
// the honest wait is measured (docs/abuse.md) and not asserted.
func TestR22AllAbuseAtOnceUnderACeilingOfMemory(t *testing.T) {
	pace.Slow(t)
	const ceiling = 300 // MiB, of which the Go run-time is to keep to 256
	a := newAbused(t, "GOMEMLIMIT=256MiB")
	a.secure()
	a.begin()
	each, span := 10, 8*time.Second
	if pace.Long() {
		each, span = 100, time.Minute
	}
	stop := a.under(a.everything(each))
	var held []float64
	var took []time.Duration
	for began := time.Now(); time.Since(began) < span; time.Sleep(20 * time.Millisecond) {
		sent := time.Now()
		a.granted("during it")
		took = append(took, time.Since(sent))
		held = append(held, a.resident())
	}
	stop()
	a.granted("after it")
	slices.Sort(took)
	first, second := slices.Max(held[:len(held)/2]), slices.Max(held[len(held)/2:])
	if first > ceiling || second > ceiling {
		t.Errorf("%.0f MiB, and then %.0f; the ceiling is %d", first, second, ceiling)
	}
	t.Logf("%d honest exchanges, p50 %v, p99 %v; at most %.0f MiB in the first half of the time, %.0f in the second",
		len(took), took[len(took)/2], took[len(took)*99/100], first, second)
}

// with 64 descriptors the server accepts what it can serve, and those who only sit
// on a connection make room for those who ask.
func TestR27FewDescriptors(t *testing.T) {
	pace.Slow(t)
	a := newAbused(t)
	a.before = []string{"sh", "-c", `ulimit -n 64; exec "$@"`, "sh"}
	a.begin()
	if log := a.server.tail(); !strings.Contains(log, "LimitNOFILE") {
		t.Errorf("the log does not tell of it: %s", log)
	}
	stop := a.under(a.everything(2))
	tries := 0
	for range 20 {
		// Two dozen connections are fewer than attackers open in the time of an exchange, so
		// the honest have to come again, as the actions and clients do.
		for granted := false; !granted; tries++ {
			status, err := a.honest()
			if granted = err == nil && status == http.StatusOK; !granted && tries > 2000 {
				t.Fatalf("after %d tries: %d, %v", tries, status, err)
			}
		}
	}
	stop()
	a.granted("after it")
	t.Logf("20 honest exchanges took %d tries", tries)
}

// with a fifth of a processor, and more asked of it than it can do, the server says
// so to whom it cannot serve; it goes on as soon as it has more.
func TestR27LittleCPU(t *testing.T) {
	pace.Slow(t)
	a := newAbused(t, "GOMAXPROCS=1")
	a.begin()
	process, halt, done := a.server.cmd.Process, make(chan struct{}), make(chan struct{})
	go func() { // as the kernel throttles a container: it runs for a while, and then not
		defer close(done)
		for {
			_ = process.Signal(syscall.SIGSTOP)
			time.Sleep(80 * time.Millisecond)
			_ = process.Signal(syscall.SIGCONT)
			select {
			case <-halt:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	stop := a.under(a.everything(10))
	answers := map[string]int{}
	for range 30 {
		status, err := a.honest()
		answers[fmt.Sprint(status)]++
		if err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("an honest exchange: %d, %v", status, err)
		}
	}
	stop()
	close(halt)
	<-done
	t.Logf("honest exchanges by status: %v", answers)
	a.granted("with all of the processor again")
}

// resident is how much memory the server has of its own, in MiB: pages of the program's file
// are not counted, which the system takes back when it wants.
func (a *abused) resident() (mib float64) {
	a.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.server.cmd.Process.Pid))
	if err != nil {
		a.t.Skipf("this system does not tell what a process holds: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(rest, &mib); err != nil {
		a.t.Fatal(err)
	}
	return mib / 1024
}
