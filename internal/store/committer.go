package store

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	agentidp "github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

// maxBatch bounds a commit: what a failure harms, and how long a member waits.
const maxBatch = 64

// gatherTime bounds how long a batch waits for more members.
//
// It is waited for in full with GOMAXPROCS=1, where a commit that blocks in
// fdatasync also stops those who would have joined the next one: without it,
// every batch has one member. Otherwise a batch waits for as long as the last
// commit took, and only when that was shared: the load is then such that others
// are on their way, and a commit costs the same for one member as for ten.
const gatherTime = 2 * time.Millisecond

// heldTime bounds how long a member tries again because somebody is about to
// change a row that it needs.
const heldTime = time.Second

// Stats counts what the committer has begun since Open.
type Stats struct {
	Batches      int64
	Members      int64 // of all batches
	LargestBatch int64
	Failures     int64 // batches that failed, or whose outcome is not known
	Waits        int64 // times that a member came again because a row was about to change

	// Events counts the events of all transactions that were committed.
	Events map[agentidp.EventType]int64
}

// committer is the one goroutine that commits exchanges. Whoever waits while a
// commit is under way shares the next one.
type committer struct {
	db       *DB
	queue    chan *member
	checks   *checks
	usage    *usage
	gather   time.Duration // how long the next batch waits for more members
	timeout  time.Duration // of a batch
	stopping chan struct{} // closed by stop
	stopped  chan struct{} // closed when the goroutine has ended

	// committed is told of each batch; may be nil.
	committed func(members int, took time.Duration)

	batches, members, largest, failures, waits atomic.Int64
}

func (c *committer) start(db *DB) {
	c.db = db
	c.queue = make(chan *member, 4*maxBatch)
	c.checks = newChecks(db.dialect)
	c.usage = newUsage()
	c.timeout = txTimeout
	c.stopping, c.stopped = make(chan struct{}), make(chan struct{})
	go c.run()
}

// stop lets the members that are in the queue finish, and ends the goroutine.
func (c *committer) stop() {
	close(c.stopping)
	<-c.stopped
}

// Stats returns the committer's counters.
func (db *DB) Stats() Stats {
	c := &db.committer
	return Stats{c.batches.Load(), c.members.Load(), c.largest.Load(), c.failures.Load(), c.waits.Load(), db.written.counts()}
}

// Where a member is.
const (
	memberQueued int32 = iota
	memberTaken        // its batch has begun
	memberLeft         // its caller left before that
)

// submit hands m to the committer and waits for its result.
func (c *committer) submit(ctx context.Context, m *member) error {
	limit.Waits(ctx)
	for began := time.Now(); ; {
		err := c.submitOnce(ctx, m)
		if err != errHeld { //nolint:errorlint // it is never wrapped
			return err
		}
		c.waits.Add(1)
		if time.Since(began) > heldTime {
			return fmt.Errorf("issue: a row it needs stays locked: %w", ErrUnavailable)
		}
		if !pause(ctx, 2) {
			return ctx.Err()
		}
	}
}

func (c *committer) submitOnce(ctx context.Context, m *member) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.ctx = ctx
	m.state.Store(memberQueued)
	select {
	case c.queue <- m:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopping:
		return errClosed
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		if m.state.CompareAndSwap(memberQueued, memberLeft) || m.state.Load() == memberLeft {
			return ctx.Err()
		}
		return fmt.Errorf("issue: %w: the caller did not wait: %w", ErrUnavailable, ctx.Err())
	case <-c.stopped:
		select {
		case err := <-m.done:
			return err
		default:
			return errClosed // it entered the queue behind the last batch
		}
	}
}

var errClosed = fmt.Errorf("the database is closed: %w", ErrUnavailable)

func (c *committer) run() {
	defer close(c.stopped)
	usage := time.NewTicker(usageInterval)
	defer usage.Stop()
	batch := make([]*member, 0, maxBatch)
	for {
		select {
		case m := <-c.queue:
			batch = batch[:0]
			if m.begin() {
				batch = append(batch, m)
			}
			time.Sleep(c.gather)
			c.commit(c.fill(batch))
		case <-usage.C:
			c.flushUsage()
		case <-c.stopping:
			for len(c.queue) > 0 {
				c.commit(c.fill(batch[:0]))
			}
			c.flushUsage()
			return
		}
	}
}

// fill adds whoever waits. Members whose caller has left are dropped; from here
// on nobody can leave.
func (c *committer) fill(batch []*member) []*member {
	for len(batch) < maxBatch {
		select {
		case m := <-c.queue:
			if m.begin() {
				batch = append(batch, m)
			}
		default:
			return batch
		}
	}
	return batch
}

// begin takes m into a batch, unless its caller has left.
func (m *member) begin() bool {
	if m.ctx.Err() != nil {
		m.state.CompareAndSwap(memberQueued, memberLeft) // its caller need not know who noticed
		return false
	}
	return m.state.CompareAndSwap(memberQueued, memberTaken)
}

// commit runs a batch and tells every member its result.
func (c *committer) commit(members []*member) {
	if len(members) == 0 {
		return
	}
	c.batches.Add(1)
	c.members.Add(int64(len(members)))
	c.largest.Store(max(c.largest.Load(), int64(len(members))))

	began := time.Now()
	ctx, cancel := c.batchContext()
	defer cancel()
	if err := c.try(ctx, members); err != nil {
		c.failures.Add(1)
		c.settle(ctx, members, err)
	}
	took := time.Since(began)
	switch {
	case runtime.GOMAXPROCS(0) == 1: // asked each time: the program may give itself another place to run
		c.gather = gatherTime
	case len(members) > 1:
		c.gather = min(took, gatherTime)
	default:
		c.gather = 0
	}
	if c.committed != nil {
		c.committed(len(members), took)
	}
	for _, m := range members {
		if m.err == nil {
			c.usage.count(m)
			c.db.written.add(m.events)
			if m.pins && m.pinEvent != nil {
				c.db.written.add([][]any{m.pinEvent})
			}
		}
		m.done <- m.err
	}
}

// batchContext is the batch's own: it has nothing to do with any member's.
func (c *committer) batchContext() (context.Context, context.CancelFunc) {
	if !c.db.interruptible {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), c.timeout)
}

// settle gives every member of a failed batch its own result. Where the engine
// is at fault all share its fate; otherwise each runs alone, so that a member
// that cannot be stored harms itself only. One that waited for a key comes again, as
// for any row that is held.
func (c *committer) settle(ctx context.Context, members []*member, err error) {
	for i, m := range members {
		alone := err
		if len(members) > 1 && !c.mustShare(err) {
			alone = c.try(ctx, members[i:i+1])
		}
		switch {
		case alone == nil:
		case c.db.waitedTooLong(alone):
			m.err = errHeld // by a slow node, which may be done soon
		default:
			m.err = c.db.explain(context.Background(), "issue", alone) // that the batch's time is over is nobody's leaving
		}
	}
}

// try runs the members in one transaction, again if it lost a race.
func (c *committer) try(ctx context.Context, members []*member) error {
	for try, began := 0, time.Now(); ; try++ {
		err := c.db.broken.look(c.db.dialect, c.transact(ctx, members))
		if err == nil || !c.raced(err) || c.db.spent(err, try, began) || time.Since(began) > c.timeout || !pause(ctx, try) {
			return err
		}
	}
}
