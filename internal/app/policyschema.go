package app

import "github.com/sentryagent/agentidp/internal/api"

// PolicySchema returns the JSON Schema of the files of which trust policies are made, as
// servers of this version serve it.
func PolicySchema() ([]byte, error) { return api.PolicySchema() }
