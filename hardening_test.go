package agentidp_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	defaultRow = regexp.MustCompile(`^\| ([^|]+) \| ([^|]*) ?\| ([^|]+) \|$`)
	rowID      = regexp.MustCompile(`\b([AS]-\d{3}|R-\d{2})\b`)
	variable   = regexp.MustCompile(`\bAGENTIDP_\w+`)
)

// TestEveryHardenedDefaultIsHeld holds docs/hardening.md against the tests: each default
// names tests that exist, or rows of the pages that name tests, and none that waits; and
// each setting that makes it weaker is one.
func TestEveryHardenedDefaultIsHeld(t *testing.T) {
	page := read(t, "docs/hardening.md")
	settings, files, pages := read(t, "docs/configuration.md"), testFiles(t), map[string]string{}
	for _, path := range []string{"docs/security-cases.md", "docs/reliability.md", "docs/standards.md"} {
		for line := range strings.Lines(read(t, path)) {
			if id := rowID.FindString(line); id != "" && strings.HasPrefix(line, "| "+id+" |") {
				pages[id] = line
			}
		}
	}
	defaults := 0
	for line := range strings.Lines(page) {
		row := defaultRow.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil || row[1] == "default" || strings.HasPrefix(row[1], "---") {
			if strings.HasPrefix(line, "|") && row == nil {
				t.Errorf("this row cannot be read: %s", line)
			}
			continue
		}
		defaults++
		ids, tests := rowID.FindAllString(row[3], -1), testName.FindAllString(row[3], -1)
		if len(ids)+len(tests) == 0 {
			t.Errorf("nothing holds this default: %s", row[1])
		}
		for _, id := range ids {
			if !testName.MatchString(pages[id]) || strings.Contains(pages[id], "| waits: ") {
				t.Errorf("%s: %s is no row that names a test", row[1], id)
			}
		}
		for _, name := range tests {
			if _, ok := files[name]; !ok {
				t.Errorf("%s: there is no test %s", row[1], name)
			}
		}
		for _, name := range variable.FindAllString(row[2], -1) {
			if !strings.Contains(settings, "`"+name+"`") {
				t.Errorf("%s: there is no setting %s", row[1], name)
			}
		}
	}
	if defaults < 30 {
		t.Errorf("the page has only %d defaults", defaults)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
