package agentidp_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	standardRow = regexp.MustCompile(`^\| (S-\d{3}) \| [MSO] [^|]+ \| ([^|]+) \|$`)
	clientFile  = regexp.MustCompile(`\btest/thirdparty/node/[\w-]+\.test\.js\b`)
)

// reasons are what may stand where a test does not.
var reasons = []string{"waits: ", "does not apply: ", "not offered: "}

// TestEveryStandardHasATestOrAReason holds docs/standards.md against the tests: each
// row names test functions that exist, or files of tests with others' clients, one of
// whose titles names the standard; or it says why there is none. And no id between the
// first and the last is missing.
func TestEveryStandardHasATestOrAReason(t *testing.T) {
	doc, err := os.ReadFile("docs/standards.md")
	if err != nil {
		t.Fatal(err)
	}
	files := testFiles(t)
	var ids []string
	for line := range strings.Lines(string(doc)) {
		row := standardRow.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			if strings.HasPrefix(line, "| S-") {
				t.Errorf("this row cannot be read: %s", line)
			}
			continue
		}
		id, where := row[1], row[2]
		ids = append(ids, id)
		tests, clients := testName.FindAllString(where, -1), clientFile.FindAllString(where, -1)
		if len(tests)+len(clients) == 0 && !slices.ContainsFunc(reasons, func(r string) bool { return strings.HasPrefix(where, r) }) {
			t.Errorf("%s has neither a test nor a reason: %s", id, where)
		}
		for _, name := range tests {
			if _, ok := files[name]; !ok {
				t.Errorf("%s: there is no test %s", id, name)
			}
		}
		for _, path := range clients {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Errorf("%s: %v", id, err)
			} else if !regexp.MustCompile(`(?m)^ *test\(.*\b` + id + `\b`).Match(source) {
				t.Errorf("%s: no test of %s names the standard in its title", id, path)
			}
		}
	}
	var want []string
	for i := range 90 {
		want = append(want, fmt.Sprintf("S-%03d", i+1))
	}
	if !slices.Equal(ids, want) {
		t.Errorf("the ids are %v", ids)
	}
}
