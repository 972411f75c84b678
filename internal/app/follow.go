package app

import (
	"context"
	"errors"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

const (
	// followInterval is how often it is looked for what changed; calls between nodes make
	// it sooner. Candidates are not asked for anew as long as a look is not a second old.
	followInterval = 500 * time.Millisecond
	// followTime is how long what it does may take at most.
	followTime = time.Second

	// lookBack is how far each look goes back: a change is committed up to ten seconds
	// after it got its id, and clocks differ.
	lookBack = 30 * time.Second
	// keepChanges is how long changes are kept, for nodes whose clocks differ by more.
	keepChanges = 10 * time.Minute
	// manyChanges are as many as are told one by one; of more, all is forgotten.
	manyChanges = 5000
	// compareInterval is how often settings are compared with those of others.
	compareInterval = time.Minute
	// listenAgain is how soon it is tried again to hear other nodes.
	listenAgain = time.Minute
)

// following is how far a node has followed what changed.
type following struct {
	called chan struct{}   // by another node
	at     time.Time       // of the latest look that succeeded; zero: none did
	seen   map[string]bool // changes that it found
	swept  time.Time       // when old changes were last removed

	compared time.Time         // when settings were last compared with those of others
	differ   map[string]string // what was found then
}

// followAlways forgets what other nodes change, and calls them when this one has changed
// something. No promise rests on it: where it fails, an exchange that begins with what is
// no longer so finds it out in its commit, and memory holds for longer what is gone.
func (a *App) followAlways(ctx context.Context) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.db.Changed():
			a.quietly(ctx, "other servers could not be called", a.db.Notify)
			continue
		case <-a.follow.called:
		case <-ticker.C:
		}
		a.quietly(ctx, "what changed could not be read", a.followOn)
	}
}

// quietly does what nobody has to hear of if it fails: storage that is away is told by
// those who need it.
func (a *App) quietly(ctx context.Context, failed string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	if err := do(ctx); err != nil {
		a.logger.Debug(failed, "error", err)
	}
}

// followOn looks once for what changed since the last look.
func (a *App) followOn(ctx context.Context) error {
	f, now := &a.follow, a.clock()
	if err := a.db.Ping(ctx); err != nil { // a server that only reads may know less, and is left
		return err
	}
	changes, err := a.db.Changes(ctx, now.Add(-lookBack), manyChanges)
	if err != nil {
		return err
	}
	away := now.Sub(f.at)
	a.exchange.Follow(now, func() {
		if !f.at.IsZero() && (away > lookBack || away < -lookBack) || len(changes) == manyChanges {
			a.forgetAll()
			return
		}
		for i := range changes {
			if c := &changes[i]; !f.seen[c.ID] {
				a.forget(c)
				a.logger.Debug("what was remembered of a change is forgotten", "event", c.ID, "type", c.Type)
			}
		}
	})
	f.at, f.seen = now, make(map[string]bool, len(changes))
	for i := range changes {
		f.seen[changes[i].ID] = true
	}
	var errs []error
	if due(&f.compared, now, compareInterval) {
		errs = append(errs, a.compareSettings(ctx))
	}
	if due(&f.swept, now, keepChanges) {
		errs = append(errs, a.db.ForgetChanges(ctx, now.Add(-keepChanges)))
	}
	return errors.Join(errs...)
}

// due reports whether something was last done an interval ago or longer, and that it is
// done now. A clock that was set back makes it due.
func due(last *time.Time, now time.Time, interval time.Duration) bool {
	age := now.Sub(*last)
	if 0 <= age && age < interval {
		return false
	}
	*last = now
	return true
}

// forget drops what is remembered of what an event changed.
func (a *App) forget(e *agentidp.Event) {
	a.registry.Forget(e)
	a.exchange.Forget(e)
	a.clients.Forget(e)
}

func (a *App) forgetAll() {
	a.registry.ForgetAll()
	a.exchange.ForgetAll()
	a.clients.ForgetAll()
}

// listenAlways hears when other nodes call, where the database passes that on, and tries
// again where it does not: a pooler may be gone by then.
func (a *App) listenAlways(ctx context.Context) {
	for {
		err := a.db.Listen(ctx, a.follow.called)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, store.ErrNoCalls) {
			a.logger.Debug("other servers are not heard; what they change is noticed within half a second", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}
