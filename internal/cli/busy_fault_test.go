//go:build failpoints

package cli

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// somebody else reads the file for as long as the load lasts, as a copy of it would or a
// question to the audit log by hand; and now and then somebody else writes to it for a
// second. Clients wait, and none is told that the database is busy.
func TestR07BesideALongReaderNobodyIsToldThatTheDatabaseIsBusy(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.start()
	l := newLedger(i, i.program("admin", "token"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	workers := l.crowd(seed)
	db, err := sql.Open("sqlite", "file://"+filepath.ToSlash(filepath.Join(i.data, "agentidp.db"))+"?_txlock=immediate&_busy_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ExecContext(t.Context(), "BEGIN DEFERRED"); err != nil {
		t.Fatal(err)
	}
	seen := func() (n int) {
		if err := reader.QueryRowContext(context.WithoutCancel(t.Context()), "SELECT count(*) FROM decisions").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := seen()

	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for range often(200, 25) {
				op, began := w.next(), time.Now()
				if err := w.perform(t.Context(), op, false); err != nil {
					t.Errorf("%s: %v", op.name, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	for range often(5, 1) {
		writeFor(t, db, time.Second)
	}
	wg.Wait()
	if now := seen(); now != before {
		t.Errorf("the reader began with %d decisions and sees %d", before, now)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	if len(took) == 0 {
		t.Fatal("nothing was written")
	}
	slices.Sort(took)
	l.finish(t)
	t.Logf("%d writes: p50 %v, p99 %v, slowest %v", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

// writeFor holds the only place for a writer for some time.
func writeFor(t *testing.T, db *sql.DB, d time.Duration) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
}
