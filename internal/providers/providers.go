// Package providers knows what CI providers send: which of their claims means
// what, which must be there, where their keys are, which events are safe. A
// provider's kind is data, one YAML file each, so that supporting another one is
// no code.
//
// It does not verify tokens (internal/verify) or decide anything
// (internal/policy).
package providers

import (
	"slices"

	"github.com/sentryagent/agentidp"
)

// github is the name of the kind of GitHub Actions, and of the provider that the
// configuration makes of it.
const github = "github"

// GitHub returns the built-in provider of kind github. It comes from the
// configuration, not from the database, so it has no id and belongs to every
// organization. An empty issuer is that of github.com; another one is used as it
// is, byte for byte.
//
// Keys are fetched at the issuer plus the kind's path. There is no discovery
// request: a document that names another address would be one more thing to
// poison.
func GitHub(kind *agentidp.ProviderKind, issuer string) *agentidp.Provider {
	if issuer == "" {
		issuer = kind.Issuer
	}
	return &agentidp.Provider{
		Name:        github,
		Kind:        kind.Name,
		Issuer:      issuer,
		Algorithms:  slices.Clone(kind.Algorithms),
		JWKSURI:     issuer + kind.JWKSPath,
		MaxTokenAge: kind.MaxTokenAge,
		Replay:      agentidp.ReplayReject,
	}
}
