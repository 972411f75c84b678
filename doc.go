// Package agentidp is the vocabulary of AgentIdP, an identity provider for AI
// agents and CI workflows: the nouns (organization, agent, trust policy,
// provider, claims, access token, decision, event, principal) and the kinds of
// error. Every other package may import it; it imports only the standard
// library.
//
// The JSON tags of these types are the public contract of the management API:
// a renamed tag is a breaking change.
//
// It owns names, shapes and the rules that a noun can check about itself. It
// does not own storage (internal/store), decisions (internal/policy) or wire
// formats of OAuth and problem documents (internal/oauth, internal/problem).
package agentidp
