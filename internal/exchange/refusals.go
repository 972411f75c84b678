package exchange

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Refusals counts subject tokens that were refused before their signature was
// proven. Anyone can cause them, so they cost no durable write: a counter each,
// and one log line a second at most.
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

// note counts a refusal, logs a sample, and returns err as it came. Failures of
// ours and of the issuer are no refusals.
func (r *Refusals) note(requestID, provider string, err error) error {
	if agentidp.AsError(err).Kind != agentidp.Unauthenticated {
		return err
	}
	refusal := Refusal{Category: verify.Category(err), Provider: provider}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[refusal]++
	now := r.clock()
	if now.Sub(r.logged) < time.Second {
		r.dropped++
		return err
	}
	r.logger.Warn("subject token refused before its signature was proven",
		"request_id", requestID, "category", refusal.Category, "provider", provider, "not_logged_before", r.dropped)
	r.logged, r.dropped = now, 0
	return err
}
