package agentidp_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/sentryagent/agentidp"
)

// A type that the list lacks could be recorded, and never be asked for.
func TestEventTypesAreAllOfThem(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "EventType" {
			return true
		}
		for _, value := range spec.Values {
			declared++
			literal, ok := value.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is no literal", spec.Names)
			}
			name, err := strconv.Unquote(literal.Value)
			if err != nil || !slices.Contains(agentidp.EventTypes, agentidp.EventType(name)) {
				t.Errorf("EventTypes lacks %s, %v", name, err)
			}
		}
		return true
	})
	if declared != len(agentidp.EventTypes) {
		t.Errorf("EventTypes has %d, and there are %d", len(agentidp.EventTypes), declared)
	}
}
