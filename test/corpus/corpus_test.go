package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestIDsInNames(t *testing.T) {
	for name, want := range map[string][]string{
		"TestSecuritySpellings/A-051_CR_in_front":        {"A-051"},
		"TestA185A186A188AddressesAreChecked":            {"A-185", "A-186", "A-188"},
		"TestBadPolicies/A-104_A-105_A-136_the_name":     {"A-104", "A-105", "A-136"},
		"TestR02KilledAtEachStep/store.before-commit":    {"R-02"},
		"TestThumbprintOfRFC7638":                        nil,
		"TestSHA256":                                     nil,
		"TestKilledUnderLoad/R-01":                       {"R-01"},
		"TestSecurityA175AKeyIsReplacedUnderItsID/again": {"A-175"},
	} {
		if got := named(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestARowIsProvenByATestThatPassed(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	text := "| A-001 | alg none | `TestX` |\n| A-002 | nonsense | `TestX` |\n| A-003 | skipped | `TestX` |\n| A-004 | only Node | `a.test.ts` |\n| A-005 | later | waits: `TestX` shows a part |\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	events := `echo '{"Action":"pass","Test":"TestX/A-001_a"}'; echo '{"Action":"skip","Test":"TestX/A-003"}'; echo '{"Action":"run","Test":"TestX/A-002"}'; echo not JSON`
	var out bytes.Buffer
	code, err := run(t.Context(), page, []string{"sh", "-c", events}, &out)
	if code != 1 || err == nil || !strings.HasSuffix(err.Error(), ": A-002 A-003") {
		t.Errorf("%d, %v", code, err)
	}
	if got := strings.Count(out.String(), "\n"); got != 4 {
		t.Errorf("%d lines were handed on", got)
	}
	code, err = run(t.Context(), page, []string{"sh", "-c", events + `; echo '{"Action":"pass","Test":"TestA002A003"}'`}, &out)
	if code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if code, err := run(t.Context(), page, []string{"sh", "-c", "exit 3"}, &out); code != 3 || err != nil {
		t.Errorf("failing tests: %d, %v", code, err)
	}
}
