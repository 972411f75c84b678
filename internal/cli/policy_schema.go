package cli

import "github.com/sentryagent/agentidp/internal/app"

type policySchemaCmd struct{}

// Help is shown by policy schema --help.
func (*policySchemaCmd) Help() string {
	return `The same is served by every server, at /api/v1/trust-policies.schema.json, to everybody.
An editor that knows YAML's language server takes a file's schema from its first line:
# yaml-language-server: $schema=https://idp.example.com/api/v1/trust-policies.schema.json

Example:
  agentidp policy schema >trust-policies.schema.json`
}

// Run prints.
func (*policySchemaCmd) Run(std *IO) error {
	schema, err := app.PolicySchema()
	if err != nil {
		return err
	}
	_, err = std.Out.Write(schema)
	return err
}
