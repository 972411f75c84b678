package nearest

import "testing"

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "bc", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	known := []string{"environment", "ref", "ref_type"}
	for _, tt := range []struct {
		name, want string
		found      bool
	}{
		{"envronment", "environment", true},
		{"ref-type", "ref_type", true},
		{"environment", "environment", true},
		{"repository", "", false},
	} {
		got, found := Name(tt.name, known)
		if found != tt.found || found && got != tt.want {
			t.Errorf("%s: %q %t, want %q %t", tt.name, got, found, tt.want, tt.found)
		}
	}
	if _, found := Name("x", nil); found {
		t.Error("there is a name among none")
	}
}
