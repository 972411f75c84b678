package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
)

// mediaSchema is the media type of JSON Schema (draft 2020-12, section 14.1).
const mediaSchema = "application/schema+json"

// PolicySchema returns the JSON Schema (draft 2020-12) of the files of which agentidp
// policy apply makes trust policies, as indented JSON, the same bytes for the same code.
// It says of a policy's members what the API says of them, so that an editor knows them
// while one writes.
func PolicySchema() ([]byte, error) {
	const policy = "#/$defs/policy"
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Trust policies of AgentIdP",
		"description": "A document for agentidp policy apply: one trust policy, or policies, a list of them.",
		"type":        huma.TypeObject,
		"if":          map[string]any{"required": []string{"policies"}},
		"then": map[string]any{
			"properties": map[string]*huma.Schema{
				"policies": {Type: huma.TypeArray, Items: &huma.Schema{Ref: policy}, Description: "Trust policies. Their order means nothing."},
				"$schema":  schemaMember(),
			},
			"additionalProperties": false,
		},
		"else":  &huma.Schema{Ref: policy},
		"$defs": map[string]*huma.Schema{"policy": filePolicy()},
	})
	if err != nil {
		return nil, fmt.Errorf("render the schema of files of policies: %w", err)
	}
	return out.Bytes(), nil
}

// filePolicy is what a file may say of a policy: what an administrator says, and an id
// to tell which one is meant. What the server alone knows may stand there too, as in a
// policy that was read, whatever it is.
func filePolicy() *huma.Schema {
	schemas := newSchemas("#/$defs/")
	spec := schemas.Schema(reflect.TypeFor[agentidp.TrustPolicySpec](), false, "")
	for name := range schemas.Schema(reflect.TypeFor[agentidp.TrustPolicy](), false, "").Properties {
		if spec.Properties[name] == nil {
			spec.Properties[name] = &huma.Schema{ReadOnly: true, Description: "Known to the server alone; ignored in a file."}
		}
	}
	spec.Properties["id"] = &huma.Schema{Type: huma.TypeString, Format: "uuid", Description: "The policy that is meant. Needed only where another one would be taken for it."}
	spec.Properties["$schema"] = schemaMember()
	return spec
}

func schemaMember() *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "Where this schema is, for editors."}
}
