package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// BenchmarkIssue measures whole exchanges as the store sees them: checks, single
// use, three records, on disk before it returns. cpu-µs/op is the process's,
// user and system, for all callers together; making the grants is in it.
func BenchmarkIssue(b *testing.B) {
	for _, engine := range engines {
		for _, callers := range []int{1, 8, 32, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", engine.name, callers), func(b *testing.B) {
				f := newFixture(b, engine.url(b))
				if err := f.Issue(b.Context(), f.grant()); err != nil { // pins
					b.Fatal(err)
				}
				before := f.Stats()
				b.ReportAllocs()
				b.ResetTimer()
				cpu := processTime(b)
				var next atomic.Int64
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := f.Issue(b.Context(), f.grant()); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				after := f.Stats()
				b.ReportMetric((processTime(b)-cpu)/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(after.Members-before.Members)/float64(after.Batches-before.Batches), "members/batch")
			})
		}
	}
}

// processTime is the CPU time of this process so far, in microseconds.
func processTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}
