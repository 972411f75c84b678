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
			err := l.refusal(at, limitKey{org: org, provider: provider, caller: repository(i)})
			if err == nil {
				n++
			} else if e := agentidp.AsError(err); e.Kind != agentidp.TooMany || e.Code != agentidp.CodeRateLimited || e.RetryAfter <= 0 || e.RateLimit == nil {
				t.Errorf("%+v", e)
			}
		}
		return n
	}
	one := func(id string) func(int) string { return func(int) string { return id } }
	many := func(i int) string { return fmt.Sprint(i) }

	l := newLimits(0, 10)
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

// All exchanges of a repository count, and those of none other.
func TestLimitsOfExchanges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	l := newLimits(600, 10)
	key := limitKey{org: "a", provider: "github", caller: "74"}
	for i := range 2 * 256 { // a matrix of 256 jobs, each of which registers and issues, at once
		state, err := l.exchange(now, key)
		if err != nil || state.Quota != 600 || state.Remaining != 600-i-1 {
			t.Fatalf("%d: %+v, %v", i, state, err)
		}
	}
	for range 600 - 2*256 {
		if _, err := l.exchange(now, key); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.exchange(now, key)
	e := agentidp.AsError(err)
	if e.Code != agentidp.CodeRateLimited || e.RetryAfter <= 0 || e.RetryAfter > time.Minute/600 {
		t.Errorf("%v, again after %s", err, e.RetryAfter)
	}
	if _, err := l.exchange(now.Add(e.RetryAfter), key); err != nil {
		t.Errorf("as late as it said: %v", err)
	}
	for _, other := range []limitKey{{"a", "github", "75", false}, {"a", "ghes", "74", false}, {"b", "github", "74", false}, {"a", "github", "", false}, {"a", "github", "74", true}} {
		if state, err := l.exchange(now, other); err != nil || state.Remaining != 599 {
			t.Errorf("%v: %+v, %v", other, state, err)
		}
	}
}
