// Package client is a Go client of AgentIdP's API (/api/v1): the exchange, trust
// policies, providers, agents, the introspection and revocation of tokens, and what was decided,
// refused and done. It speaks in the types of package agentidp.
//
//	c := &client.Client{BaseURL: "https://idp.example.com", Token: adminToken}
//	policy, err := c.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{
//		Provider: "github", Repository: "acme/deploy", Branch: "main",
//	})
//	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodePolicyExists {
//		…
//	}
//
// Inside a GitHub Actions job, GitHubIDToken gets the subject token that
// Exchange takes.
//
// It owns requests, limits and errors as a Go program wants them. It decides
// nothing: every rule is the server's. It does not retry, because a subject
// token is good for one exchange and only the caller knows whether it may get
// another.
package client
