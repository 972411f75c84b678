package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// grace is how long requests under way may take to finish once new ones are
// refused.
const grace = 10 * time.Second

// Run serves until ctx is done, then for as long as Config.Drain says as before,
// but for telling everybody to go elsewhere; then it refuses new connections, lets
// requests under way finish for at most ten seconds, and closes storage. It returns
// nil after an orderly end. A database that may not be used any more ends it too, at
// once but for requests under way.
func (a *App) Run(ctx context.Context) error {
	easeCollector()
	easeScheduler()
	aside, stopAside := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { a.removeAlways(aside) })
	done.Go(func() { a.rotateAlways(aside) })
	done.Go(func() { a.followAlways(aside) })
	done.Go(func() { a.listenAlways(aside) })
	damage := make(chan error, 1)
	done.Go(func() {
		if err := a.soundOn(aside); err != nil {
			damage <- err
		}
	})

	stopLooking := a.certificates.watch(ctx)
	stopMetrics := a.serveMetrics()
	served := make(chan error, 1)
	go func() {
		if a.certificates != nil {
			served <- a.http.ServeTLS(a.listener, "", "")
			return
		}
		served <- a.http.Serve(a.listener)
	}()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		err = a.end(context.WithoutCancel(ctx), a.cfg.Drain)
	case <-a.db.Broken():
		err = errors.Join(errDisk, a.end(context.WithoutCancel(ctx), 0))
	case err = <-damage:
		err = errors.Join(err, a.end(context.WithoutCancel(ctx), 0))
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	stopMetrics()
	stopAside()
	done.Wait()
	stopLooking()
	return errors.Join(err, a.close())
}

// errDisk ends a server whose disk failed to confirm a write.
var errDisk = errors.New("the disk did not confirm a write to the database (fsync failed), so nobody knows what its file holds and this server does not go on with it; " +
	"look at the disk and what the kernel says of it, then start the server again: it takes up what the disk holds")

// end takes leave of clients before it closes anything. Closing a kept-alive
// connection at once would break the request that may just be on its way over it
// (RFC 9112 §9.5); so each connection ends with an answer that says so, and load
// balancers see that /readyz fails. What is idle even then is closed.
func (a *App) end(ctx context.Context, drain time.Duration) error {
	a.ending.Store(true)
	time.Sleep(drain)
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := a.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // any stranger can send slowly, and is no failure of ours
		a.logger.Warn("requests were cut off that were still under way when the time to finish was over", "after", grace)
		return a.http.Close()
	}
	return err
}

// easeCollector lets the heap grow to five times what is live before it is
// collected, unless GOGC says otherwise. Only a few MB are live, and the default
// would collect them many times a second under load, for a quarter of the CPU of an
// exchange (docs/performance.md).
func easeCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// easeScheduler gives the Go scheduler two places to run where it has one processor, unless
// GOMAXPROCS says otherwise. With one place, what comes back from the disk waits behind
// requests that wake each other without end: while a flood computed, commits took seconds,
// or never came to it (docs/abuse.md). With two, the system's own scheduler shares it out.
func easeScheduler() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}

// close ends what New opened, in the reverse order.
func (a *App) close() error {
	var errs []error
	for _, listener := range []net.Listener{a.listener, a.watched} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.verifier != nil {
		a.verifier.Close()
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.release())
	}
	return errors.Join(errs...)
}
