package exchange

import (
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Refusals counts subject tokens that were refused without a durable record:
// before their signature was proven, or beyond the limit of recorded refusals.
// Anyone can cause them, so they cost a counter each, and one log line a second at
// most.
type Refusals struct {
	logger *slog.Logger
	clock  func() time.Time

	mu      sync.Mutex
	counts  map[Refusal]uint64
	logged  time.Time
	dropped uint64
}

// Refusal is what is counted. Both parts have few values: a category of
// internal/verify, and the name of a provider or nothing.
type Refusal struct{ Category, Provider string }

func newRefusals(logger *slog.Logger, clock func() time.Time) *Refusals {
	return &Refusals{logger: logger, clock: clock, counts: map[Refusal]uint64{}}
}

// Counts returns the counters as they are now.
func (r *Refusals) Counts() map[Refusal]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// note counts a refusal and returns err as it came. Failures of ours and of the
// issuer are no refusals.
func (r *Refusals) note(requestID, provider string, err error) error {
	if agentidp.AsError(err).Kind == agentidp.Unauthenticated {
		r.count(requestID, verify.Category(err), provider, err)
	}
	return err
}

// count counts a refusal that leaves no record, and logs a sample.
func (r *Refusals) count(requestID, category, provider string, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[Refusal{Category: category, Provider: provider}]++
	now := r.clock()
	if now.Sub(r.logged) < time.Second {
		r.dropped++
		return
	}
	r.logger.Warn("subject token refused without a record",
		"request_id", requestID, "category", category, "provider", provider, "cause", errors.Unwrap(cause), "not_logged_before", r.dropped)
	r.logged, r.dropped = now, 0
}
