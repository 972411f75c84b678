//go:build !failpoints

package failpoint

import "testing"

func TestAReleaseHasNoPoints(t *testing.T) {
	t.Setenv("FAILPOINTS", "off_test.go")
	if Enabled || Hit(DiskSync) != nil {
		t.Error("a point can fail in a build without the tag")
	}
}
