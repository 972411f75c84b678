package limit

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestBuckets(t *testing.T) {
	t.Parallel()
	b := New[string]("requests-of-x", 60, 100)
	for _, tt := range []struct {
		name      string
		at        time.Duration
		key       string
		take      int // how many are tried
		got, left int
		reset     time.Duration
	}{
		{"one", 0, "a", 1, 1, 59, time.Second},
		{"a minute's worth at once", 0, "a", 59, 59, 0, time.Minute},
		{"and no more: the next is there in a second", 0, "a", 3, 0, 0, time.Second},
		{"half of it is there in half a second", 500 * time.Millisecond, "a", 1, 0, 0, 500 * time.Millisecond},
		{"as soon as it was said", time.Second, "a", 1, 1, 0, time.Minute},
		{"another is not its victim", time.Second, "b", 2, 2, 58, 2 * time.Second},
		{"a clock that was set back gives nothing", -time.Hour, "a", 1, 0, 0, time.Second},
		{"a minute later all of it is back, and not more", 3 * time.Minute, "a", 61, 60, 0, time.Second},
	} {
		var state agentidp.RateLimit
		got := 0
		for range tt.take {
			var ok bool
			if state, ok = b.Take(noon.Add(tt.at), tt.key); ok {
				got++
			}
		}
		want := agentidp.RateLimit{Name: "requests-of-x", Quota: 60, Remaining: tt.left, Reset: tt.reset}
		if state.Reset = state.Reset.Round(time.Microsecond); got != tt.got || state != want {
			t.Errorf("%s: %d, %+v; want %d, %+v", tt.name, got, state, tt.got, want)
		}
	}
}

// Who looks takes nothing, and leaves no trace.
func TestLooking(t *testing.T) {
	t.Parallel()
	b := New[string]("x", 2, 100)
	for range 10 {
		if state, ok := b.Look(noon, "a"); !ok || state.Remaining != 2 || state.Reset != 0 || len(b.of) != 0 {
			t.Fatalf("%+v, %v, %d", state, ok, len(b.of))
		}
	}
	b.Take(noon, "a")
	if state, ok := b.Look(noon, "a"); !ok || state.Remaining != 1 {
		t.Errorf("%+v, %v", state, ok)
	}
	b.Take(noon, "a")
	if state, ok := b.Look(noon, "a"); ok || state.Remaining != 0 || state.Reset != 30*time.Second {
		t.Errorf("%+v, %v", state, ok)
	}
	e := agentidp.AsError(Refusal(agentidp.RateLimit{Name: "x", Reset: time.Second}, "m"))
	if e.Kind != agentidp.TooMany || e.Code != agentidp.CodeRateLimited || e.RetryAfter != time.Second || e.RateLimit.Name != "x" || e.Message != "m" {
		t.Errorf("%+v", e)
	}
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	b := New[string]("x", 0, 100)
	for range 1000 {
		if state, ok := b.Take(noon, "a"); !ok || state != (agentidp.RateLimit{}) {
			t.Fatal(state, ok)
		}
	}
	if state, ok := b.Look(noon, "a"); !ok || state != (agentidp.RateLimit{}) {
		t.Error(state, ok)
	}
}

// Whoever has emptied a bucket cannot have it forgotten by filling the table with
// others that are full: those make room for each other.
func TestAnEmptyBucketIsNotForgottenForFullOnes(t *testing.T) {
	t.Parallel()
	const size = 64
	b := New[int]("x", 10, size)
	for range 10 {
		b.Take(noon, -1)
	}
	for i := range 100 * size {
		b.Take(noon, i)
		if len(b.of) > size {
			t.Fatalf("%d buckets", len(b.of))
		}
		if _, ok := b.Look(noon, -1); ok {
			t.Fatalf("after %d others the empty bucket is full again", i+1)
		}
	}
	if _, ok := b.Look(noon.Add(time.Minute), -1); !ok {
		t.Error("it stays empty")
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	b := New[netip.Addr]("x", 1_000_000, 10)
	key := Key(netip.MustParseAddr("2001:db8::1"))
	b.Take(noon, key)
	for name, f := range map[string]func(){
		"take": func() { b.Take(noon, key) },
		"look": func() { b.Look(noon, key) },
		"key":  func() { Key(Address("[2001:db8::1]:443")) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	buckets := New[netip.Addr]("x", 1_000_000, 10)
	key := netip.MustParseAddr("192.0.2.1")
	for b.Loop() {
		buckets.Take(noon, key)
	}
}

// Of a stranger at a table that is full.
func BenchmarkTakeAtAFullTable(b *testing.B) {
	buckets := New[int]("x", 1000, 50_000)
	for i := range 50_000 {
		buckets.Take(noon, -i)
		buckets.Take(noon, -i)
	}
	i := 0
	for b.Loop() {
		i++
		buckets.Take(noon, i)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ peer, want string }{
		{"192.0.2.7:443", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:443", "192.0.2.7"},
		{"[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::"},
		{"[2001:db8:1:2::ffff]:443", "2001:db8:1:2::"},
		{"[2001:db8:1:3::1]:443", "2001:db8:1:3::"},
		{"[fe80::1%eth0]:443", "fe80::"},
		{"[::1]:443", "::"},
		{"@", "invalid IP"},
		{"", "invalid IP"},
	} {
		if got := Key(Address(tt.peer)).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.peer, got, tt.want)
		}
	}
}
