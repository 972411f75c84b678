package store

import (
	"testing"
	"time"
)

// What could not be written is added to what was counted meanwhile.
func TestNoUseIsLost(t *testing.T) {
	t.Parallel()
	u := newUsage()
	key, at := usageKey{policyUsage, rowID{"o", "p"}}, time.Unix(100, 0)
	u.add(key, usageCount{1, at})
	u.add(key, usageCount{1, at.Add(-time.Second)})
	taken := u.take()
	if again := u.take(); len(again) != 0 {
		t.Errorf("taken twice: %v", again)
	}
	u.add(key, usageCount{1, at.Add(time.Second)})
	u.putBack(taken)
	if got, want := u.take()[key], (usageCount{3, at.Add(time.Second)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	u.putBack(taken)
	if got, want := u.take()[key], (usageCount{2, at}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
