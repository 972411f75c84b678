package condition_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
)

// Every expression of the manual is one, of the kind that stands above it, and what it
// says of one that is refused is what the server says.
func TestTheManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, block := range strings.Split(string(page), "\n```") {
		if i%2 == 0 {
			continue
		}
		info, code, _ := strings.Cut(block, "\n")
		words := strings.Fields(info)
		seen[info]++
		switch {
		case info == "json":
			var p agentidp.TrustPolicySpec
			if err := json.Unmarshal([]byte(code), &p); err != nil {
				t.Errorf("%s: %v", code, err)
				continue
			}
			name := "oidc"
			if p.Provider == "github" {
				name = p.Provider
			}
			if _, err := condition.Compile(p.Condition, kind(t, name)); err != nil {
				t.Errorf("%s: %v", code, err)
			}
		case words[0] == "cel" && len(words) == 2:
			if _, err := condition.Compile(code, kind(t, words[1])); err != nil {
				t.Errorf("%s: %v", code, err)
			}
		case info == "cel github refused":
			_, err := condition.Compile(code, kind(t, "github"))
			if said := strings.ReplaceAll(string(page), "\n> ", " "); err == nil || !strings.Contains(said, err.Error()) {
				t.Errorf("%s: %v is not what the page says", code, err)
			}
		default:
			t.Errorf("a block of %q", info)
		}
	}
	for info, least := range map[string]int{"json": 2, "cel github": 8, "cel oidc": 1, "cel github refused": 1} {
		if seen[info] < least {
			t.Errorf("%d blocks of %q", seen[info], info)
		}
	}
}

// What the manual says that there is, there is.
func TestTheManualListsTheLanguage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, err = condition.Compile(`claims.ref.nothing()`, kind(t, "github"))
	if err == nil {
		t.Fatal("there is a function called nothing")
	}
	_, list, _ := strings.Cut(err.Error(), "There are ")
	functions, macros, _ := strings.Cut(strings.TrimSuffix(list, "."), ", and the macros ")
	names := append(strings.Split(functions, ", "), strings.Split(macros, ", ")...)
	if len(names) != 13 {
		t.Errorf("%d names: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(string(page), name+"(") {
			t.Errorf("%s is not in docs/conditions.md", name)
		}
	}
}
