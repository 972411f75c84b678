package policy

import (
	"slices"
	"testing"
)

// A comparison without a repair would stop the refusal itself.
func TestEveryComparisonHasItsRepair(t *testing.T) {
	t.Parallel()
	immutable := []string{"provider", "agent", "repository", checkIdentity} // a policy that fails one of them is for others
	for i := range conditions {
		name := conditions[i].name
		if has := mends[name] != nil; has == slices.Contains(immutable, name) {
			t.Errorf("%s: there is a repair: %t", name, has)
		}
	}
}
