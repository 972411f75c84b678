//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAPointFailsWhenItIsTold(t *testing.T) {
	for _, tt := range []struct {
		action string
		fails  []bool // passage by passage
	}{
		{"", []bool{false, false}},
		{"fail", []bool{true, true, true}},
		{"fail:2", []bool{false, true, false, false}},
		{"fail:2+", []bool{false, true, true, true}},
		{"wait:1ns", []bool{false, false}},
	} {
		Set(DiskSync, tt.action)
		for i, want := range tt.fails {
			if err := Hit(DiskSync); errors.Is(err, ErrInjected) != want {
				t.Errorf("%q: passage %d: %v", tt.action, i+1, err)
			}
		}
	}
	Set(DiskSync, "")
}

func TestTheFileIsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "points")
	t.Setenv(File, file)
	for _, tt := range []struct {
		text  string
		fails bool
	}{{"disk.sync=fail\n", true}, {"", false}, {"disk.write=fail\ndisk.sync=fail:1\n", true}} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Hit(DiskSync); (err != nil) != tt.fails {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}
