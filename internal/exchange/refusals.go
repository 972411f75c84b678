package exchange

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/verify"
)

const (
	maxSample = 100 // refusals of one organization
	maxDetail = 512 // bytes
)

// Tally counts subject tokens that were refused without a durable record:
// before their signature was proven, or beyond the limit of recorded refusals.
// Anyone can cause them, so they cost a counter each, and at most one line of the log
// and one place in their organization's sample a second. An organization takes up some
// 50 KB at most, whatever it is sent; there are as many as administrators made.
type Tally struct {
	logger *slog.Logger
	clock  func() time.Time
	since  time.Time

	mu    sync.Mutex
	of    map[string]*tenant // by organization
	lines limit.Sampler      // of the log
}

// tenant is what was refused in one organization.
type tenant struct {
	counts map[refused]int64
	sample []agentidp.Refusal // the oldest first, until it is full and goes round
	next   int                // the place of the oldest, once it is full
	places limit.Sampler      // in the sample
}

// refused is what is counted. Both parts have few values: a reason of
// internal/verify, and the name of a provider or nothing.
type refused struct{ reason, provider string }

func newTally(logger *slog.Logger, clock func() time.Time) *Tally {
	return &Tally{logger: logger, clock: clock, since: clock(), of: map[string]*tenant{}}
}

// Of returns the counters and the sample of an organization as they are now.
func (t *Tally) Of(orgID string) *agentidp.Refusals {
	out := &agentidp.Refusals{Since: t.since, Counts: []agentidp.RefusalCount{}, Latest: []agentidp.Refusal{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	org := t.of[orgID]
	if org == nil {
		return out
	}
	for what, n := range org.counts {
		out.Counts = append(out.Counts, agentidp.RefusalCount{Reason: what.reason, Provider: what.provider, Count: n})
	}
	slices.SortFunc(out.Counts, func(a, b agentidp.RefusalCount) int {
		return cmp.Or(strings.Compare(a.Reason, b.Reason), strings.Compare(a.Provider, b.Provider))
	})
	out.Latest = append(append(out.Latest, org.sample[org.next:]...), org.sample[:org.next]...)
	slices.Reverse(out.Latest)
	return out
}

// note counts a refusal and returns err as it came. Failures of ours and of the
// issuer are no refusals.
func (t *Tally) note(orgID, requestID, provider string, err error) error {
	if agentidp.AsError(err).Kind == agentidp.Unauthenticated {
		t.count(orgID, requestID, refused{verify.Reason(err), provider}, err)
	}
	return err
}

// count counts a refusal that leaves no record, and samples it.
func (t *Tally) count(orgID, requestID string, what refused, err error) {
	cause := errors.Unwrap(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	t.organization(orgID).add(now, requestID, what, cause)
	if before, ok := t.lines.Due(now); ok {
		t.logger.Warn("subject token refused without a record",
			"request_id", requestID, "reason", what.reason, "provider", what.provider, "cause", cause, "not_logged_before", before)
	}
}

func (t *Tally) organization(id string) *tenant {
	org := t.of[id]
	if org == nil {
		org = &tenant{counts: map[refused]int64{}}
		t.of[id] = org
	}
	return org
}

func (o *tenant) add(now time.Time, requestID string, what refused, cause error) {
	o.counts[what]++
	if _, ok := o.places.Due(now); !ok {
		return
	}
	kept := agentidp.Refusal{At: now, RequestID: requestID, Reason: what.reason, Provider: what.provider, Detail: detail(cause)}
	if len(o.sample) < maxSample {
		o.sample = append(o.sample, kept)
		return
	}
	o.sample[o.next] = kept
	o.next = (o.next + 1) % maxSample
}

// detail is what an operator reads of a cause. What strangers choose is quoted in it.
func detail(cause error) string {
	if cause == nil {
		return ""
	}
	text := cause.Error()
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
