package exchange

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestLimitsOfRecordedRefusals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	// recorded refuses so often and returns how many of them are recorded.
	recorded := func(l *limits, times int, at time.Time, org, provider string, repository func(i int) string) (n int) {
		for i := range times {
			err := l.refusal(at, org, provider, repository(i))
			if err == nil {
				n++
			} else if e := agentidp.AsError(err); e.Kind != agentidp.TooMany || e.Code != agentidp.CodeRateLimited || e.RetryAfter < time.Second {
				t.Errorf("%+v", e)
			}
		}
		return n
	}
	one := func(id string) func(int) string { return func(int) string { return id } }
	many := func(i int) string { return fmt.Sprint(i) }

	l := newLimits(10)
	for _, tt := range []struct {
		name          string
		after         time.Duration
		org, provider string
		repository    func(int) string
		times, want   int
	}{
		{"a token without an id first: it has a bucket of its own", 0, "a", "github", one(""), 15, 10},
		{"one repository", 0, "a", "github", one("74"), 15, 10},
		{"another is not its victim", 0, "a", "github", one("75"), 5, 5},
		{"a minute's worth comes back in a minute", time.Minute, "a", "github", one("74"), 15, 10},
		{"half of it in half a minute", 90 * time.Second, "a", "github", one("74"), 15, 5},
		{"many repositories share their provider's bucket", time.Hour, "a", "github", many, 1000, 10 * providerFactor},
		{"another provider has its own", time.Hour, "a", "ghes", one("74"), 15, 10},
		{"another organization too", time.Hour, "b", "github", one("74"), 15, 10},
	} {
		if got := recorded(l, tt.times, now.Add(tt.after), tt.org, tt.provider, tt.repository); got != tt.want {
			t.Errorf("%s: %d recorded, want %d", tt.name, got, tt.want)
		}
	}
}

// However many repositories come, the buckets are bounded, and room is never made
// at the expense of a provider's.
func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLimits(1_000_000)
	for i := range cacheSize + 100 {
		if err := l.refusal(now, "a", "github", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.buckets); n > cacheSize {
		t.Errorf("%d buckets", n)
	}
	if _, ok := l.buckets[limitKey{"a", "github", "", true}]; !ok {
		t.Error("the provider's bucket made room")
	}
}
