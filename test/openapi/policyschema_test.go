package openapi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oasdiff/yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestTheSchemaOfFilesOfPolicies holds the schema that editors use against what people
// write: the examples of the manual are valid, and so is what a server answers; a typing
// error is not.
func TestTheSchemaOfFilesOfPolicies(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4) // the schema must say its own
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join("..", "..", "docs", "trust-policies.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	examples := append(manual(t, "policies-as-files.md", "yaml"), manual(t, "trust-policies.md", "json")...)
	if len(examples) < 4 {
		t.Fatalf("the manual has %d examples", len(examples))
	}
	for _, example := range append(examples,
		"policies: []",
		"$schema: https://idp.example.com/api/v1/trust-policies.schema.json\npolicies:\n- {provider: github, repository: acme/deploy, claims: {runner_environment: github-hosted}}\n",
		`{"id": "01890000-0000-7000-8000-000000000000", "provider": "github", "repository": "acme/deploy", "pinned": {"repositoryId": "74", "since": 1}, "grade": "E", "revision": 7, "warnings": [{"new": true}], "createdAt": "2026-11-21T12:00:00Z"}`,
		`{"provider": "cluster", "claims": {"sub": ["a", "b"]}, "expiresAt": "2126-11-21T12:00:00Z", "mode": "shadow"}`,
	) {
		if err := schema.Validate(parsed(t, example)); err != nil {
			t.Errorf("%s\n%v", example, err)
		}
	}
	for _, typo := range []string{
		"provider: github\nenvironmnt: production\n", "Provider: github\n", "repository: acme/deploy\n", "[]", "text",
		"provider: github\nmode: off\n", "provider: github\nmode: watch\n", "provider: github\nevents: push\n", "provider: github\nevents: []\n",
		"provider: github\nrepositoryId: 74\n", "provider: github\ntokenTtlSeconds: 5\n", "provider: github\nmaxAgents: ten\n", "provider: github\nbranch: \"\"\n",
		"provider: github\nexpiresAt: tomorrow\n", "provider: github\nclaims: {team: 7}\n", "provider: github\nid: main\n",
		"policies: []\nprovider: github\n", "policies:\n- {provder: github}\n", "policies: {provider: github}\n",
	} {
		if schema.Validate(parsed(t, typo)) == nil {
			t.Errorf("it is valid:\n%s", typo)
		}
	}
}

// manual returns the examples of policies in a page, each as a document of its own.
func manual(t *testing.T, page, language string) (examples []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		for document := range strings.SplitSeq(block[1], "---\n") {
			if strings.Contains(document, "provider") {
				examples = append(examples, document)
			}
		}
	}
	return examples
}

// parsed is a document as the validator wants it.
func parsed(t *testing.T, document string) any {
	t.Helper()
	doc, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatalf("%v:\n%s", err, document)
	}
	decoder := json.NewDecoder(strings.NewReader(string(doc)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
