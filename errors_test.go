package agentidp_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// TestEveryCodeIsExplained holds docs/errors.md against error.go: a code or reason
// that a caller can meet stands in a table of the page, and none stands there that
// nobody can meet.
func TestEveryCodeIsExplained(t *testing.T) {
	page, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	known, explained := map[string]bool{}, map[string]bool{}
	for name, value := range constants(t, "error.go") {
		known[value] = strings.HasPrefix(name, "Code") || strings.HasPrefix(name, "Reason")
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Trim(cells[1], " 0123456789") != "" {
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[2], -1) {
			explained[name[1]] = true
			if !known[name[1]] {
				t.Errorf("docs/errors.md explains %q, which error.go does not know", name[1])
			}
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[3], -1) { // a reason, or words about it
			explained[name[1]] = true
		}
	}
	for value := range known {
		if !explained[value] {
			t.Errorf("docs/errors.md does not explain %q", value)
		}
	}
}

var quoted = regexp.MustCompile("`([a-z_]+)`")

// constants returns the string constants of a file.
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				continue
			}
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if found[name.Name], err = strconv.Unquote(lit.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
		return false
	})
	if len(found) == 0 {
		t.Fatalf("%s has no constants", path)
	}
	return found
}

// What a field takes is read by people: as a list in a sentence, not as Go prints one.
func TestTheWordsThatAFieldTakesAreListed(t *testing.T) {
	var bad agentidp.FieldErrors
	agentidp.OneOf(&bad, "outcome", "refused", agentidp.OutcomeAllowed, agentidp.OutcomeDenied)
	agentidp.OneOf(&bad, "outcome", agentidp.OutcomeDenied, agentidp.OutcomeAllowed, agentidp.OutcomeDenied)
	agentidp.OneOf(&bad, "outcome", "", agentidp.OutcomeAllowed)
	if len(bad) != 1 || bad[0] != (agentidp.FieldError{Field: "outcome", Reason: "must be one of: allowed, denied"}) {
		t.Errorf("%v", bad)
	}
}
