package agentidp_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	caseRow  = regexp.MustCompile(`^\| ([AR]-\d{2,3}) \| [^|]+ \| ([^|]+) \|$`)
	testName = regexp.MustCompile(`\bTest\w+`)
	funcName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	nodeFile = regexp.MustCompile(`\bactions/[\w/.-]+\.test\.ts\b`)
)

// TestEverySecurityCaseHasATestOrAReason holds docs/security-cases.md against the
// tests: each row names test functions that exist, in a file that names the case;
// or files of the actions' tests, one of whose titles names the case; or it says why
// there is none.
func TestEverySecurityCaseHasATestOrAReason(t *testing.T) {
	if n := cases(t, "docs/security-cases.md"); n < 150 {
		t.Errorf("the list has only %d cases", n)
	}
}

// TestEveryFaultHasATestOrAReason does that for the faults of docs/reliability.md.
func TestEveryFaultHasATestOrAReason(t *testing.T) {
	if n := cases(t, "docs/reliability.md"); n < 30 {
		t.Errorf("the list has only %d faults", n)
	}
}

// cases holds a page against the tests, and returns how many cases it has. Which of the
// tests that it names ran and passed, test/corpus sees in CI.
func cases(t *testing.T, page string) int {
	t.Helper()
	doc, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files := testFiles(t)
	seen := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		row := caseRow.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			if strings.HasPrefix(line, "| A-") || strings.HasPrefix(line, "| R-") {
				t.Errorf("this row cannot be read: %s", line)
			}
			continue
		}
		id, where := row[1], row[2]
		if seen[id] {
			t.Errorf("%s stands in the list twice", id)
		}
		seen[id] = true
		tests, nodeFiles := testName.FindAllString(where, -1), nodeFile.FindAllString(where, -1)
		if len(tests)+len(nodeFiles) == 0 && !strings.HasPrefix(where, "waits: ") && !strings.HasPrefix(where, "does not apply: ") {
			t.Errorf("%s has neither a test nor a reason: %s", id, where)
		}
		for _, name := range tests {
			source, ok := files[name]
			switch {
			case !ok:
				t.Errorf("%s: there is no test %s", id, name)
			case !strings.Contains(source, id):
				t.Errorf("%s: the file of %s does not name the case", id, name)
			}
		}
		for _, path := range nodeFiles {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Errorf("%s: %v", id, err)
			} else if !regexp.MustCompile(`(?m)^(test|scenario)\(.*\b` + id + `\b`).Match(source) {
				t.Errorf("%s: no test of %s names the case in its title", id, path)
			}
		}
	}
	return len(seen)
}

// testFiles returns, for every test function, the text of its file.
func testFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".tools") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, name := range funcName.FindAllStringSubmatch(string(source), -1) {
			files[name[1]] = string(source)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
