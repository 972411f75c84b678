//go:build failpoints

package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/failpoint"
)

// breakable is an installation whose server fails where a test says.
type breakable struct {
	*installation
	points string // the file that says where
}

func newBreakable(t *testing.T, settings ...string) *breakable {
	t.Helper()
	b := &breakable{points: filepath.Join(t.TempDir(), "points")}
	b.installation = newInstallation(t, append(settings, failpoint.File+"="+b.points)...)
	return b
}

// breaks says what fails from now on: POINT=ACTION. Nothing: all is well again.
func (b *breakable) breaks(points ...string) {
	b.t.Helper()
	next := b.points + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(strings.Join(points, "\n")), 0o600), os.Rename(next, b.points)); err != nil {
		b.t.Fatal(err)
	}
}

// unavailable asserts that an answer says: not now, and it may not have been done.
func unavailable(t *testing.T, what string, err error) {
	t.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Status != http.StatusServiceUnavailable || e.Code != agentidp.CodeTemporarilyUnavailable || e.RetryAfter <= 0 {
		t.Errorf("%s: %v, want 503 %s with Retry-After", what, err, agentidp.CodeTemporarilyUnavailable)
	}
}

// What cannot be written is not granted; what is only read is served meanwhile; and when
// the disk takes writes again, the same process does all that it did before.
func TestR04R05WhileTheDiskTakesNoWritesNothingIsGranted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault string
		point failpoint.Point
	}{
		{"R-04 the disk is full", failpoint.DiskFull},
		{"R-05 the file system is read-only", failpoint.DiskReadOnly},
		{"R-05 each write fails", failpoint.DiskWrite},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			i := newBreakable(t)
			i.start()
			l := newLedger(i.installation, i.program("admin", "token"))
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			workers := l.crowd(seed)
			for range often(20, 3) {
				l.underLoad(t, workers, 50*time.Millisecond, func() { i.breaks(string(tt.point) + "=fail") })
				for _, w := range workers {
					unavailable(t, w.doubt.name, w.why)
				}
				i.servesWhatItReads(t)
				i.breaks()
				for _, w := range workers {
					if err := w.settle(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if len(l.untold) > 0 {
					t.Fatalf("%d exchanges were granted whose record could not be written", len(l.untold))
				}
			}
			l.finish(t)
			t.Logf("%d writes answered: %v", l.total(), l.acknowledged)
		})
	}
}

// servesWhatItReads asserts that documents and lists are served.
func (b *breakable) servesWhatItReads(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/healthz", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"} {
		if status := b.status(path); status != http.StatusOK {
			t.Errorf("%s: %d, want 200", path, status)
		}
	}
}

// One write or one read fails, the first, the second and so on, in
// whatever SQLite does with it: in the log, in the file, in a checkpoint.
func TestR05TheNthRequestToTheDiskFails(t *testing.T) {
	t.Parallel()
	for _, point := range []failpoint.Point{failpoint.DiskWrite, failpoint.DiskFull, failpoint.DiskRead} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			i := newBreakable(t)
			i.start()
			l := newLedger(i.installation, i.program("admin", "token"))
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			w := l.crowd(seed)[0]
			failed := 0
			for n := range often(60, 12) {
				i.breaks(fmt.Sprintf("%s=fail:%d", point, n+1))
				for range 8 {
					op := w.next()
					err := w.perform(t.Context(), op, false)
					if err == nil {
						continue
					}
					failed++
					unavailable(t, fmt.Sprintf("request %d: %s", n+1, op.name), err)
					if err := w.perform(t.Context(), op, true); err != nil {
						t.Fatalf("request %d: %s, again: %v", n+1, op.name, err)
					}
				}
			}
			i.breaks()
			l.finishOne(t)
			if failed == 0 {
				t.Error("nothing has failed")
			}
			t.Logf("%d of %d writes were told to come again", failed, l.total()+failed)
		})
	}
}

// A disk that does not confirm a write may have given it up, and confirms the next
// attempt all the same. So the server ends, at the first, and says why; the next one
// reads what is there, and that is all that was answered.
//
// A checkpoint whose fsync fails is another matter: SQLite says nothing, keeps the log
// and writes all of it again. So under load the disk confirms nothing from some time on.
func TestR05AFailedFsyncEndsTheServer(t *testing.T) {
	t.Parallel()
	i := newBreakable(t)
	i.start()
	l := newLedger(i.installation, i.program("admin", "token"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	workers := l.crowd(seed)
	for n := range often(30, 4) {
		l.underLoad(t, workers, 50*time.Millisecond, func() { i.breaks(fmt.Sprintf("%s=fail:%d+", failpoint.DiskSync, n%5+1)) })
		i.endsForItsDisk(t)
		for _, w := range workers {
			if err := w.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}

	// Alone, and the next attempt would be confirmed.
	w := workers[0]
	for range often(10, 2) {
		op := w.register()
		i.breaks(string(failpoint.DiskSync) + "=fail:1")
		if err := w.perform(t.Context(), op, false); err == nil { // 503, or nobody listens any more when it is tried again
			t.Error("a write is answered that the disk did not confirm")
		}
		if err := w.perform(t.Context(), w.register(), false); err == nil {
			t.Error("a write is answered after a failed fsync")
		}
		i.endsForItsDisk(t)
		if err := w.perform(t.Context(), op, true); err != nil {
			t.Fatal(err)
		}
	}
	l.finish(t)
	t.Logf("%d writes answered, %d granted without an answer", l.total(), len(l.untold))
}

// endsForItsDisk waits until the server has ended for a failed fsync, and starts the
// next one on a disk that is well.
func (b *breakable) endsForItsDisk(t *testing.T) {
	t.Helper()
	server := b.server
	tooLong := time.AfterFunc(time.Minute, func() { _ = server.cmd.Process.Kill() })
	defer tooLong.Stop()
	if code := b.wait(); code != exitFailed || !strings.Contains(server.tail(), "the disk did not confirm a write to the database (fsync failed)") {
		t.Fatalf("exit code %d: %s", code, server.tail())
	}
	b.breaks()
	b.start()
}

// finishOne is finish for one worker, which may not have come to write everything.
func (l *ledger) finishOne(t *testing.T) {
	t.Helper()
	if err := errors.Join(l.check(t.Context(), time.Time{}, l.grants, l.denied), l.probe(t.Context(), l.grants)); err != nil {
		t.Fatal(err)
	}
	if code := l.installation.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	l.audit(t.Context(), t)
}
