package limit

import "testing"

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
