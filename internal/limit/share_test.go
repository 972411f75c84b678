package limit

import (
	"slices"
	"testing"
	"time"
)

func TestShare(t *testing.T) {
	t.Parallel()
	s := NewShare[string](64)
	for _, step := range []struct {
		says string
		key  string
		n    int // below 0: it is given back
		last bool
		want bool
	}{
		{"who comes last leaves a quarter of what is the key's", "a", 13, true, false},
		{"and gets the rest", "a", 12, true, true},
		{"and no more", "a", 1, true, false},
		{"that quarter is for the others of the key", "a", 4, false, true},
		{"who have no more than that", "a", 1, false, false},
		{"another key has as much", "b", 16, false, true},
		{"a third", "c", 16, false, true},
		{"who comes last leaves a quarter of all", "d", 1, true, false},
		{"which is for the others", "d", 16, false, true},
		{"then there is none", "e", 1, false, false},
		{"what is given back", "c", -16, false, true},
		{"somebody else can take", "e", 16, false, true},
		{"who was refused holds nothing", "a", -16, false, true},
		{"and has as much as before", "a", 16, false, true},
	} {
		ok := true
		if step.n < 0 {
			s.Give(step.key, -step.n)
		} else {
			ok = s.Take(step.key, step.n, step.last)
		}
		if ok != step.want {
			t.Errorf("%s: %v", step.says, ok)
		}
	}
	for _, key := range []string{"a", "b", "d", "e"} {
		s.Give(key, 16)
	}
	if s.held != 0 || len(s.of) != 0 {
		t.Errorf("when all is given back: %d, %v", s.held, s.of)
	}
}

// What waits longest, counted as often as its key has something, makes room; for no key does
// another make room beyond its own part, nor for who comes last.
func TestWhatTheServerWaitsForMakesRoom(t *testing.T) {
	t.Parallel()
	s := NewShare[string](8) // two for each
	var stopped []string
	open := func(key string) *Hold[string] {
		h := s.Open(key, func() { stopped = append(stopped, key) })
		if key == "honest" {
			h.since = now()
		} else {
			h.since = now() - int64(time.Second)
		}
		return h
	}
	holds := map[string]*Hold[string]{}
	for _, key := range []string{"a", "b", "c", "d"} {
		holds[key] = open(key)
		if !holds[key].Take(2, false) {
			t.Fatalf("%s got nothing", key)
		}
	}
	if open("a").Take(1, false) || open("honest").Take(1, true) || len(stopped) > 0 {
		t.Fatalf("room was made for who has his part, or comes last: %v", stopped)
	}
	holds["a"].since -= int64(time.Second)
	honest := open("honest")
	if !honest.Take(1, false) || !slices.Equal(stopped, []string{"a"}) {
		t.Errorf("%v made room", stopped)
	}
	if holds["a"].Arrived() || holds["a"].Take(1, false) {
		t.Error("what made room goes on")
	}
	for _, key := range []string{"b", "c", "d"} {
		if !holds[key].Arrived() {
			t.Errorf("%s made room", key)
		}
	}
	if open("other").Take(2, false); slices.ContainsFunc(stopped, func(key string) bool { return key == "b" || key == "c" || key == "d" }) {
		t.Errorf("what has arrived made room: %v", stopped)
	}
	for _, key := range []string{"b", "c", "d"} {
		holds[key].Close()
	}
	if len(s.of) != 1 || s.held != s.of["other"] {
		t.Errorf("afterwards: %d, %v", s.held, s.of)
	}
}
